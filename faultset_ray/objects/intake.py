"""Whatever a caller wants stored, read from front to back: paths and memory of known size, streams of any."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from faultset_ray.objects.byteio import ByteReader
from faultset_ray.objects.source import Source

Bytes = NDArray[np.uint8]
SoFar = Callable[[int, int | None], None]
"""Told how much is done, and of how much in all; None where that is not known."""


def teller(progress: SoFar | None) -> SoFar:
    """What to tell progress to: nobody where nobody asked.

    Raises
    ------
    InputError
        It can't be called.
    """
    if progress is None:
        return lambda _done, _all: None
    if not callable(progress):
        raise InputError(f"progress is {shown(progress)}; expected a function of what is done and of all there is")
    return progress


class SourceReader:
    """A :class:`~faultset_ray.objects.source.Source`, read to the size that it had when it was opened."""

    def __init__(self, net: Net, source: Source) -> None:
        self._net = net
        self._source = source
        self._left = source.size

    async def read(self, nbytes: int) -> Bytes:
        """The next bytes: uint8[nbytes], fewer only at the end."""
        nbytes = min(nbytes, self._left)
        self._left -= nbytes
        return await self._net.compute(self._source.read, nbytes)

    def sha256(self) -> bytes:
        """Digest of what was read so far."""
        return self._source.sha256()


class Intake:
    """Data of any kind that can be stored; a context manager, which closes a file that it opened.

    Parameters
    ----------
    net
        Runs what waits or computes.
    data
        What ``Source`` takes: bytes, an array, a path. Or what ``ByteReader`` takes: something with ``read`` or
        ``readinto``, which may be a coroutine function, or an iterable of bytes, asynchronous or not. These are
        read from where they stand, and never rewound.
    progress
        Told after each piece how many bytes were read, and how many there are.

    Raises
    ------
    InputError
        It is none of these.
    OSError
        The file can't be opened.
    """

    def __init__(self, net: Net, data: Any, progress: SoFar | None = None) -> None:
        self._told = teller(progress)
        self._done = 0
        self._source: Source | None = None
        self._reader: SourceReader | ByteReader
        self.size: int | None = None
        """Bytes, where that is known before they are read."""
        if isinstance(data, (str, os.PathLike)) or _is_buffer(data):
            self._source = source = Source(data)
            if source.file is not None and not source.size:  # as those of /proc are
                self._reader = ByteReader(net, source.file)
            else:
                self._reader, self.size = SourceReader(net, source), source.size
        else:
            self._reader = ByteReader(net, data, "data")

    async def read(self, nbytes: int) -> Bytes:
        """The next bytes: uint8[nbytes], fewer only at the end. Not to be changed."""
        piece = await self._reader.read(nbytes)
        self._done += piece.size
        self._told(self._done, self.size)
        return piece

    def sha256(self) -> bytes:
        """Digest of what was read so far."""
        return self._reader.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.__exit__(kind, error, trace)


def _is_buffer(data: Any) -> bool:
    if isinstance(data, np.ndarray):
        return True
    try:
        memoryview(data).release()
    except TypeError:
        return False
    return True
