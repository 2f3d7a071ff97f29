"""What another policy would decide: the same decision, on a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.decisions import decide, survives
from faultset_ray.control.evidence import evidence, statistic
from faultset_ray.control.health import Health, needs_sketch
from faultset_ray.control.policy import Rules
from faultset_ray.kernels.health import COUNT_MAX


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

    Where both compare the same (statistic, threshold and recovery), the samples so far are judged by their
    number and order. Otherwise they can't be, since only good and bad was remembered: each node is then
    judged as if its measurements went on as they are now.

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
    """Judge the samples so far by other rules, in place, as far as :func:`dry_run` says it can be done."""
    if before[:3] == rules[:3]:
        return
    seen = np.flatnonzero((health.measured_ms >= 0) | (health.failures > 0))
    failing = health.failures[seen] > 0
    compared = np.where(failing, np.inf, statistic(health, seen, rules))
    health.window[seen] = np.where(failing | (compared > rules.threshold_ms), np.uint32(0xFFFFFFFF), np.uint32(0))
    health.good[seen] = np.where(~failing & (compared <= rules.recover_ms), np.uint16(COUNT_MAX), np.uint16(0))
