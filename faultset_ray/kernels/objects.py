"""Fetch Python objects into the cache, many at once, before they are used one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

if HAVE_NUMBA:
    from faultset_ray.kernels.gf_rows import load64


def touch_objects(objects: NDArray[np.object_], indices: NDArray[np.int64]) -> None:
    """Read the head of each of ``objects[indices]``, a contiguous array.

    numpy counts a reference to one after the other and waits for the memory of each; these reads wait together.
    """
    if HAVE_NUMBA and objects.flags.c_contiguous:
        _touch(objects.ctypes.data, indices)


@kernel()
def _touch(address: Any, indices: Any) -> Any:
    seen = 0
    for index in indices:
        seen ^= load64(load64(address + 8 * index))
    return seen
