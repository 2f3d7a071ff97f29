"""Memory for blocks, stripes and whole objects, in huge pages; of blocks, what was done with is kept.

The system takes long to give memory in small pages, and to clear what it gives.
"""

from __future__ import annotations

import ctypes
import io
import math
import mmap
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.limits import KEPT_BYTES_MAX

_LARGE_BYTES: Final = 1 << 18
_HUGE_BYTES: Final = 1 << 21
_FLAGS: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_LOOSE: Final = 1.25
"""How many times as large as what is asked for memory may be that was kept."""


class _Kept:
    """Memory that nobody uses; the system may take it when it is short of it, and what it holds is lost then."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._memory: list[mmap.mmap] = []
        """What was given back last stands last."""
        self.nbytes = 0

    def take(self, nbytes: int) -> mmap.mmap | None:
        """Memory that as many bytes fit into without much to spare; None if there is none, or others are at it."""
        if not self._lock.acquire(blocking=False):  # a process may have been forked while it was held
            return None
        try:
            for at in range(len(self._memory) - 1, -1, -1):
                if nbytes <= len(self._memory[at]) <= _LOOSE * nbytes:
                    self.nbytes -= len(self._memory[at])
                    return self._memory.pop(at)
            return None
        finally:
            self._lock.release()

    def give(self, memory: mmap.mmap) -> None:
        """Keep memory, in place of what was given first; where others are at it, it goes to the system.

        It never waits: an array may end in the midst of anything, of this as well.
        """
        if len(memory) > self._most_bytes or not self._lock.acquire(blocking=False):
            return
        try:
            with suppress(OSError):  # a kernel without it
                memory.madvise(mmap.MADV_FREE)
            self._memory.append(memory)
            self.nbytes += len(memory)
            while self.nbytes > self._most_bytes:
                self.nbytes -= len(self._memory[0])
                del self._memory[0]
        finally:
            self._lock.release()


_kept = _Kept(KEPT_BYTES_MAX)


def empty(*shape: int) -> NDArray[np.uint8]:
    """uint8[shape], not filled.

    What is large comes from the system, and goes back to it but for ``KEPT_BYTES_MAX``, which those that ask next get.
    malloc would keep some of it for each thread that ever asked, which can be more than all that is in use. It comes in
    huge pages where Linux has them: 4 MiB in pages of 4 KiB take longer to be had (2.8 ms) than to be read into
    (0.2 ms). The system clears it (1.4 ms), which what was kept is spared.
    """
    nbytes = math.prod(shape)
    if nbytes < _LARGE_BYTES:
        return np.empty(shape, np.uint8)
    memory = _kept.take(nbytes) or _fresh(nbytes)
    whole = np.frombuffer(memory, np.uint8)
    # all views of it, and whatever else shows its bytes, refer to this array: numpy's own base of it is none
    weakref.finalize(whole, _kept.give, memory).atexit = False
    return whole[:nbytes].reshape(shape)


def _fresh(nbytes: int) -> mmap.mmap:
    memory = mmap.mmap(-1, nbytes, flags=_FLAGS)
    _in_huge_pages(np.frombuffer(memory, np.uint8))
    return memory


class Whole:
    """``bytes`` that are filled, in any order, before anybody has them.

    Parameters
    ----------
    nbytes
        How many they are.

    Attributes
    ----------
    array : uint8[nbytes]
        Zeros, to be written to until :meth:`finish`.
    """

    def __init__(self, nbytes: int) -> None:
        self._file = io.BytesIO(bytes(nbytes))  # which nobody else has, and the system clears as they are written
        self.array = np.frombuffer(self._file.getbuffer(), np.uint8)
        self._end = 0
        _in_huge_pages(self.array)

    def append(self, piece: memoryview) -> None:
        """Write what comes after what was appended before."""
        end = self._end + piece.nbytes
        self.array[self._end : end] = piece
        self._end = end

    def finish(self) -> bytes:
        """They themselves, not a copy; nothing is to be written any more."""
        del self.array
        return self._file.getvalue()


def joined(pieces: Sequence[NDArray[np.uint8]]) -> bytes:
    """uint8[n] each, contiguous, one after the other."""
    whole = Whole(sum(piece.size for piece in pieces))
    for piece in pieces:
        whole.append(piece.data)
    return whole.finish()


def _in_huge_pages(memory: NDArray[np.uint8]) -> None:
    """Ask for huge pages, where uint8[n] is large; a kernel that has none takes no advice, and nothing is lost."""
    if memory.size < _HUGE_BYTES or (advise := _madvise()) is None:
        return
    start = memory.ctypes.data
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    advise(first, (start + memory.size) // mmap.PAGESIZE * mmap.PAGESIZE - first, mmap.MADV_HUGEPAGE)


@cache
def _madvise() -> Any | None:
    """Of the system's C library, where it knows of huge pages: ``bytes`` have no such method, as ``mmap`` has."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
