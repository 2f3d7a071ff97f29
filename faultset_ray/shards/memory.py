"""Memory for blocks and stripes."""

from __future__ import annotations

import math
import mmap
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LARGE_BYTES: Final = 1 << 18


def empty(*shape: int) -> NDArray[np.uint8]:
    """uint8[shape], not filled.

    What is large comes from the system and goes back to it at once. malloc would keep some of it for each
    thread that ever asked, which can be more than all that is in use.
    """
    nbytes = math.prod(shape)
    if nbytes < _LARGE_BYTES:
        return np.empty(shape, np.uint8)
    return np.frombuffer(mmap.mmap(-1, nbytes), np.uint8).reshape(shape)
