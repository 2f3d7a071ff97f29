"""What drivers cache of a fleet: the node behind each handle, and the range behind each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.ranges import range_of
from faultset_ray.model import Fleet


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


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """One fleet as its coordinator knows it."""

    fleet: Fleet
    """Every node registered; the node of handle h stands at position h."""
    cells: NDArray[np.uint64]
    """uint64[n]: the cell of each handle."""
    precision: int
    ranges: tuple[RangeInfo, ...]
    """Ascending by cells; together they hold every cell."""
    version: int
    """Grows with every change."""
    registered_ms: NDArray[np.int64]
    """int64[n]: when each node was last registered."""

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
        """The handles of one range, ascending."""
        position = [info.id for info in self.ranges].index(range_id)
        return np.flatnonzero(range_of(self.bounds, self.cells) == position)


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """The answer to a registration."""

    handles: NDArray[np.uint32]
    """uint32[n], in the order of the nodes registered."""
    touched: tuple[int, ...]
    """Ids of the ranges that these nodes are in, or were in before."""
    directory: Directory
