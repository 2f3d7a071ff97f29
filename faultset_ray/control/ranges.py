"""Ranges: contiguous Z-order intervals of cells, one region actor each.

Bounds may fall on every cell, so "an actor for each geohash cluster" is just the map of a small fleet,
and a million nodes still sit on a handful of actors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.uint64]


def plan_bounds(cells: Cells, ranges_max: int) -> Cells:
    """Cut the occupied cells into ranges of about equal numbers of nodes.

    Parameters
    ----------
    cells : uint64[n], n ≥ 1
        The cell of every node.
    ranges_max : int
        How many ranges there may be, at least 1.

    Returns
    -------
    uint64[r], r ≤ ranges_max
        Lower bounds, ascending, the first 0: range i is ``bounds[i] ≤ cell < bounds[i + 1]``, the last
        one open. With no more cells than ranges, each cell has a range of its own.
    """
    occupied, counts = np.unique(cells, return_counts=True)
    ranges = min(ranges_max, len(occupied))
    if ranges == len(occupied):
        bounds = occupied.copy()
    else:
        before = np.cumsum(counts) - counts
        quotas = np.arange(ranges) * (len(cells) / ranges)
        begins = np.minimum(np.searchsorted(before, quotas), len(occupied) - 1)  # a last cell of many nodes
        bounds = occupied[np.unique(begins)]
    bounds[0] = 0
    return bounds


def range_of(bounds: Cells, cells: Cells) -> NDArray[np.intp]:
    """Which range each cell belongs to: intp[n]."""
    return np.searchsorted(bounds, cells, side="right") - 1
