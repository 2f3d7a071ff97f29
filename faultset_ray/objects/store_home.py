"""A store's own directory: claimed and locked under a shared root, or private and removed at the end.

::

    ROOT/SYSTEM/UUID/     0700, one store
      lock                flock held for as long as the store is served, and by whom
      store.json          which store this is, where it was served last
      fence.json          the catalog it belongs to, and the highest epoch it saw
      retired.json        stores of the catalog that were let go of
      spare               room for these on a full disk
      tmp/                unsealed shards, wiped at start
      shards/AB/          sealed shards, by the first byte of their write id
      records-N.db        records
      quarantine/         shards and databases found damaged
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from faultset_ray.errors import InputError
from faultset_ray.limits import SILENT_MAX
from faultset_ray.objects import store_holder
from faultset_ray.objects.entry import Fence, RetiredStores
from faultset_ray.shards.disk import fsync_directory, read_file, replace_file
from faultset_ray.telemetry import events

STORE_FORMAT: Final = 2
_SYSTEM = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,64}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_JSON_BYTES_MAX = 4096
_PRIVATE = "private-"
_RETIRED = "retired.json"
_SPARE = "spare"
_SPARE_BYTES = 4096

# The subshell is orphaned at once, in a session of its own, so that killing the store's process tree or
# group misses it. Async commands read /dev/null unless told otherwise, hence the pipe's way over fd 3.
_REAPER = (
    "exec 3<&0; (trap '' HUP INT TERM QUIT; while read -r _; do :; done; rm -rf -- \"$1\"; "
    '[ -z "$2" ] || rmdir -- "$2" 2>/dev/null) <&3 3<&- &'
)


class StoreHome:
    """A directory that this process alone serves, until :meth:`close` or until this object is gone.

    Attributes
    ----------
    path, uuid
        Where it is, and the store's identity.
    durable
        Whether it outlives the process.
    fence
        What :meth:`set_fence` was last given, also by a process before; None if it never was.
    retired
        The same of :meth:`set_retired`; an empty list of version 0 if it never was, or its file is damaged.
    """

    def __init__(self, path: Path, identity: str, lock: io.FileIO, reaper: io.FileIO | None = None) -> None:
        self.path = path
        self.uuid = identity
        self.durable = reaper is None
        self.fence = _read_fence(path)
        self.retired = _read_retired(path)
        self._files = [lock] if reaper is None else [lock, reaper]

    @property
    def tmp(self) -> Path:
        """Directory of the unsealed shards."""
        return self.path / "tmp"

    @property
    def shards(self) -> Path:
        """Directory of the directories of sealed shards."""
        return self.path / "shards"

    @property
    def quarantine(self) -> Path:
        """Directory of what was found damaged."""
        return self.path / "quarantine"

    def set_fence(self, fence: Fence) -> None:
        """Remember a fence; it is on the disk when this returns."""
        body = json.dumps({"catalog": fence.catalog.hex(), "epoch": fence.epoch, "least": fence.least}).encode()
        _note(self.path, "fence.json", body, durable=self.durable)
        self.fence = fence

    def set_retired(self, retired: RetiredStores) -> None:
        """Remember which stores were let go of; it is on the disk when this returns."""
        _note(self.path, _RETIRED, retired.pack(), durable=self.durable)
        self.retired = retired

    def close(self) -> None:
        """Unlock the directory, or remove it if it is private; again does nothing."""
        if self._files and not self.durable:
            shutil.rmtree(self.path, ignore_errors=True)
        while self._files:
            self._files.pop().close()


def claim(root: Path, system: str, identity: bytes, region: str = "", place: str = "") -> StoreHome:
    """Take a directory of one's own under `root`: a free one of the system with the shards it has, else a new one.

    Several places on one host may share `root`; of the free directories, those that were last served in the same
    region come first. If none is free, one whose process is ending is waited for: it served the same place, or its node
    has ended. What is not a store's directory, belongs to another user or is a symbolic link is left alone.

    Parameters
    ----------
    identity
        16 bytes, of which a new directory's UUID is made.

    Raises
    ------
    InputError
        If `system` or `identity` can't name a directory.
    OSError
        If directories or files can't be made or locked.
    """
    base = _base(root, system)
    found = [path for path in base.iterdir() if _UUID.fullmatch(path.name)]
    found.sort(key=lambda path: (_described(path).get("region") != region, path.name))
    for path in found:
        if (home := _take(path, system, region, place)) is not None:
            return home
    for path in found:
        if _is_own(path) and store_holder.is_ending(path, place):
            events.STORE_LOCKED.tell(path=path)
            store_holder.wait(path)
            if (home := _take(path, system, region, place)) is not None:
                return home
    while True:
        path = _make(base, identity)
        # Another store that starts at this moment may be faster.
        if (home := _take(path, system, region, place)) is not None:
            return home


def claim_private(root: Path | None, system: str, identity: bytes, region: str = "") -> StoreHome:
    """Make a directory that is removed on close, or when this process ends in whatever way.

    Parameters
    ----------
    root
        Where; None for the temporary directory.

    Raises
    ------
    InputError
        As :func:`claim`.
    OSError
        If the directory can't be made, or no ``/bin/sh`` be started to remove it.
    """
    base = None
    if root is None:
        path, name = Path(tempfile.mkdtemp(prefix="faultset-store-")), _uuid(identity)
        lock = _lock(path)
        assert lock is not None
    else:
        base, path, lock = _make_private(root, system, identity)
        name = path.name
    try:
        reaper = _start_reaper(path, base)
    except BaseException:
        shutil.rmtree(path)
        lock.close()
        raise
    _furnish(path)
    _describe(path, name, system, region, durable=False)
    return StoreHome(path, name, lock, reaper)


def remove_leftovers(root: Path) -> None:
    """Remove the directories of private stores that nobody serves: their host went down with those who would have."""
    for base in sorted(Path(os.path.realpath(root)).glob(f"{_PRIVATE}*")):
        if not _is_own(base):
            continue
        with suppress(FileNotFoundError):  # others remove them at the same time
            for path in sorted(base.iterdir()):
                lock = _lock(path) if _is_own(path) else None
                if lock is not None:
                    with lock:
                        events.STORE_LEFT_OVER.tell(path=path)
                        shutil.rmtree(path, ignore_errors=True)
            try:
                base.rmdir()
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise


def _base(root: Path, system: str) -> Path:
    """The directory of a system's stores, made if need be."""
    if not _SYSTEM.fullmatch(system):
        raise InputError(f"system is {system!r}; expected 1 to 64 letters, digits, dots, dashes and underscores")
    root = Path(os.path.realpath(root))
    missing = [each for each in (root, *root.parents) if not each.exists()]
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        fsync_directory(each.parent)
    base = root / system
    try:
        base.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_own(base):
            raise
    return base


