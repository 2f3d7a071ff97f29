"""Memory for blocks and stripes: what was done with is kept, as the system takes long to clear what it gives."""

from __future__ import annotations

import math
import mmap
import threading
import weakref
from contextlib import suppress
from typing import Final

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
    if nbytes >= _HUGE_BYTES:
        with suppress(OSError):  # a kernel built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
