"""Where decoded bytes go; nothing is seen there before all of them are right."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import InputError, ShardSizeError

Bytes = NDArray[np.uint8]
Out = str | os.PathLike[str] | bytearray | memoryview | NDArray[Any]
"""A path, or a writable buffer of exactly the object's size."""


class Sink(Protocol):
    """Takes an object piece by piece."""

    def write(self, start: int, data: Bytes) -> None:
        """Take the bytes from ``start`` on."""
        ...

    def finish(self) -> bytes | None:
        """Make what was written visible; the object itself where no other place was named."""
        ...


class _Memory:
    def __init__(self, target: Bytes, *, ours: bool) -> None:
        self._target = target
        self._ours = ours

    def write(self, start: int, data: Bytes) -> None:
        self._target[start : start + data.size] = data

    def finish(self) -> bytes | None:
        return self._target.tobytes() if self._ours else None


class _File:
    def __init__(self, path: Path, unfinished: Path, descriptor: int) -> None:
        self._path = path
        self._unfinished = unfinished
        self._descriptor = descriptor

    def write(self, start: int, data: Bytes) -> None:
        view = data.data
        while view:
            written = os.pwrite(self._descriptor, view, start)
            start += written
            view = view[written:]

    def finish(self) -> None:
        os.fsync(self._descriptor)
        self._unfinished.replace(self._path)


@contextlib.contextmanager
def sink_for(out: Out | None, size: int) -> Iterator[Sink]:
    """Open the place that ``decode`` was asked to write to; what is unfinished is removed at the end.

    Parameters
    ----------
    out
        A path is written beside its final name, made durable, and renamed. A buffer is written in
        place: after an error its contents are undefined. None collects the bytes.
    size
        Of the object.

    Raises
    ------
    InputError
        Not writable, or no directory to write to.
    ShardSizeError
        The buffer is of another size than the object.
    """
    if out is None:
        yield _Memory(np.empty(size, np.uint8), ours=True)
    elif isinstance(out, (str, os.PathLike)):
        path = Path(out)
        if not path.parent.is_dir():
            raise InputError(f"{path.parent} is not a directory; {path.name} can't be written there")
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        unfinished = Path(name)
        try:
            os.fchmod(descriptor, 0o666 & ~_umask())
            yield _File(path, unfinished, descriptor)
        finally:
            os.close(descriptor)
            unfinished.unlink(missing_ok=True)
    else:
        yield _Memory(_writable(out, size), ours=False)


def _writable(out: Any, size: int) -> Bytes:
    view = memoryview(out)
    if view.readonly or not view.c_contiguous:
        raise InputError("out is not a writable contiguous buffer")
    if view.nbytes != size:
        raise ShardSizeError("out", view.nbytes, f"{size} bytes, the size of the object")
    return np.frombuffer(view, np.uint8) if size else np.empty(0, np.uint8)


def _umask() -> int:
    """The process's umask, which can only be read by setting it; Linux also shows it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077
