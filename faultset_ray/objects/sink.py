"""Where decoded bytes go; nothing is seen there before all of them are right."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import InputError, ShardSizeError
from faultset_ray.objects.buffers import as_bytes
from faultset_ray.shards.disk import fsync_directory
from faultset_ray.shards.memory import Whole

Bytes = NDArray[np.uint8]
Out = str | os.PathLike[str] | bytearray | memoryview | NDArray[Any]
"""A path, or a writable buffer of exactly the object's size."""


class Sink(ABC):
    """Takes an object piece by piece, until it is closed.

    A thread that still writes when its work was given up must not reach a buffer that is the caller's
    again, or a descriptor that names another file by now: pieces that come after the end are dropped.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = True

    def write(self, start: int, data: Bytes) -> None:
        """Take the bytes from ``start`` on."""
        with self._lock:
            if self._open:
                self._put(start, data)

    @abstractmethod
    def finish(self) -> bytes | None:
        """Make what was written visible; the object itself where no other place was named."""

    def close(self) -> None:
        """Take no more, and wait for a piece that is being taken."""
        with self._lock:
            self._open = False

    @abstractmethod
    def _put(self, start: int, data: Bytes) -> None: ...


class _Memory(Sink):
    """Memory of the caller's, or that of ``bytes`` which are made."""

    def __init__(self, target: Bytes, whole: Whole | None = None) -> None:
        super().__init__()
        self._target = target
        self._whole = whole

    def finish(self) -> bytes | None:
        return self._whole.finish() if self._whole else None

    def _put(self, start: int, data: Bytes) -> None:
        self._target[start : start + data.size] = data


class _File(Sink):
    """A file beside ``path`` that takes its place, with the mode and, if that is allowed, the owner of one there."""

    def __init__(self, path: Path, there: os.stat_result | None) -> None:
        super().__init__()
        self._path = path
        self._descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        self._unfinished = Path(name)
        if there is None:
            os.fchmod(self._descriptor, 0o666 & ~_umask())
            return
        with contextlib.suppress(PermissionError):  # another's file, in a directory that we may write to
            os.fchown(self._descriptor, there.st_uid, there.st_gid)
        os.fchmod(self._descriptor, there.st_mode & 0o777)

    def finish(self) -> None:
        os.fsync(self._descriptor)
        self._unfinished.replace(self._path)
        fsync_directory(self._path.parent)

    def close(self) -> None:
        super().close()
        os.close(self._descriptor)
        self._unfinished.unlink(missing_ok=True)

    def _put(self, start: int, data: Bytes) -> None:
        view = data.data
        while view:
            written = os.pwrite(self._descriptor, view, start)
            start += written
            view = view[written:]


@contextlib.contextmanager
def sink_for(out: Out | None, size: int) -> Iterator[Sink]:
    """Open the place that ``decode`` was asked to write to; what is unfinished is removed at the end.

    Parameters
    ----------
    out
        A path is written beside its final name, made durable, and renamed: links are followed, and a file
        that is there leaves its mode. A buffer is written in place: after an error its contents are
        undefined. None collects the bytes.
    size
        Of the object.

    Raises
    ------
    InputError
        Not writable, no directory to write to, or something there that is no regular file.
    ShardSizeError
        The buffer is of another size than the object.
    """
    if out is None:
        whole = Whole(size)
        sink: Sink = _Memory(whole.array, whole)
    elif isinstance(out, (str, os.PathLike)):
        sink = _File(*_target(Path(out)))
    else:
        sink = _Memory(_writable(out, size))
    with contextlib.closing(sink):
        yield sink


def _target(path: Path) -> tuple[Path, os.stat_result | None]:
    """Where a file is to appear, with links followed, and what is known of the one that is there."""
    if path.is_dir():
        raise InputError(f"{path} is a directory; pass the path of a file")
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        there = None
    real = Path(os.path.realpath(path))
    # a link of /proc to something that has no name is followed by stat alone
    if there is not None and not (stat.S_ISREG(there.st_mode) and real.exists() and real.samefile(path)):
        raise InputError(
            f"{path} is no regular file: a pipe or a device can't be replaced by a file as a whole; "
            f"to write into it, use `-o - > {path}`"
        )
    if not real.parent.is_dir():
        raise InputError(f"{real.parent} is not a directory; {real.name} can't be written there")
    return real, there


def _writable(out: Any, size: int) -> Bytes:
    target = as_bytes("out", out, "a path or a writable buffer")
    if not target.flags.writeable:
        raise InputError("out is read-only; pass a path or a writable buffer")
    if target.size != size:
        raise ShardSizeError("out", target.size, f"{size} bytes, the size of the object")
    return target


def _umask() -> int:
    """The process's umask, which can only be read by setting it; Linux also shows it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077
