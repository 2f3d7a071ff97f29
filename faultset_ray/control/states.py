"""What a node can be, why, and what holds it there: small numbers in columns, with stable names."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Named(IntEnum):
    """A small number with a stable name."""

    @property
    def label(self) -> str:
        """Stable name, as in JSON and events: ``over_threshold``."""
        return self.name.lower()


class State(Named):
    """What is known about a node. Healthy and suspect nodes survive; marks are apart."""

    UNKNOWN = 0
    """Never measured, or not for longer than the TTL, and no good sample since: neither survivor nor dead."""
    HEALTHY = 1
    SUSPECT = 2
    """There is evidence against it, which does not suffice, or its ejection is blocked. It survives."""
    EJECTED = 3
    """Enough evidence against it; out at least until its hold-down has passed."""
    PROBATION = 4
    """Out still: the hold-down has passed and good samples come, but too few in a row so far."""
    REMOVED = 5
    """It is no longer of the fleet; only changes say so."""


class Mark(Named):
    """What an operator decided about a node. Marked nodes are not counted by ejection caps."""

    NONE = 0
    DRAIN = 1
    """Never a survivor."""
    PIN = 2
    """Always a survivor."""


class Rule(Named):
    """Why a node is in its state, or what changed."""

    NEVER_MEASURED = 0
    """Unknown: there was no measurement, not even a failed one."""
    STALE = 1
    """Unknown: value = age of the last sample, threshold = TTL, both in ms."""
    WITHIN = 2
    """Healthy: value = the statistic, threshold = the highest good one."""
    SOME_BAD = 3
    """Suspect, or unknown still: value = bad samples of the window, threshold = how many eject."""
    OVER_THRESHOLD = 4
    """Ejected (or blocked): value = the statistic, threshold = what it exceeded."""
    FAILURES = 5
    """Ejected (or blocked): value = failed samples in a row, threshold = how many bad ones eject."""
    RELAPSE = 6
    """Ejected anew, after a bad sample in probation: value and threshold as in OVER_THRESHOLD."""
    PROVING = 7
    """Probation, or unknown after that: value = good samples in a row, threshold = how many are needed."""
    RECOVERED = 8
    """Healthy again: value = the statistic, threshold = the highest that counts as recovered."""
    REINSTATED = 9
    """Suspect: its ejection was taken back, since it was the observer that had failed."""
    DRAINED = 10
    PINNED = 11
    UNMARKED = 12
    CAPPED = 13
    """Suspect: its ejection was taken back, since the cap allows fewer now: value = how many of its region would be
    out with it, threshold = how many may be."""
    REMOVED = 14
    """It was let go of, for good."""
    MOVED = 15
    """It was registered in another region, from where on it is as it was; the change names the new one."""
    SHORT = 16
    """Of a region: value = its survivors, threshold = how many it needs; until ENOUGH."""
    ENOUGH = 17
    PANIC = 18
    """Of a region: the ladder finds too few, so all its nodes are named; until CALM."""
    CALM = 19
    FROZEN = 20
    """Of a whole range: nobody is ejected, since most of the fleet seems to fail at once; until THAWED."""
    THAWED = 21


class Blocked(Named):
    """What keeps a node from another state."""

    NOTHING = 0
    CAP = 1
    """It would be ejected, but no more of its region may be."""
    FREEZE = 2
    """It would be ejected, but ejections are frozen: the observer seems to be at fault."""
    HOLD = 3
    """It would be re-admitted, but its hold-down has not passed."""
    SAMPLES = 4
    """It is out, or was when it fell silent, and has too few good samples in a row to be re-admitted."""


def survival(state: NDArray[np.uint8], mark: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return who survives in these states, with these marks: bool[m]."""
    well = (state == State.HEALTHY) | (state == State.SUSPECT)
    surviving: NDArray[np.bool_] = well & (mark != Mark.DRAIN) | (mark == Mark.PIN)
    return surviving
