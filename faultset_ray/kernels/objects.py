"""Pick Python objects out of many, without waiting for the memory of each.

Whoever picks an object raises its count, where it lies. In no order that is a wait for memory, and for the address of
its page, every time.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.group import deal
from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

if HAVE_NUMBA:
    from faultset_ray.kernels.gf_rows import load64, store64

Objects = NDArray[np.object_]
Indices = NDArray[np.int64] | NDArray[np.uint32]

_CACHED: Final = 1 << 16
"""About so many short strings stay in a core's cache."""
_SPREAD_MAX: Final = 16
"""Objects for each that is picked; where there are more, going through all their indices costs more than it saves."""
_AT_ONCE: Final = 1 << 9
"""Objects whose heads stay in a core's nearest cache."""


def pick(objects: Objects, indices: Indices) -> Objects:
    """``objects[indices]``, a new array; all indices are valid.

    The counts are raised in the order of indices, which mostly is that of memory; then the references are moved.
    """
    if not HAVE_NUMBA or len(objects) < _CACHED or len(objects) > _SPREAD_MAX * len(indices):
        return objects.take(indices, mode="clip")  # numpy's fast way where they are valid
    order = np.empty(len(indices), np.int32)
    deal(indices, order, np.zeros(len(objects) + 1, np.int32), np.empty(len(objects), np.int32))
    picked: Objects = objects.take(indices.take(order), mode="clip")
    _arrange(picked.ctypes.data, order, np.empty(len(order), np.int64))
    return picked


def pick_list(objects: Objects, indices: Indices) -> list[Any]:
    """``objects[indices].tolist()``; all indices are valid.

    Of many, the heads of some are read at once before they are picked one by one: these reads wait together.
    """
    if len(objects) < _CACHED:
        if len(objects) // 3 < len(indices):
            objects = objects.copy()  # visits them in the order of memory, so that picking at random hits the cache
        cached: list[Any] = objects.take(indices, mode="clip").tolist()
        return cached
    picked: list[Any] = []
    for begin in range(0, len(indices), _AT_ONCE):
        some = indices[begin : begin + _AT_ONCE]
        if HAVE_NUMBA and objects.flags.c_contiguous:
            _touch(objects.ctypes.data, some)
        picked += objects.take(some, mode="clip").tolist()
    return picked


@kernel()
def _touch(address: Any, indices: Any) -> Any:
    seen = 0
    for index in indices:
        seen ^= load64(load64(address + 8 * index))
    return seen


@kernel()
def _arrange(address: int, places: Any, words: Any) -> None:
    """Move each word to its place; an array of objects has the same references then as before."""
    for j in range(len(places)):
        words[places[j]] = load64(address + 8 * j)
    for j in range(len(places)):
        store64(address + 8 * j, words[j])
