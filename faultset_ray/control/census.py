"""When most of a fleet seems to fail at once, it is more likely that the observer does: ejections freeze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.states import Mark, State
from faultset_ray.limits import FREEZE_SECONDS, FREEZE_WINDOW_SECONDS

if TYPE_CHECKING:
    from faultset_ray.control.health import Health


@dataclass(frozen=True, slots=True)
class RangeCensus:
    """What was counted in one range; drained and pinned nodes aside."""

    range_id: int
    nodes: int
    bad: int
    """Nodes that are ejected or on probation, and suspects whose last sample was bad."""
    since_ms: int
    """When the last of the healthy half turned bad; any number while at most half of them are."""

    @property
    def degraded(self) -> bool:
        """Whether more than half of the nodes are bad."""
        return 2 * self.bad > self.nodes


def condition(health: Health, slots: slice | NDArray[np.intp]) -> tuple[int, int, int | None]:
    """How some nodes are.

    Returns
    -------
    bad, measured : int
        Nodes without a mark that are out, or suspects whose last sample was bad; and those that are not unknown.
    degraded_ms : int or None
        When the last of the healthy half turned bad; None while at most half of the measured are.
    """
    state, unmarked = health.state[slots], health.mark[slots] == Mark.NONE
    measured = int(np.count_nonzero(unmarked & (state != State.UNKNOWN)))
    bad = (state > State.SUSPECT) | ((state == State.SUSPECT) & (health.window[slots] & 1 == 1))
    turned_ms = health.since_ms[slots][unmarked & bad]
    half = measured // 2
    degraded_ms = int(np.partition(turned_ms, half)[half]) if len(turned_ms) > half else None
    return len(turned_ms), measured, degraded_ms


@dataclass(frozen=True, slots=True)
class Freeze:
    """No ejections until then, and those since the outage began are taken back."""

    since_ms: int
    until_ms: int


def advise(
    counted: Sequence[RangeCensus], freeze_at: float | None, before: Freeze | None, now_ms: int
) -> Freeze | None:
    """Whether ejections are to be frozen, and until when; a freeze whose time is over freezes nothing.

    They are when the share of the ranges that degraded within ``FREEZE_WINDOW_SECONDS`` reaches
    ``freeze_at``, and for ``FREEZE_SECONDS`` from each census that finds it so. An outage that lasts for longer
    than the window is believed: then the nodes are ejected after all, and nothing is frozen again until
    fewer ranges are degraded.

    Parameters
    ----------
    counted
        The ranges that answered; one alone is the whole fleet.
    freeze_at : float, optional
        Of the policy; None never freezes.
    before
        The advice until now. One whose time is over remembers that the outage is believed.
    """
    if freeze_at is None:
        return None
    if not counted:
        return before
    window_ms = round(FREEZE_WINDOW_SECONDS * 1000)
    degraded = [each.since_ms for each in counted if each.degraded]
    if len(degraded) / len(counted) < freeze_at:
        return before if before is not None and now_ms < before.until_ms else None
    if before is not None and now_ms >= before.since_ms + window_ms:
        return before
    lately = [since_ms for since_ms in degraded if since_ms > now_ms - window_ms]
    if len(lately) / len(counted) < freeze_at:
        return before
    since_ms = min(lately) if before is None else min(before.since_ms, *lately)
    return Freeze(since_ms, now_ms + round(FREEZE_SECONDS * 1000))