def _make(base: Path, identity: bytes) -> Path:
    """A new directory, called after `identity` if an earlier attempt has not used that up."""
    while True:
        path = base / _uuid(identity)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            identity = hashlib.sha256(identity).digest()[:16]
        else:
            return path


def _make_private(root: Path, system: str, identity: bytes) -> tuple[Path, Path, io.FileIO]:
    """The directory of a private system's stores, a new one in it, and its lock."""
    while True:
        # Until it is locked, who removes leftovers takes it for one, and the directory around it too.
        with suppress(FileNotFoundError):
            base = _base(root, system)
            path = _make(base, identity)
            if (lock := _lock(path)) is not None:
                return base, path, lock


def _uuid(identity: bytes) -> str:
    if not isinstance(identity, bytes) or len(identity) != 16:
        raise InputError(f"identity is {identity!r}; expected 16 bytes")
    return str(uuid.UUID(bytes=identity, version=4))


def _take(path: Path, system: str, region: str, place: str) -> StoreHome | None:
    """Lock a store's directory and make it ready; None if it is taken, or not to be touched."""
    if not _is_own(path):
        events.STORE_LEFT_ALONE.tell(path=path, reason="it is not a directory of this user's")
        return None
    lock = _lock(path)
    if lock is None:
        return None
    try:
        reason = _unfit(path, system)
        if not reason:
            _furnish(path)
            if _described(path).get("region") != region:
                _describe(path, path.name, system, region, durable=True)
            for each in (path, path.parent, path.parent.parent):
                fsync_directory(each)  # who made them may have ended before this
            store_holder.sign(lock, place)
            return StoreHome(path, path.name, lock)
    except BaseException:
        lock.close()
        raise
    lock.close()
    events.STORE_LEFT_ALONE.tell(path=path, reason=reason)
    return None


