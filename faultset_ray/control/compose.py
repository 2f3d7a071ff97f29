"""The answers of all ranges made into one: cells in order of first registration, and which are short of survivors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.ladder import Ladder
from faultset_ray.control.messages import Orders
from faultset_ray.control.missing import Missing
from faultset_ray.policy import Policy

Cells = NDArray[np.uint64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]
Handles = NDArray[np.uint32]


class Rest(NamedTuple):
    """What the flagged regions of a range have besides survivors; see :func:`~faultset_ray.control.ladder.rest_of`."""

    counts: Counts
    """int64[g]: how many of each cell; 0 where it is not flagged."""
    handles: Handles
    """uint32[sum(counts)]: neither survivors nor drained, cell after cell, each the least bad first."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionPart:
    """One range's answer: its cells in order of first registration, each with its survivors."""

    epoch: int
    version: int
    """Grows with every change of the range's state."""
    roster: int
    """Which roster of nodes this answer is about; see :meth:`Region.load <faultset_ray.control.region.Region.load>`."""
    cells: Cells
    """uint64[g]; of no length where the asker knew them, see :class:`Layout`."""
    first: Handles
    """uint32[g]: the first node of each cell; as ``cells``."""
    counts: Counts
    """int64[g]: how many nodes of each cell survive."""
    handles: Handles
    """uint32[sum(counts)]: the survivors, cell after cell, each ascending by latency."""
    flagged: Flags | None = None
    """bool[g]: see :func:`~faultset_ray.control.ladder.flag_regions`; None for none."""
    rest: Rest | None = None
    """Where the policy knows panic."""
    frozen_until_ms: int | None = None
    """Until when ejections are frozen, if they are."""
    ahead_ms: int = 0
    """By how much the asker's clock was ahead of the servant's host, where that is too much to be believed."""
    newer: Orders | None = None
    """By what it decided, where that is newer than what the asker brought."""


class Layout(NamedTuple):
    """In which order the cells of some parts stand; the same for all answers about the same rosters."""

    order: NDArray[np.intp]
    """intp[g]: which cell of the parts, one after the other, is the first, the second …"""
    cells: Cells
    """uint64[g]: in that order."""


class Shortage(NamedTuple):
    """The flagged regions of an answer."""

    groups: NDArray[np.intp]
    """intp[f]: which they are, ascending."""
    own: Counts
    """int64[f]: survivors of their own."""
    panic: Flags
    """bool[f]: with what the ladder finds they are below their need, and have other nodes, so these are named too."""
    silent: Counts
    """int64[f]: of one that would be in panic, how many regions within its reach did not answer; else 0."""


class Composed(NamedTuple):
    """All parts as one."""

    cells: Cells
    """uint64[g]"""
    starts: Counts
    """int64[g + 1]: where each cell's nodes begin in ``handles``."""
    handles: Handles
    """uint32[s]: in each cell the survivors; in panic then all others that are not drained."""
    shortage: Shortage | None = None
    """None where no region is flagged."""
    frozen_until_ms: int | None = None


def lay_out(parts: Sequence[RegionPart]) -> Layout:
    """Put the cells of all parts into order of first registration."""
    order = np.argsort(np.concatenate([part.first for part in parts]), kind="stable")
    return Layout(order, np.concatenate([part.cells for part in parts])[order])


def compose(
    parts: Sequence[RegionPart],
    policy: Policy | None = None,
    layout: Layout | None = None,
    missing: Missing | None = None,
) -> Composed:
    """Put the cells of all parts into order of first registration, and see where panic is.

    Parameters
    ----------
    parts
        Of distinct ranges.
    policy
        Under which they were made; None for the plain rule, which knows neither need nor panic.
    layout
        Of these parts, if it is known.
    missing
        Regions that did not answer. One that has them within its reach is in no panic: they may have somebody to lend.
    """
    if not parts:
        return Composed(np.empty(0, np.uint64), np.zeros(1, np.int64), np.empty(0, np.uint32))
    own = np.concatenate([part.counts for part in parts])
    handles = np.concatenate([part.handles for part in parts])
    order, cells = layout or lay_out(parts)
    begins, own = (np.cumsum(own) - own)[order], own[order]
    frozen_until_ms = max((part.frozen_until_ms for part in parts if part.frozen_until_ms is not None), default=None)
    flagged = _flagged(parts, order)
    if policy is None or not flagged.size:
        starts, handles = _gather(handles, begins, own)
        return Composed(cells, starts, handles, None, frozen_until_ms)
    rest_counts, rest = _rest(parts)
    rest_begins, rest_counts = (np.cumsum(rest_counts) - rest_counts + len(handles))[order], rest_counts[order]
    shortage = _shortage(cells, own, flagged, rest_counts, policy, missing)
    named = np.zeros_like(own)
    panicking = shortage.groups[shortage.panic]
    named[panicking] = rest_counts[panicking]
    starts, handles = _gather(  # two segments a cell: survivors, and what is named besides
        np.concatenate([handles, rest]),
        np.column_stack([begins, rest_begins]).ravel(),
        np.column_stack([own, named]).ravel(),
    )
    return Composed(cells, starts[::2], handles, shortage, frozen_until_ms)


def _gather(pool: Handles, begins: Counts, counts: Counts) -> tuple[Counts, Handles]:
    """Put the segments of ``pool`` one after the other: where each starts then, and all of them."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts, pool[np.arange(starts[-1]) + np.repeat(begins - starts[:-1], counts)]


def _flagged(parts: Sequence[RegionPart], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Flagged groups, ascending."""
    if all(part.flagged is None for part in parts):
        return np.empty(0, np.intp)
    flags = [np.zeros(len(part.counts), np.bool_) if part.flagged is None else part.flagged for part in parts]
    return np.flatnonzero(np.concatenate(flags)[order])


def _rest(parts: Sequence[RegionPart]) -> tuple[Counts, Handles]:
    counts = [np.zeros(len(part.counts), np.int64) if part.rest is None else part.rest.counts for part in parts]
    handles = [part.rest.handles for part in parts if part.rest is not None]
    return np.concatenate(counts), np.concatenate([np.empty(0, np.uint32), *handles])


def _shortage(
    cells: Cells, own: Counts, flagged: NDArray[np.intp], rest: Counts, policy: Policy, missing: Missing | None
) -> Shortage:
    need = policy.survivors_min
    panic = (own[flagged] < need) & (rest[flagged] > 0) & (policy.panic == "all")  # if there is anybody else to name
    silent = np.zeros(len(flagged), np.int64)
    if panic.any():
        asked, ladder = flagged[panic], Ladder(cells, own, policy)
        panic[panic] = own[asked] + ladder.found(cells[asked], own[asked]) < need
        if missing:
            silent[panic] = ladder.silent(cells[flagged[panic]], missing.cells)
    return Shortage(flagged, own[flagged], panic & (silent == 0), silent)
