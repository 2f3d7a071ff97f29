"""The answers of all ranges made into one: cells in order of first registration, and which are short of survivors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.ladder import Ladder
from faultset_ray.control.messages import Orders
from faultset_ray.control.missing import Missing
from faultset_ray.kernels.segments import reorder_segments
from faultset_ray.policy import Policy

Cells = NDArray[np.uint64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]
Handles = NDArray[np.uint32]
T = TypeVar("T", bound=np.generic)


class Rest(NamedTuple):
    """What the flagged regions of a range have besides survivors; see :func:`~faultset_ray.control.ladder.rest_of`."""

    counts: NDArray[Any]
    """uint[g]: how many of each cell; 0 where it is not flagged; see :func:`narrow`."""
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
    counts: NDArray[Any]
    """uint[g]: how many nodes of each cell survive; see :func:`narrow`."""
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

    order: NDArray[np.uint32]
    """uint32[g]: which cell of the parts, one after the other, comes first, which next."""
    cells: Cells
    """uint64[g]: in their order there; read-only, as answers share it."""


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


def narrow(counts: Counts) -> NDArray[Any]:
    """The same numbers in as few bytes each as hold them all: most answers go to another machine."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def lay_out(parts: Sequence[RegionPart]) -> Layout:
    """Put the cells of all parts into order of first registration."""
    order = np.argsort(np.concatenate([part.first for part in parts]), kind="stable").astype(np.uint32)
    return Layout(order, _own(np.concatenate([part.cells for part in parts])[order]))


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
    order, cells = layout or lay_out(parts)
    counts = np.concatenate([part.counts for part in parts])
    handles = np.concatenate([part.handles for part in parts])
    frozen_until_ms = max((part.frozen_until_ms for part in parts if part.frozen_until_ms is not None), default=None)
    flagged = _flagged(parts, order)
    shortage, step = None, 1
    if policy is not None and flagged.size:
        rest = np.concatenate([_rest_counts(part) for part in parts])
        own = counts[order].astype(np.int64)
        shortage = _shortage(cells, own, flagged, rest[order], policy, missing)
        panicking = order[shortage.groups[shortage.panic]]
        if len(panicking):  # behind the survivors of each cell a segment of its own, empty where there is no panic
            named = np.zeros_like(rest)
            named[panicking] = rest[panicking]
            rests = np.concatenate([part.rest.handles for part in parts if part.rest is not None])
            handles = np.concatenate([handles, rests[np.repeat(named > 0, rest)]])
            counts = np.concatenate([counts, named])
            order = np.stack([order, order + np.uint32(len(order))], axis=1).reshape(-1)
            step = 2
    starts, handles = reorder_segments(handles, counts, order)
    return Composed(cells, _own(np.ascontiguousarray(starts[::step])), _own(handles), shortage, frozen_until_ms)


def _own(column: NDArray[T]) -> NDArray[T]:
    """A column that nobody else has, read-only from now on: an answer need not copy it."""
    column.flags.writeable = False
    return column


def _flagged(parts: Sequence[RegionPart], order: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Flagged groups, ascending."""
    if all(part.flagged is None for part in parts):
        return np.empty(0, np.intp)
    flags = [np.zeros(len(part.counts), np.bool_) if part.flagged is None else part.flagged for part in parts]
    return np.flatnonzero(np.concatenate(flags)[order])


def _rest_counts(part: RegionPart) -> Counts:
    return np.zeros(len(part.counts), np.int64) if part.rest is None else part.rest.counts.astype(np.int64)


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
