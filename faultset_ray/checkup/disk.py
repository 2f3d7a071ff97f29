"""The disk under a machine's stores: whose it is, how full, and whether what is synced stays."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faultset_ray.limits import KIB
from faultset_ray.shards.disk import fsync_directory

_WRITES = 5
_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Disk:
    """What was found of a directory for stores."""

    path: str
    problem: str = ""
    """Why nothing can be kept there; all else is unknown then, but what was found before."""
    free_bytes: int = 0
    capacity_bytes: int = 0
    mode: int = 0
    """Of the directory: nine bits."""
    owned: bool = True
    """Whether it is this process's user's."""
    exposed: tuple[str, ...] = ()
    """Directories of systems in it that others may enter."""
    file_system: str = ""
    options: str = ""
    """Those that it is mounted with."""
    fsync_s: float = 0.0
    """What it took to make 4 KiB durable, in the middle of five times."""
    preloaded: str = ""
    """``LD_PRELOAD``: what stands between this process and its libraries."""


def examine(directory: str, uptime_s: Callable[[], float]) -> Disk:
    """Look at a directory for stores, and write a small file there, which is removed.

    A directory that is not there yet is judged by its nearest parent, and not made.

    Parameters
    ----------
    uptime_s
        A clock that is never set.
    """
    root = Path(os.path.realpath(directory))
    preloaded = os.environ.get("LD_PRELOAD", "")
    there = next(each for each in (root, *root.parents) if each.exists())
    kind, options = _mount_of(there)
    try:
        status, space = there.stat(), os.statvfs(there)
        exposed = _exposed(root) if there == root else ()
        took = _synced(there, uptime_s)
    except OSError as error:
        problem = f"{error.filename or there}: {error.strerror}"
        return Disk(str(root), problem, file_system=kind, options=options, preloaded=preloaded)
    return Disk(
        str(root),
        free_bytes=space.f_bavail * space.f_frsize,
        capacity_bytes=space.f_blocks * space.f_frsize,
        mode=stat.S_IMODE(status.st_mode) if there == root else 0o700,
        owned=status.st_uid == os.geteuid() or there != root,
        exposed=exposed,
        file_system=kind,
        options=options,
        fsync_s=took,
        preloaded=preloaded,
    )


def _exposed(root: Path) -> tuple[str, ...]:
    """Directories of systems, and of stores in them, that others than their owner may enter."""
    found = [path for path in (*root.glob("*"), *root.glob("*/*")) if not path.is_symlink() and path.is_dir()]
    return tuple(sorted(str(path) for path in found if path.stat().st_mode & 0o077))


def _synced(directory: Path, uptime_s: Callable[[], float]) -> float:
    """Seconds that it took to write 4 KiB and make them and their name durable, in the middle of five times."""
    took = []
    for _ in range(_WRITES):
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".faultset-doctor-") as file:
            begun = uptime_s()
            file.write(bytes(4 * KIB))
            file.flush()
            os.fsync(file.fileno())
            fsync_directory(directory)
            took.append(uptime_s() - begun)
    return sorted(took)[_WRITES // 2]


def _mount_of(path: Path) -> tuple[str, str]:
    """Type and options of the file system that a path is on; empty where the kernel does not tell."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "", ""
    best, found = -1, ("", "")
    for line in lines:
        mounted, _, source = line.partition(" - ")
        point = Path(mounted.split()[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= best:  # the last of several at one point counts
            kind, _, above = source.split(" ", 2)
            best, found = len(point.parts), (kind, f"{mounted.split()[5]},{above}")
    return found
