"""Pick Python objects out of many, without waiting for the memory of each.

Whoever picks an object raises its count, where it lies. In no order that is a wait for memory, and for the address of
its page, every time. So of many, those of the lowest index are taken first, which mostly is the order of memory, and
the references, which are words, are moved to their places then.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

if HAVE_NUMBA:
    from faultset_ray.kernels.gf_rows import load64

Objects = NDArray[np.object_]
Indices = NDArray[np.int64] | NDArray[np.uint32]

_CACHED: Final = 1 << 16
"""About so many short strings stay in a core's cache."""
_SPREAD_MAX: Final = 16
"""Objects for each that is picked; where there are more, going through all their indices costs more than it saves."""
_AT_ONCE: Final = 1 << 9
"""Objects whose heads stay in a core's nearest cache."""
_NEAR_BYTES: Final = 1 << 14
"""What CPython takes of memory at once, for objects of one size."""
_SAMPLES: Final = 256


def _word(address: int) -> int:
    return ctypes.c_ssize_t.from_address(address).value


def _items_of_lists() -> int:
    """Where in a list the address of its references is: after its head and its length, in CPython; 0 if it is not."""
    head = object.__basicsize__
    if sys.implementation.name != "cpython" or (head, list.__basicsize__) != (16, 40):
        return 0
    probe = [object(), object()]
    if _word(id(probe) + head) != len(probe):
        return 0
    items = _word(id(probe) + head + 8)
    return head + 8 if [_word(items), _word(items + 8)] == [id(each) for each in probe] else 0


_ITEMS: Final = _items_of_lists()


def pick(objects: Objects, indices: Indices) -> Objects:
    """``objects[indices]``, a new array; all indices are valid."""
    taken, words = _taken(objects, indices)
    if words is not None:
        _memory(taken.ctypes.data, words.nbytes)[:] = words.view(np.uint8).data
    return taken


def pick_list(objects: Objects, indices: Indices) -> list[Any]:
    """``objects[indices].tolist()``; all indices are valid."""
    if len(objects) < _CACHED:
        if len(objects) // 3 < len(indices):
            objects = objects.copy()  # visits them in the order of memory, so that picking at random hits the cache
        cached: list[Any] = objects.take(indices, mode="clip").tolist()
        return cached
    if _ITEMS and _lie_in_order(objects):
        return _into_list(*_taken(objects, indices))
    listed: list[Any] = []
    for begin in range(0, len(indices), _AT_ONCE):
        some = indices[begin : begin + _AT_ONCE]
        if HAVE_NUMBA and objects.flags.c_contiguous:
            _touch(objects.ctypes.data, some)  # these waits are one
        listed += objects.take(some, mode="clip").tolist()
    return listed


def _taken(objects: Objects, indices: Indices) -> tuple[Objects, NDArray[np.int64] | None]:
    """Those objects, and their references in the order of indices: None if the objects are in that order."""
    if HAVE_NUMBA and _CACHED <= len(objects) <= _SPREAD_MAX * len(indices):
        ascending, places = np.empty((2, len(indices) + 1), np.int32)  # + 1: see _ascend
        distinct = _ascend(indices, np.full(len(objects), -1, np.int32), ascending, places)
        if distinct == len(indices):
            taken: Objects = objects.take(ascending[:-1], mode="clip")
            words = np.empty(len(taken), np.int64)
            _place(taken.ctypes.data, places[:-1], words)
            return taken, words
    return objects.take(indices, mode="clip"), None  # numpy's fast way where they are valid


def _into_list(taken: Objects, words: NDArray[np.int64] | None) -> list[Any]:
    """The list of an array's objects, which has them no more: their references change places with as many of None."""
    if words is None:
        return taken.tolist()  # type: ignore[no-any-return]
    listed: list[Any] = [None] * len(taken)
    ours = _memory(_word(id(listed) + _ITEMS), words.nbytes)
    _memory(taken.ctypes.data, words.nbytes)[:] = ours
    ours[:] = words.view(np.uint8).data
    return listed


def _memory(address: int, nbytes: int) -> memoryview:
    return memoryview((ctypes.c_byte * nbytes).from_address(address)).cast("B")


def _lie_in_order(objects: Objects) -> bool:
    """Whether most objects lie near the one before, judged by a sample."""
    if not (HAVE_NUMBA and objects.flags.c_contiguous):
        return False
    return bool(2 * _near(objects.ctypes.data, len(objects) // _SAMPLES, _SAMPLES) > _SAMPLES)


@kernel()
def _ascend(indices: Any, places_of: Any, ascending: Any, places: Any) -> Any:
    """Write indices ascending and their places; how many differ. Each slot is written until an index takes it."""
    for j in range(len(indices)):
        places_of[indices[j]] = j
    at = 0
    for index in range(len(places_of)):
        ascending[at], places[at] = index, places_of[index]
        at += places_of[index] >= 0
    return at


@kernel()
def _near(address: Any, step: Any, samples: Any) -> Any:
    near: Any = 0
    for sample in range(samples):
        at = address + 8 * sample * step
        near += abs(load64(at + 8) - load64(at)) < _NEAR_BYTES
    return near


@kernel()
def _touch(address: Any, indices: Any) -> Any:
    seen = 0
    for index in indices:
        seen ^= load64(load64(address + 8 * index))
    return seen


@kernel()
def _place(address: Any, places: Any, words: Any) -> None:
    for j in range(len(places)):
        words[places[j]] = load64(address + 8 * j)