def _is_own(path: Path) -> bool:
    """Whether it is a directory of this user's, and no link to one."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _lock(path: Path) -> io.FileIO | None:
    """Lock a directory; None if it is locked, or was removed meanwhile."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = io.FileIO(os.open(path / "lock", flags, 0o600), "r+")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), (path / "lock").lstat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _unfit(path: Path, system: str) -> str:
    """Why a directory can't be served by this version; empty if it can, as also when it is new."""
    try:
        described = _read_json(path / "store.json")
    except FileNotFoundError:
        return ""
    except ValueError:
        return "store.json is not JSON"
    if not isinstance(described, dict) or described.get("format") != STORE_FORMAT:
        return f"store.json is not of format {STORE_FORMAT}"
    if (described.get("uuid"), described.get("system")) != (path.name, system):
        return f"store.json names the store {described.get('uuid')!r} of system {described.get('system')!r}"
    try:
        _read_fence(path)
    except (ValueError, KeyError, TypeError):
        return "fence.json is not what a store writes"
    return ""


def _described(path: Path) -> dict[str, Any]:
    """What a directory's ``store.json`` says; nothing if it can't be read."""
    try:
        described = _read_json(path / "store.json")
    except (OSError, ValueError):
        return {}
    return described if isinstance(described, dict) else {}


def _read_fence(path: Path) -> Fence | None:
    try:
        fence = _read_json(path / "fence.json")
    except FileNotFoundError:
        return None
    return Fence(bytes.fromhex(fence["catalog"]), int(fence["epoch"]), int(fence.get("least", SILENT_MAX)))


def _read_retired(path: Path) -> RetiredStores:
    try:
        return RetiredStores.unpack(read_file(path / _RETIRED))
    except FileNotFoundError:
        pass
    except ValueError as error:
        events.RETIRED_LIST_DAMAGED.tell(path=path / _RETIRED, error=error)
    return RetiredStores()


def _read_json(path: Path) -> Any:
    return json.loads(read_file(path, _JSON_BYTES_MAX))


def _furnish(path: Path) -> None:
    """Make the directories, and drop what was never sealed."""
    path.chmod(0o700)
    for name in ("tmp", "shards", "quarantine"):
        (path / name).mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR((path / name).lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path / name))
    for leftover in (path / "tmp").iterdir():
        if stat.S_ISDIR(leftover.lstat().st_mode):
            _set_aside(leftover, path / "quarantine")
        else:
            leftover.unlink()


def _set_aside(stray: Path, quarantine: Path) -> None:
    """Move a directory away that no store made: what is in it may be somebody's, and the store is to start."""
    number, aside = 0, quarantine / f"stray-{stray.name}"
    while aside.exists():
        number += 1
        aside = quarantine / f"stray-{stray.name}-{number}"
    stray.rename(aside)
    events.STRAY_SET_ASIDE.tell(path=stray, aside=aside)


def _describe(path: Path, name: str, system: str, region: str, *, durable: bool) -> None:
    """Write down which store this is: last of all, so that one without it is new."""
    body = json.dumps({"format": STORE_FORMAT, "uuid": name, "system": system, "region": region}).encode()
    _note(path, "store.json", body, durable=durable)


def _note(path: Path, name: str, body: bytes, *, durable: bool) -> None:
    """Replace a small file of a store; on a full disk, in the room that is kept aside for that.

    A store that can't remember an epoch serves nobody: what is full is to be read from all the same, and emptied.
    """
    fresh, spare = path / "tmp" / name, path / _SPARE
    try:
        replace_file(path / name, body, fresh, durable=durable)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not spare.exists():
            raise
        spare.unlink()
        replace_file(path / name, body, fresh, durable=durable)
    if not spare.exists():
        with suppress(OSError):  # there is no room for it: at the next time
            replace_file(spare, bytes(_SPARE_BYTES), path / "tmp" / _SPARE, durable=False)


def _start_reaper(path: Path, base: Path | None) -> io.FileIO:
    """Start the process that removes `path` once the returned end of its pipe is closed, by whatever death.

    `base` goes too, if nothing else is in it.
    """
    read_fd, write_fd = os.pipe()
    try:
        subprocess.run(  # noqa: S603 - a fixed script; the paths are arguments, not code
            ["/bin/sh", "-c", _REAPER, "faultset-store-reaper", str(path), str(base or "")],
            stdin=read_fd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            start_new_session=True,
            check=True,
        )
    except BaseException:
        os.close(write_fd)
        raise
    finally:
        os.close(read_fd)
    return io.FileIO(write_fd, "w")
