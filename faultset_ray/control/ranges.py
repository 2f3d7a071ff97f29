"""Ranges: contiguous Z-order intervals of cells, one region actor each.

Bounds may fall on every cell, so "an actor for each geohash cluster" is just the map of a small fleet,
and a million nodes still sit on a handful of actors.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faultset_ray.limits import (
    MERGE_FILL_MAX,
    MERGE_SECONDS,
    RANGE_NODES_MAX,
    RANGE_NODES_NEW,
    RANGE_SAMPLES_MAX,
    RANGES_SPARED,
    SPLIT_FILL,
    SPLIT_SECONDS,
)

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


def ranges_for(nodes: int, most: int) -> int:
    """Into how many ranges a new fleet is cut, at most ``most`` where that is no less than ``RANGES_SPARED``.

    More would be merged again after a minute.
    """
    return max(RANGES_SPARED, min(math.ceil(nodes / RANGE_NODES_NEW), most))


def range_of(bounds: Cells, cells: Cells) -> NDArray[np.intp]:
    """Which range each cell belongs to: intp[n]."""
    return np.searchsorted(bounds, cells, side="right") - 1


@dataclass(frozen=True, slots=True)
class RangeLoad:
    """How much one range has to do."""

    id: int
    lower: int
    """Its lowest cell."""
    nodes: int
    samples_s: float
    """Observations a second, lately."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What one range may hold, and how few ranges a fleet may have."""

    nodes_max: int = RANGE_NODES_MAX
    samples_max: float = RANGE_SAMPLES_MAX
    ranges_min: int = 1

    def fill(self, loads: Sequence[RangeLoad]) -> float:
        """How full one range would be that did the work of all these; 1 is full."""
        nodes = sum(load.nodes for load in loads)
        samples_s = sum(load.samples_s for load in loads)
        return max(nodes / self.nodes_max, samples_s / self.samples_max)


@dataclass(frozen=True, slots=True)
class Reshape:
    """A move to make: these neighbouring ranges give way to new ones with these lower bounds."""

    range_ids: tuple[int, ...]
    bounds: tuple[int, ...]


class Shaper:
    """Decides, census after census, when the ranges of one fleet are split or merged.

    It does not swing. A range is split when it was past its bound for ``SPLIT_SECONDS``, and into parts that are
    at most about ``SPLIT_FILL`` full. Neighbours are merged when they were small for ``MERGE_SECONDS``, and only
    into a range at most ``MERGE_FILL_MAX`` full: less than two parts of a split have together, and so far from
    the bound that it takes another load to split it again. A fleet within its bounds is left as it is.
    """

    def __init__(self, sizing: Sizing) -> None:
        self._sizing = sizing
        self._over_ms: dict[int, int] = {}
        """Since when each range was past its bound."""
        self._small_ms: dict[int, int] = {}
        """Since when each range was small enough to be merged."""

    def step(self, loads: Sequence[RangeLoad], cells: Cells, now_ms: int) -> Reshape | None:
        """Take a census; the most urgent move, if there is one. Nothing is remembered of ranges that left.

        Parameters
        ----------
        loads
            Every range of the fleet, ascending by cells.
        cells : uint64[n]
            The cell of every node, in any order.
        """
        fills = {load.id: self._sizing.fill([load]) for load in loads}
        self._over_ms = _since(self._over_ms, (each for each in fills if fills[each] > 1), now_ms)
        self._small_ms = _since(self._small_ms, (each for each in fills if fills[each] <= MERGE_FILL_MAX / 2), now_ms)
        ripe_ms = now_ms - round(SPLIT_SECONDS * 1000)
        ripe = {range_id for range_id, since_ms in self._over_ms.items() if since_ms <= ripe_ms}
        return _split(loads, fills, cells, ripe) or self._merge(loads, now_ms)

    def _merge(self, loads: Sequence[RangeLoad], now_ms: int) -> Reshape | None:
        """The longest run of small neighbours that one range can hold, down to the fewest ranges allowed."""
        ripe_ms = now_ms - round(MERGE_SECONDS * 1000)
        spare = len(loads) - self._sizing.ranges_min
        best: Sequence[RangeLoad] = ()
        begin = 0
        for end, load in enumerate(loads, 1):
            if self._small_ms.get(load.id, now_ms) > ripe_ms:
                begin = end
            while self._sizing.fill(loads[begin:end]) > MERGE_FILL_MAX or end - begin > spare + 1:
                begin += 1
            if end - begin > max(len(best), 1):
                best = loads[begin:end]
        return Reshape(tuple(load.id for load in best), (best[0].lower,)) if best else None


def _since(before: Mapping[int, int], now_so: Iterable[int], now_ms: int) -> dict[int, int]:
    return {range_id: before.get(range_id, now_ms) for range_id in now_so}


def _split(
    loads: Sequence[RangeLoad], fills: Mapping[int, float], cells: Cells, ripe: Collection[int]
) -> Reshape | None:
    """The fullest of the ripe ranges that has more than one cell, cut into parts of about equal numbers of nodes."""
    positions = range_of(np.array([load.lower for load in loads], np.uint64), cells)
    for position in sorted(range(len(loads)), key=lambda position: -fills[loads[position].id]):
        load = loads[position]
        if load.id in ripe:
            within = cells[positions == position]
            bounds = plan_bounds(within, max(2, math.ceil(fills[load.id] / SPLIT_FILL))) if len(within) else within
            if len(bounds) > 1:
                return Reshape((load.id,), (load.lower, *bounds[1:].tolist()))
    return None
