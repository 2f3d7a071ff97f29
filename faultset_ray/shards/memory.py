"""Memory for blocks and stripes."""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LARGE_BYTES: Final = 1 << 18
_HUGE_BYTES: Final = 1 << 21
_FLAGS: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def empty(*shape: int) -> NDArray[np.uint8]:
    """uint8[shape], not filled.

    What is large comes from the system and goes back to it at once. malloc would keep some of it for each
    thread that ever asked, which can be more than all that is in use. It comes in huge pages where Linux has them:
    4 MiB in pages of 4 KiB take longer to be had (2.8 ms) than to be read into (0.2 ms).
    """
    nbytes = math.prod(shape)
    if nbytes < _LARGE_BYTES:
        return np.empty(shape, np.uint8)
    memory = mmap.mmap(-1, nbytes, flags=_FLAGS)
    if nbytes >= _HUGE_BYTES:
        with suppress(OSError):  # a kernel built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8).reshape(shape)
