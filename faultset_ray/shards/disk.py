"""How bytes and names reach the disk: the few calls that make something durable."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from faultset_ray.limits import FSYNC_THREADS

_FEW = 2
_PAGE_BYTES = 4096
_SYNC_FILE_RANGE_WRITE = 2


def write_all(fd: int, buffers: Sequence[bytes | memoryview], offset: int) -> None:
    """``pwritev`` until all is written: near the end of a disk it takes a part."""
    parts = [memoryview(buffer).cast("B") for buffer in buffers]
    while parts:
        written = os.pwritev(fd, parts, offset)
        offset += written
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][written:]


def begin_to_sync(fd: int, offset: int, nbytes: int) -> None:
    """Have what was written to a file begin to go to the disk, so that an fsync later waits for less.

    It makes nothing durable and tells no error: both are the fsync's. Where the system can't, nothing happens.
    """
    first = -(-offset // _PAGE_BYTES) * _PAGE_BYTES  # a page that goes on in what comes next would be written twice
    stop = (offset + nbytes) // _PAGE_BYTES * _PAGE_BYTES
    if first < stop and (sync_file_range := _sync_file_range()) is not None:
        sync_file_range(fd, first, stop - first, _SYNC_FILE_RANGE_WRITE)


def fsync_directory(path: Path) -> None:
    """Make renames and unlinks in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_files(fds: Sequence[int]) -> list[OSError | None]:
    """Make open files durable; the error of each that is not, in their order.

    All at once, from several threads: a journalling file system then commits once for many of them, and a batch takes
    a tenth of the time that one after the other takes.
    """
    errors: list[OSError | None] = [None] * len(fds)

    def sync(turns: range) -> None:
        for turn in turns:
            try:
                os.fsync(fds[turn])
            except OSError as error:
                errors[turn] = error

    if len(fds) <= _FEW:
        sync(range(len(fds)))
    else:
        list(_threads().map(sync, (range(start, len(fds), FSYNC_THREADS) for start in range(FSYNC_THREADS))))
    return errors


def fsync_directories(paths: Iterable[Path]) -> dict[Path, OSError]:
    """Make renames and unlinks in directories durable; those that are not, with their errors."""
    paths, fds, failed = list(paths), [], {}
    opened = []
    for path in paths:
        try:
            fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            opened.append(path)
        except OSError as error:
            failed[path] = error
    try:
        errors = fsync_files(fds)
    finally:
        for fd in fds:
            os.close(fd)
    return failed | {path: error for path, error in zip(opened, errors, strict=True) if error is not None}


def read_file(path: Path, most: int = -1) -> bytes:
    """What a file holds, so many bytes at most; no link is followed, and no pipe waited for."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(most)


def replace_file(path: Path, body: bytes, fresh: Path, *, durable: bool = True) -> None:
    """Put a file of mode 0600 there, wholly or not at all.

    Parameters
    ----------
    fresh
        Where it is written first, on the same file system; what lies there is lost.
    durable
        Whether it is on the disk when this returns.
    """
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, [body], 0)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(path)
    if durable:
        fsync_directory(path.parent)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """What Linux has of this name, and Python does not."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    found: Callable[[int, int, int, int], int] = function
    return found


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(FSYNC_THREADS, thread_name_prefix="faultset-fsync")
