"""Where a region looks for survivors when its own are too few.

The ladder has four rungs, and a policy says how many a region may climb: its eight neighbours, the other descendants
of its parent cell, the nearest region that has survivors, and everywhere. Within a rung the nearest
region comes first, by the great circle between the centres of cells (see
:mod:`~faultset_ray.kernels.nearest`), of equally near ones the first in Z-order; each lends its survivors in
their order. At a pole a cell has five neighbours. A cell of precision 1 has no parent.

A region is *flagged* while it is below its need. It stays flagged until it has some survivors to spare, so
that answers don't swing where survivors come and go around the need; and a flagged region borrows at least one.
One that has too few nodes for that stays flagged until all of them have survived for the policy's half-life. Panic
has no such margin: it ends at the need, since it names nodes that are known to be bad. Nor is there panic while a
region within reach of the ladder did not answer: it may have survivors to lend.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.geohash import centers, neighbours, precisions
from faultset_ray.kernels.health import NEVER
from faultset_ray.kernels.morton import mask_of
from faultset_ray.kernels.nearest import nearest_outside, points, squares
from faultset_ray.limits import GEOHASH_PRECISION_MAX
from faultset_ray.policy import FALLBACKS, Policy

Cells = NDArray[np.uint64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Tier(IntEnum):
    """How an answer came to name a node for a region."""

    OWN = 0
    """It survives in the region itself."""
    NEIGHBOURS = 1
    PARENT = 2
    NEAREST = 3
    EVERYWHERE = 4
    PANIC = 5
    """It does not survive; all nodes of the region are named, since too few do."""


_MASKS = np.array([0] + [mask_of(precision) for precision in range(1, GEOHASH_PRECISION_MAX + 1)], np.uint64)
_FEW = 64
"""Up to so many cells are placed on the globe as they are met; for more, all lenders are, once."""


def flag_regions(
    flagged: Flags, full_ms: Counts, own: Counts, eligible: Counts, policy: Policy, now_ms: int
) -> tuple[Flags, Counts]:
    """Return which regions are below their need, or were and are not well above it yet.

    In its half-life a policy forgets half of what was; and it is the one time that every policy has, since ``hold_s``
    is 0 and ``ttl_s`` none by default.

    Parameters
    ----------
    flagged : bool[g]
        Which were; all False at first.
    full_ms : int64[g]
        Since when these have been full, as this returned it; :data:`NEVER` for the others.
    own, eligible : int64[g]
        Survivors of each region, and its nodes that could be (all but the drained). It is full with as many.
    policy : Policy
        Its ``survivors_min`` is the need; 0 flags none.

    Returns
    -------
    flagged : bool[g]
        Set where survivors are fewer than the need; kept until there are ``max(1, need // 4)`` more than that, or the
        region has been full for ``half_life_s``.
    full_ms : int64[g]
        Of these, since when those that have what they need have been full; else :data:`NEVER`.
    """
    need = policy.survivors_min
    if need <= 0:
        return np.zeros(len(own), np.bool_), np.full(len(own), NEVER)
    full = flagged & (own >= need) & (own >= eligible)
    since_ms = np.where(full & (full_ms == NEVER), now_ms, full_ms)
    rested = full & (now_ms - since_ms >= policy.rules.half_life_ms)
    recovering = flagged & (own < need + max(1, need // 4)) & ~rested
    now = (own < need) | recovering
    return now, np.where(full & now, since_ms, NEVER)


def rest_of(
    order: NDArray[np.integer[Any]],
    starts: NDArray[np.integer[Any]],
    flagged: Flags,
    out: Flags,
    statistic: NDArray[np.float64],
) -> tuple[NDArray[np.integer[Any]], Counts]:
    """Return what flagged regions have besides survivors, for panic: in each the least bad first.

    Parameters
    ----------
    order, starts : int64[p] or uint32[p], int64[g + 1] or uint32[g + 1]
        Group g holds the slots ``order[starts[g]:starts[g + 1]]``.
    flagged : bool[g]
    out : bool[n]
        By slot: neither a survivor nor drained.
    statistic : float64[n]
        By slot; NaN comes last, ties in the order of ``order``.

    Returns
    -------
    slots : int64[m]
    counts : int64[g]
        How many there are of each group; 0 where it is not flagged.
    """
    sizes = np.diff(starts)
    inside = np.repeat(flagged, sizes)
    slots, group = order[inside], np.repeat(np.arange(len(sizes)), sizes)[inside]
    kept = out[slots]
    slots, group = slots[kept], group[kept]
    return slots[np.lexsort((statistic[slots], group))], np.bincount(group, minlength=len(sizes))


def lacking(own: Counts, need: int) -> Counts:
    """How many survivors a flagged region borrows, int64[g]: as many as it lacks, and at least one."""
    return np.maximum(need - own, 1)


class Loan(NamedTuple):
    """What one region borrows, the first to be asked first."""

    groups: NDArray[np.intp]
    """intp[k]: regions that lend."""
    counts: Counts
    """int64[k]: how many of its survivors each lends, from the first on."""
    tiers: NDArray[np.uint8]
    """uint8[k]"""


class Ladder:
    """The regions of one answer that have survivors, ready to lend."""

    def __init__(self, cells: Cells, own: Counts, policy: Policy) -> None:
        """Take the cells and survivors of all regions, uint64[g] and int64[g]; need and reach are the policy's."""
        lenders = np.flatnonzero(own > 0)
        self._groups = lenders[np.argsort(cells[lenders])]
        self._cells = cells[self._groups]
        self._own = own[self._groups]
        self._need = policy.survivors_min
        self._reach = FALLBACKS.index(policy.fallback)

    def borrow(self, cell: np.uint64, own: int) -> Loan:
        """Climb for one flagged region with ``own`` survivors, until it has what it lacks; O(regions) at most."""
        left = int(lacking(np.array([own]), self._need)[0])
        at = np.array([cell])
        free = self._cells != cell
        taken, tiers = [np.empty(0, np.intp)], []
        for tier, rung in self._rungs(at, free):
            fresh = self._nearest_first(at, rung[free[rung]], left)
            free[rung] = False
            before = np.cumsum(self._own[fresh]) - self._own[fresh]
            fresh = fresh[before < left]
            taken.append(fresh)
            tiers.append((tier, len(fresh)))
            left -= int(self._own[fresh].sum())
            if left <= 0:
                break
        lenders = np.concatenate(taken)
        counts = self._own[lenders]
        if left < 0:
            counts[-1] += left  # the last one need not lend all it has
        lent_at = [tier for tier, count in tiers for _ in range(count)]
        return Loan(self._groups[lenders], counts, np.array(lent_at, np.uint8))

    def found(self, cells: Cells, own: Counts) -> Counts:
        """Return how many survivors each of these flagged regions borrows, int64[f], without saying whose."""
        if self._reach in (Tier.OWN, Tier.EVERYWHERE):
            elsewhere = self._own.sum() - own
            return np.minimum(lacking(own, self._need), elsewhere) if self._reach else np.zeros_like(own)
        order = np.argsort(cells)  # neighbours of neighbours are looked for close to each other: it takes half the time
        found = np.empty_like(own)
        found[order] = self._found(cells[order], own[order])
        return found

    def finds_some(self, cells: Cells, own: Counts) -> Flags:
        """Return which of these flagged regions borrow at least one survivor, bool[f]."""
        found = self._own.sum() - own if self._reach >= Tier.NEAREST else self.found(cells, own)
        some: Flags = found > 0
        return some

    def silent(self, cells: Cells, missing: Cells) -> Counts:
        """Return how many regions that did not answer are within reach of each of these, int64[f].

        Parameters
        ----------
        cells : uint64[f]
        missing : uint64[m]
            Ascending. Any of them may be the nearest that has survivors, so from that rung on all are within reach.
        """
        if self._reach >= Tier.NEAREST or not len(missing):
            return np.full(len(cells), len(missing))
        if self._reach == Tier.OWN:
            return np.zeros(len(cells), np.int64)
        position, there = _find(missing, neighbours(cells))
        total: Counts = there.sum(axis=1)
        if self._reach >= Tier.PARENT:
            begin, end = _siblings_in(missing, cells)
            counted = there & (position >= begin[:, None]) & (position < end[:, None])
            total += end - begin - counted.sum(axis=1)
        return total

    # -- Inside. Lenders are counted in Z-order.

    def _found(self, cells: Cells, own: Counts) -> Counts:
        lack = lacking(own, self._need)
        around = neighbours(cells)
        position, there = _find(self._cells, around)
        lent = np.where(there, self._own[position], 0) if len(self._own) else np.zeros(around.shape, np.int64)
        total = lent.sum(axis=1)
        low, high = _siblings(cells)
        if self._reach >= Tier.PARENT:
            begin, end = _siblings_in(self._cells, cells)
            upto = np.concatenate([[0], np.cumsum(self._own)])
            counted = (position >= begin[:, None]) & (position < end[:, None])
            has_parent = low <= high
            total += np.where(has_parent, upto[end] - upto[begin] - own - (lent * counted).sum(axis=1), 0)
        if self._reach >= Tier.NEAREST and (short := np.flatnonzero(total < lack)).size and len(self._cells):
            skipped = np.column_stack([around[short], cells[short]])
            here = points(*centers(cells[short]))
            lender = nearest_outside(self._points, self._cells, here, skipped, low[short], high[short])
            total[short] += np.where(lender >= 0, self._own[lender], 0)
        found: Counts = np.minimum(total, lack)
        return found

    @cached_property
    def _points(self) -> NDArray[np.int64]:
        return points(*centers(self._cells))

    def _rungs(self, at: Cells, free: Flags) -> Iterator[tuple[Tier, NDArray[np.intp]]]:
        """Lenders of each tier; those of earlier ones, which are not ``free`` any more, may be among them."""
        if self._reach >= Tier.NEIGHBOURS:
            position, there = _find(self._cells, neighbours(at)[0])
            yield Tier.NEIGHBOURS, position[there]
        if self._reach >= Tier.PARENT:
            begin, end = _siblings_in(self._cells, at)
            yield Tier.PARENT, np.arange(begin[0], end[0])
        if self._reach >= Tier.NEAREST:
            yield Tier.NEAREST, self._nearest_first(at, np.flatnonzero(free), 1)
        if self._reach >= Tier.EVERYWHERE:
            yield Tier.EVERYWHERE, np.arange(len(self._cells))

    def _nearest_first(self, at: Cells, lenders: NDArray[np.intp], most: int) -> NDArray[np.intp]:
        """The ``most`` lenders nearest to a cell, in order."""
        there = points(*centers(self._cells[lenders])) if len(lenders) <= _FEW else self._points[:, lenders]
        squared = squares(there, points(*centers(at)))
        if len(lenders) > most:
            near = np.flatnonzero(squared <= np.partition(squared, most - 1)[most - 1])
            lenders, squared = lenders[near], squared[near]
        return lenders[np.lexsort((self._cells[lenders], squared))][:most]


def _find(among: Cells, cells: Cells) -> tuple[NDArray[np.intp], Flags]:
    """Position of each cell among others, ascending, and whether it is one of them; 0 where it is not."""
    position = np.searchsorted(among, cells)
    there = position < len(among)
    there[there] = among[position[there]] == cells[there]
    return np.where(there, position, 0), there


def _siblings_in(among: Cells, cells: Cells) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the descendants of each cell's parent are among others, ascending: from, to; alike if it has no parent."""
    low, high = _siblings(cells)
    begin, end = np.searchsorted(among, low), np.searchsorted(among, high, side="right")
    return begin, np.maximum(begin, end)


def _siblings(cells: Cells) -> tuple[Cells, Cells]:
    """First and last of the descendants of each cell's parent; the first above the last where there is no parent."""
    parent = precisions(cells) - 1
    low = cells & _MASKS[parent]
    high = low | ~_MASKS[parent]
    return np.where(parent > 0, low, np.uint64(1)), np.where(parent > 0, high, np.uint64(0))
