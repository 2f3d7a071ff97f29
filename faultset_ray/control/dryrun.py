"""What another policy would decide: the same decision, on a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.decisions import decide, survives
from faultset_ray.control.evidence import evidence, statistic
from faultset_ray.control.health import Health, needs_sketch
from faultset_ray.policy import Rules


class DryRun(NamedTuple):
    """The nodes whose state, or whether they survive, another policy would change; ascending by handle."""

    handles: NDArray[np.uint32]
    before: NDArray[np.uint8]
    """:class:`~faultset_ray.control.states.State` now, and after one step of the other policy."""
    after: NDArray[np.uint8]
    survived: NDArray[np.bool_]
    """Whether each survives now, and would then."""
    survives: NDArray[np.bool_]
    rule: NDArray[np.uint8]
    """:class:`~faultset_ray.control.states.Rule`: why; it says what ``value`` and ``threshold`` are."""
    value: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.handles)


def dry_run(
    health: Health, rules: Rules, proposed: Rules, now_ms: int, freeze: tuple[int, int] | None = None
) -> tuple[DryRun, Health]:
    """Decide once under other rules, on a copy.

    The samples so far are taken as :func:`rejudge` says: what is shown is what setting the policy would do at
    once, not what it does after further samples; for that, replay a trace.

    Returns
    -------
    DryRun
        The difference.
    Health
        The copy, after the step: for the survivors of the other policy.
    """
    copy = health.copy().with_sketch(wanted=needs_sketch(proposed))
    rejudge(copy, rules, proposed)
    decide(copy, proposed, now_ms, freeze)
    survived, surviving = survives(health), survives(copy)
    slots = np.flatnonzero((health.state != copy.state) | (survived != surviving))
    value, threshold = evidence(copy, slots, proposed, now_ms)
    difference = DryRun(
        health.handles[slots],
        health.state[slots],
        copy.state[slots],
        survived[slots],
        surviving[slots],
        copy.rule[slots],
        value,
        threshold,
    )
    return difference, copy


def rejudge(health: Health, before: Rules, rules: Rules) -> None:
    """Judge each node's newest sample by other rules, in place; the others stay as they were judged.

    Of these only good and bad was remembered. To take the newest for all of them would make one spike an
    outage, and one good sample a recovery; so a policy that compares otherwise (statistic, threshold, recovery)
    comes in sample by sample. A failed sample is bad by any rules.
    """
    if before[:3] == rules[:3]:
        return
    measured = np.flatnonzero((health.measured_ms >= 0) & (health.failures == 0))
    compared = statistic(health, measured, rules)
    older = health.window[measured] & ~np.uint32(1)
    health.window[measured] = older | (compared > rules.threshold_ms)
    in_row = np.maximum(health.good[measured], np.uint16(1))
    health.good[measured] = np.where(compared <= rules.recover_ms, in_row, np.uint16(0))
