"""What drivers and the servants of ranges tell each other, besides answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.census import Condition, Headcount
from faultset_ray.control.journal import Events
from faultset_ray.errors import StaleEpoch
from faultset_ray.policy import Policy


@dataclass(frozen=True, slots=True)
class Orders:
    """By what a range decides. Every question to it carries them, so that no range is left with older ones."""

    version: int
    """Of the fleet's directory when the policy was set; a range takes no older ones than it has."""
    policy: Policy
    fleet: str = ""
    """Whose policy it is: under this name the range counts what it decides."""
    birth: str = ""
    """Of the fleet's history. A range that outlived it belongs to no fleet, and refuses orders of another one."""

    def check_birth(self, told: Orders, epoch: int) -> None:
        """Refuse what is of another history than these orders, which a servant of that epoch has.

        Raises
        ------
        StaleEpoch
        """
        if self.birth not in ("", told.birth):
            raise StaleEpoch(f"region of the history born {self.birth}", epoch, epoch + 1)

    def news_to(self, asked: Orders) -> Orders | None:
        """These, where they are newer than what an asker knows."""
        return self if self.version > asked.version else None


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """All nodes of a range, as they are registered; columns of one length, by ascending handle."""

    roster: int
    """The directory's version at which they were last changed."""
    handles: NDArray[np.uint32]
    cells: NDArray[np.uint64]
    latency_ms: NDArray[np.float64]
    """float64[n]: what was registered last; NaN where no measurement ever was."""
    registered_ms: NDArray[np.int64]
    """int64[n]: when that was; a later observation is kept."""
    marks: NDArray[np.uint8]
    """uint8[n]: see :class:`~faultset_ray.control.states.Mark`."""


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Changes of a range that were saved, and so may be seen."""

    events: Events
    version: int
    """Who goes on from here misses nothing and sees nothing twice."""
    more: bool
    """There are more that were saved."""
    unsaved: bool
    """There are some that were not saved yet."""


@dataclass(frozen=True, slots=True)
class Census:
    """How a range is."""

    roster: int
    """Of its nodes; below the directory's there are some that it was not told of."""
    nodes: int
    version: int
    saved: int
    """The version that was last saved; below ``version`` there are changes that nobody may see yet."""
    dirty_ms: int | None
    """When the first observation came that is in no whole checkpoint, or before; None where there is none."""
    samples: int
    """Observations taken in this epoch."""
    sealed: int | None
    """The move in which it gives way to others, if it does: then it takes none."""
    condition: Condition
    parked: int
    """Nodes that left the range and were not followed up yet; see :mod:`~faultset_ray.control.passage`."""
    short: int
    """Regions that are short of survivors."""
    headcount: Headcount
