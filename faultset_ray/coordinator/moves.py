"""Moves: some neighbouring ranges give way to others that hold the same cells.

A split, a merge and a drain are one operation. The intent is written down before anything is done, so that
after a crash a move is carried on, or given up: until it is committed, the old ranges are the fleet's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from faultset_ray.control.checkpoint import Checkpoint
from faultset_ray.coordinator.directory import RangeInfo
from faultset_ray.errors import InputError


@dataclass(frozen=True, slots=True)
class Move:
    """The intent of a move."""

    id: int
    fleet: str
    sources: tuple[RangeInfo, ...]
    """As they were when it began."""
    targets: tuple[RangeInfo, ...]
    """New ids, in their first epoch."""

    def to_json(self) -> str:
        """The ranges, as the catalog keeps them."""
        return json.dumps([[asdict(info) for info in side] for side in (self.sources, self.targets)])

    @classmethod
    def from_json(cls, move_id: int, fleet: str, text: str) -> Self:
        """The opposite of :meth:`to_json`."""
        sources, targets = (tuple(RangeInfo(**info) for info in side) for side in json.loads(text))
        return cls(move_id, fleet, sources, targets)


@dataclass(frozen=True, slots=True)
class Retired:
    """What is left of a range that gave way to others."""

    children: tuple[int, ...]
    """The ranges that its cells went to, which begin at version 0; those may have retired since."""
    last: Checkpoint
    """Its last state, without health: the changes that a watcher reads before it goes on with the children."""


def planned(
    ranges: Sequence[RangeInfo], sources: Sequence[int], bounds: Sequence[int], next_id: int
) -> tuple[tuple[RangeInfo, ...], tuple[RangeInfo, ...]]:
    """The ranges that give way and those that come, in Z-order.

    Raises
    ------
    InputError
        The sources are no neighbours, or the bounds don't begin where they do, ascend and end before they do.
    """
    positions = sorted(position for position, info in enumerate(ranges) if info.id in set(sources))
    if not positions or len(positions) != len(set(sources)):
        raise InputError(f"ranges {sorted(sources)} are not all ranges of the fleet; those are {_ids(ranges)}")
    if positions[-1] - positions[0] != len(positions) - 1:
        raise InputError(f"ranges {sorted(sources)} are no neighbours; the fleet's are, in order, {_ids(ranges)}")
    old = tuple(ranges[position] for position in positions)
    end = ranges[positions[-1] + 1].lower if positions[-1] + 1 < len(ranges) else 1 << 64
    ascending = all(low < high for low, high in zip(bounds, [*bounds[1:], end], strict=True))
    if not bounds or bounds[0] != old[0].lower or not ascending:
        raise InputError(
            f"bounds {[hex(bound) for bound in bounds]} don't ascend from {old[0].lower:#x} to below {end:#x}"
        )
    newest = max(info.roster for info in old)
    return old, tuple(RangeInfo(next_id + index, lower, 1, newest) for index, lower in enumerate(bounds))


def moved(ranges: Sequence[RangeInfo], move: Move, version: int) -> tuple[RangeInfo, ...]:
    """The fleet's ranges once the move is done at ``version``.

    Nodes that were registered, marked or removed meanwhile went to the old ranges: the new ones then have
    a newer roster than they were loaded with, and are loaded again.
    """
    then = {info.id: info.roster for info in move.sources}
    stale = any(info.roster != then[info.id] for info in ranges if info.id in then)
    targets = tuple(replace(info, roster=version) for info in move.targets) if stale else move.targets
    kept = (info for info in ranges if info.id not in then)
    return tuple(sorted((*kept, *targets), key=lambda info: info.lower))


def _ids(ranges: Sequence[RangeInfo]) -> list[int]:
    return [info.id for info in ranges]
