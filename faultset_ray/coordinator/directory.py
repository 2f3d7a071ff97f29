"""What drivers cache of a fleet: the node behind each handle, and the range behind each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.ranges import range_of
from faultset_ray.model import Fleet
from faultset_ray.policy import Policy

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class RangeInfo:
    """One range of a fleet as the coordinator has it now."""

    id: int
    """Never given to another range of the fleet, so that what is told of a range stays true."""
    lower: int
    """Its lowest cell; it ends where the next range begins."""
    epoch: int
    """Of the servant that holds it; each servant of a range has a higher one than those before it."""
    roster: int
    """The version at which its nodes were last registered."""


def first_ranges(bounds: NDArray[np.uint64]) -> tuple[RangeInfo, ...]:
    """The ranges of a new fleet, by their lower bounds."""
    return tuple(RangeInfo(index, lower, 1, 1) for index, lower in enumerate(bounds.tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """One fleet as its coordinator knows it."""

    fleet: Fleet
    """Every node ever registered; the node of handle h stands at position h."""
    cells: NDArray[np.uint64]
    """uint64[n]: the cell of each handle."""
    precision: int
    ranges: tuple[RangeInfo, ...]
    """Ascending by cells; together they hold every cell."""
    version: int
    """Grows with every change."""
    registered_ms: NDArray[np.int64]
    """int64[n]: when each node was last registered with a latency; until it was, when it was first registered."""
    living: NDArray[np.bool_]
    """bool[n]: False for a handle whose node was removed. The handle is never given again."""
    marks: NDArray[np.uint8]
    """uint8[n]: 0 none, 1 drain, 2 pin (:class:`~faultset_ray.control.states.Mark`)."""
    policy: Policy
    """What decides who survives where no threshold is given."""
    policy_version: int
    """The version at which the policy was last set."""
    birth: str
    """Of the fleet's history: drawn when its state was first made; what is of another one can't be compared."""

    @property
    def bounds(self) -> NDArray[np.uint64]:
        """uint64[r]: lower bound of each range."""
        return np.array([info.lower for info in self.ranges], np.uint64)

    def positions(self, handles: NDArray[Any]) -> NDArray[np.intp]:
        """Where in ``ranges`` the range of each handle stands: intp[n]."""
        return range_of(self.bounds, self.cells[handles])

    def find(self, range_id: int) -> RangeInfo | None:
        """The range of that id; None when it is no longer one of the fleet's."""
        return next((info for info in self.ranges if info.id == range_id), None)

    def members(self, range_id: int) -> NDArray[np.intp]:
        """The handles of one range, ascending; without nodes that were removed."""
        position = [info.id for info in self.ranges].index(range_id)
        return np.flatnonzero((range_of(self.bounds, self.cells) == position) & self.living)

    def updated(self, update: Update) -> Directory:
        """This directory, of version ``update.since``, made new."""
        fleet, news = self.fleet, update.nodes
        if len(handles := news["handles"]):

            def put(column: NDArray[T], name: str) -> NDArray[T]:
                changed = np.empty(max(len(column), int(handles[-1]) + 1), column.dtype)
                changed[: len(column)] = column
                changed[handles] = news[name]
                return changed

            numbers = put(fleet.lat, "lat"), put(fleet.lon, "lon"), put(fleet.latency_ms, "latency_ms")
            nodes = replace(
                self,
                fleet=Fleet.of_checked(put(fleet.ids, "ids"), *numbers, name=fleet.name),
                cells=put(self.cells, "cells"),
                registered_ms=put(self.registered_ms, "registered_ms"),
                living=put(self.living, "living"),
                marks=put(self.marks, "marks"),
            )
        else:
            nodes = self
        return replace(
            nodes,
            ranges=update.ranges,
            version=update.version,
            policy=update.policy,
            policy_version=update.policy_version,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What changed in a directory since a version of it that someone has."""

    since: int
    version: int
    ranges: tuple[RangeInfo, ...]
    policy: Policy
    policy_version: int
    nodes: dict[str, NDArray[Any]]
    """Columns of the nodes that came or changed, ``handles`` among them, ascending."""


@dataclass(frozen=True, slots=True, eq=False)
class Founded:
    """The directory of a fleet that is new, but for what its driver gave: a million nodes need not come back to it."""

    ranges: tuple[RangeInfo, ...]
    policy: Policy
    registered_ms: int
    """When all of its nodes were."""
    birth: str

    def directory(self, fleet: Fleet, cells: NDArray[np.uint64], precision: int) -> Directory:
        """The whole, with the nodes and cells that were given."""
        count = len(fleet)
        return Directory(
            Fleet.of_checked(fleet.ids, fleet.lat, fleet.lon, fleet.latency_ms, name=fleet.name),
            cells,
            precision,
            self.ranges,
            1,
            np.full(count, self.registered_ms, np.int64),
            np.ones(count, np.bool_),
            np.zeros(count, np.uint8),
            self.policy,
            1,
            self.birth,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """The answer to a registration."""

    handles: NDArray[np.uint32]
    """uint32[n], in the order of the nodes registered."""
    touched: tuple[int, ...]
    """Ids of the ranges that these nodes are in, or were in before."""
    directory: Directory | Founded
    """The latter only to who can make the former of it, and said so."""
    leaving: Mapping[int, NDArray[np.uint32]] = field(default_factory=dict)
    """By range, the nodes that were in it and are in another one now. To a repeated request that is not told again."""


@dataclass(frozen=True, slots=True, eq=False)
class Changed:
    """The answer to a removal or a mark."""

    handles: NDArray[np.uint32]
    """uint32[k]: the nodes that were removed or marked."""
    touched: tuple[int, ...]
    """Ids of the ranges that they are or were in; their rosters are newer now."""
    directory: Directory


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may steward the system's ranges, until when. It saves work; what is safe hangs on epochs alone."""

    holder: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class About:
    """What a coordinator says of itself."""

    system: str
    epoch: int
    """Grows each time that one starts from the system's state."""
    state_root: str | None
    """The directory that the system's own is in; None when its state is in memory and dies with it."""
