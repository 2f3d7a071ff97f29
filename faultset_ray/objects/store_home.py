"""A store's own directory: claimed and locked under a shared root, or private and removed at the end.

::

    ROOT/UUID/            0700, one store
      lock                flock held for as long as the store is served
      store.json          {"format": 1, "uuid": UUID}
      tmp/                unsealed shards, wiped at start
      shards/AB/          sealed shards, by the first byte of their write id
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import tempfile
import uuid
from pathlib import Path

from faultset_ray.shards.writer import fsync_directory

_log = logging.getLogger(__name__)

STORE_FORMAT = 1
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IDENTITY_BYTES_MAX = 4096

# The subshell is orphaned at once, in a session of its own, so that killing the store's process tree or
# group misses it. Async commands read /dev/null unless told otherwise, hence the pipe's way over fd 3.
_REAPER = "exec 3<&0; (trap '' HUP INT TERM QUIT; while read -r _; do :; done; exec rm -rf -- \"$1\") <&3 3<&- &"


class StoreHome:
    """A directory that this process alone serves, until :meth:`close`.

    Attributes
    ----------
    path, uuid
        Where it is, and the store's identity.
    durable
        Whether it outlives the process.
    """

    def __init__(self, path: Path, identity: str, lock_fd: int, reaper_fd: int | None = None) -> None:
        self.path = path
        self.uuid = identity
        self.durable = reaper_fd is None
        self._fds = [lock_fd] if reaper_fd is None else [lock_fd, reaper_fd]

    @property
    def tmp(self) -> Path:
        """Directory of the unsealed shards."""
        return self.path / "tmp"

    @property
    def shards(self) -> Path:
        """Directory of the directories of sealed shards."""
        return self.path / "shards"

    def close(self) -> None:
        """Unlock the directory, or remove it if it is private; again does nothing."""
        if self._fds and not self.durable:
            shutil.rmtree(self.path, ignore_errors=True)
        while self._fds:
            os.close(self._fds.pop())


def claim(root: Path) -> StoreHome:
    """Take a directory of one's own under `root`: a free one with the shards it has, else a new one.

    Several places on one host may share `root`. What is not a store's directory, belongs to another user or
    is a symbolic link is left alone.

    Raises
    ------
    OSError
        If directories or files can't be made or locked.
    """
    root = Path(os.path.realpath(root))
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in sorted(root.iterdir()):
        if _UUID.fullmatch(path.name) and (home := _take(path)) is not None:
            return home
    while True:
        path = root / str(uuid.uuid4())
        path.mkdir(mode=0o700)
        fsync_directory(root)
        # Another store that starts at this moment may be faster.
        if (home := _take(path)) is not None:
            return home


def private() -> StoreHome:
    """Make a directory that is removed on close, or when this process ends in whatever way.

    Raises
    ------
    OSError
        If the directory can't be made, or no ``/bin/sh`` be started to remove it.
    """
    path = Path(tempfile.mkdtemp(prefix="faultset-store-"))
    try:
        reaper_fd = _start_reaper(path)
    except BaseException:
        path.rmdir()
        raise
    lock_fd = _lock(path)
    assert lock_fd is not None
    identity = str(uuid.uuid4())
    _furnish(path, identity)
    return StoreHome(path, identity, lock_fd, reaper_fd)


def _take(path: Path) -> StoreHome | None:
    """Lock a store's directory and make it ready; None if it is taken, or not to be touched."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        _log.warning("%s is not a directory of this user's; it is left alone", path)
        return None
    lock_fd = _lock(path)
    if lock_fd is None:
        return None
    try:
        reason = _unfit(path)
        if not reason:
            _furnish(path, path.name)
            return StoreHome(path, path.name, lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise
    os.close(lock_fd)
    _log.warning("%s is left alone: %s", path, reason)
    return None


def _lock(path: Path) -> int | None:
    fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _unfit(path: Path) -> str:
    """Why a directory can't be served by this version; empty if it can, as also when it is new."""
    try:
        fd = os.open(path / "store.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        identity = json.loads(os.read(fd, _IDENTITY_BYTES_MAX))
    except ValueError:
        return "store.json is not JSON"
    finally:
        os.close(fd)
    if not isinstance(identity, dict) or identity.get("format") != STORE_FORMAT:
        return f"store.json is not of format {STORE_FORMAT}"
    if identity.get("uuid") != path.name:
        return f"store.json names the store {identity.get('uuid')!r}"
    return ""


def _furnish(path: Path, identity: str) -> None:
    """Make the directories, drop what was never sealed, and write the identity last."""
    path.chmod(0o700)
    for name in ("tmp", "shards"):
        (path / name).mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR((path / name).lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path / name))
    for leftover in (path / "tmp").iterdir():
        leftover.unlink()
    if (path / "store.json").exists():
        return
    fresh = path / "tmp" / "store.json"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps({"format": STORE_FORMAT, "uuid": identity}).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(path / "store.json")
    fsync_directory(path)


def _start_reaper(path: Path) -> int:
    """Start the process that removes `path` once the returned end of its pipe is closed, by whatever death."""
    read_fd, write_fd = os.pipe()
    try:
        subprocess.run(  # noqa: S603 - a fixed script; the path is an argument, not code
            ["/bin/sh", "-c", _REAPER, "faultset-store-reaper", str(path)],
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
    return write_fd
