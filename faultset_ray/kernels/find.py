"""Where values are in a sorted column: a table of the leading bits, then a binary search among few.

A plain binary search misses the cache at every step; here the table is small enough to stay in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

_VALUES_PER_ENTRY = 8


def index_of(column: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], int]:
    """Make a table for :func:`find`.

    Parameters
    ----------
    column : uint32[n]
        Ascending, distinct.

    Returns
    -------
    starts : uint32[t + 1], t ≤ n / 4 + 2
        Entry i begins at the first value v with v >> shift ≥ i.
    shift : int
    """
    top = int(column[-1]) if len(column) else 0
    shift = max(0, (top // max(1, len(column) // _VALUES_PER_ENTRY)).bit_length() - 1)
    bounds = np.arange((top >> shift) + 2, dtype=np.uint64) << np.uint64(shift)
    return np.searchsorted(column, bounds).astype(np.uint32), shift


def find(column: NDArray[np.uint32], sought: NDArray[np.uint32], starts: NDArray[np.uint32], shift: int) -> Any:
    """Return where each value is: int64[m], -1 where it is not in the column."""
    if HAVE_NUMBA:
        slots = np.empty(len(sought), np.int64)
        _find(column, sought, starts, shift, slots)
        return slots
    if not len(column):
        return np.full(len(sought), -1, np.int64)
    slots = np.searchsorted(column, sought)
    slots[slots == len(column)] = 0
    return np.where(column[slots] == sought, slots, -1)


@kernel()
def _find(column: Any, sought: Any, starts: Any, shift: Any, slots: Any) -> None:
    for i in range(len(sought)):
        value = np.int64(sought[i])
        entry = value >> shift
        slots[i] = -1
        if entry < len(starts) - 1:
            low, high = np.int64(starts[entry]), np.int64(starts[entry + 1])
            while low < high:
                middle = (low + high) >> 1
                if np.int64(column[middle]) < value:
                    low = middle + 1
                else:
                    high = middle
            if low < len(column) and np.int64(column[low]) == value:
                slots[i] = low
