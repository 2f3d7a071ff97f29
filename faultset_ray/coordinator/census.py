"""When most of a fleet seems to fail at once, it is more likely that the observer does: ejections freeze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faultset_ray.limits import FREEZE_SECONDS, FREEZE_WINDOW_SECONDS


@dataclass(frozen=True, slots=True)
class RangeCensus:
    """What was counted in one range; drained and pinned nodes aside."""

    range_id: int
    nodes: int
    bad: int
    """Nodes that are suspect, ejected or on probation."""
    since_ms: int
    """When the last of the healthy half turned bad; any number while at most half of them are."""

    @property
    def degraded(self) -> bool:
        """Whether more than half of the nodes are bad."""
        return 2 * self.bad > self.nodes


@dataclass(frozen=True, slots=True)
class Freeze:
    """No ejections until then, and those since the outage began are taken back."""

    since_ms: int
    until_ms: int


def advise(
    counted: Sequence[RangeCensus], freeze_at: float | None, before: Freeze | None, now_ms: int
) -> Freeze | None:
    """Whether ejections are to be frozen now.

    They are when the share of the ranges that degraded within ``FREEZE_WINDOW_SECONDS`` reaches
    ``freeze_at``, and for ``FREEZE_SECONDS`` from each census that finds it so. An outage that lasts for longer
    than the window is believed: then the nodes are ejected after all.

    Parameters
    ----------
    counted
        The ranges that answered. With fewer than two there is nothing to tell an observer by.
    freeze_at : float, optional
        Of the policy; None never freezes.
    before
        The advice until now.
    """
    if before is not None and before.until_ms <= now_ms:
        before = None
    if freeze_at is None or len(counted) < 2:
        return None if freeze_at is None else before
    window_ms = round(FREEZE_WINDOW_SECONDS * 1000)
    lately = [each.since_ms for each in counted if each.degraded and each.since_ms > now_ms - window_ms]
    if len(lately) / len(counted) < freeze_at:
        return before
    since_ms = min(lately) if before is None else min(before.since_ms, *lately)
    return Freeze(since_ms, now_ms + round(FREEZE_SECONDS * 1000))
