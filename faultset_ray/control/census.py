"""When most of a fleet seems to fail at once, it is more likely that the observer does: ejections freeze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.states import Mark, State, survival
from faultset_ray.kernels.health import NEVER
from faultset_ray.limits import FREEZE_SECONDS, FREEZE_WINDOW_SECONDS

if TYPE_CHECKING:
    from faultset_ray.control.health import Health

_WINDOW_MS: Final = round(FREEZE_WINDOW_SECONDS * 1000)


@dataclass(frozen=True, slots=True)
class Condition:
    """How the nodes of a range are, drained and pinned ones aside."""

    measured: int
    """Nodes that are not unknown."""
    bad: int
    """Nodes that are ejected or on probation, and suspects whose last sample was bad."""
    degraded_ms: int | None
    """When the last of the healthy half turned bad; None while at most half of the measured are."""
    turned_ms: int | None
    """When the first of those that turned bad within ``FREEZE_WINDOW_SECONDS`` did; None where none did."""


def condition(health: Health, slots: slice | NDArray[np.intp], now_ms: int) -> Condition:
    """Count how some nodes are."""
    state, unmarked = health.state[slots], health.mark[slots] == Mark.NONE
    measured = int(np.count_nonzero(unmarked & (state != State.UNKNOWN)))
    bad = (state > State.SUSPECT) | ((state == State.SUSPECT) & (health.window[slots] & 1 == 1))
    since_ms = np.where(state == State.PROBATION, health.until_ms[slots], health.since_ms[slots])
    turned_ms = since_ms[unmarked & bad]  # who is on probation was bad until its hold-down had passed, if not longer
    half = measured // 2
    degraded_ms = int(np.partition(turned_ms, half)[half]) if len(turned_ms) > half else None
    lately = turned_ms[turned_ms > now_ms - _WINDOW_MS]
    return Condition(measured, len(turned_ms), degraded_ms, int(lately.min()) if len(lately) else None)


@dataclass(frozen=True, slots=True)
class Headcount:
    """How many nodes of a range there are of each kind, for who only counts."""

    states: tuple[int, ...]
    """By :class:`~faultset_ray.control.states.State`, without the removed."""
    survivors: int
    newest_ms: int | None
    """When the last sample of any node was taken; None where none was."""
    oldest_ms: int | None
    """The same of the node whose last is the oldest, of those that are not unknown."""
    panicking: int
    """Regions in panic, as far as the range was told."""


def count_heads(health: Health, *, panicking: int) -> Headcount:
    """Count the nodes of a range."""
    state, last_ms = health.state, health.last_ms
    states = tuple(np.bincount(state, minlength=State.REMOVED).tolist())
    known = last_ms[state != State.UNKNOWN]
    newest_ms = int(last_ms.max(initial=NEVER))
    oldest_ms = int(known.min()) if len(known) else None
    survivors = int(np.count_nonzero(survival(state, health.mark)))
    return Headcount(states, survivors, None if newest_ms == NEVER else newest_ms, oldest_ms, panicking)


@dataclass(frozen=True, slots=True)
class Freeze:
    """No ejections until then, and those since the outage began are taken back."""

    since_ms: int
    """When the first of the nodes went that are taken back."""
    until_ms: int
    degraded_ms: int
    """When the first of the ranges degraded that the advice rests on; by this it is told how long the outage lasts."""


def advise(counted: Sequence[Condition], freeze_at: float | None, before: Freeze | None, now_ms: int) -> Freeze | None:
    """Whether ejections are to be frozen, and until when; a freeze whose time is over freezes nothing.

    They are when the share of the ranges that degraded within ``FREEZE_WINDOW_SECONDS`` reaches
    ``freeze_at``, and for ``FREEZE_SECONDS`` from each census that finds it so. An outage that lasts for longer
    than the window is believed: then the nodes are ejected after all, and nothing is frozen again until
    fewer ranges are degraded.

    Nodes are measured one after the other: half of a range's went before it degraded, and some of ranges that never
    did. So those that are taken back are counted from the first node of all that turned bad within the window.

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
    degraded = [each.degraded_ms for each in counted if each.degraded_ms is not None]
    if len(degraded) / len(counted) < freeze_at:
        return before if before is not None and now_ms < before.until_ms else None
    if before is not None and now_ms >= before.degraded_ms + _WINDOW_MS:
        return before
    lately = [degraded_ms for degraded_ms in degraded if degraded_ms > now_ms - _WINDOW_MS]
    if len(lately) / len(counted) < freeze_at:
        return before
    turned = [each.turned_ms for each in counted if each.turned_ms is not None]
    if before is not None:
        turned.append(before.since_ms)
        lately.append(before.degraded_ms)
    return Freeze(min(turned), now_ms + round(FREEZE_SECONDS * 1000), min(lately))
