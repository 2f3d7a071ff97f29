"""What there is for or against a node: the number that its rule compares, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.states import Mark, Rule, State
from faultset_ray.kernels import health as kernels
from faultset_ray.policy import STATISTICS, Rules

if TYPE_CHECKING:
    from faultset_ray.control.health import Health

Slots = NDArray[np.int64]


def statistic(health: Health, slots: Slots, rules: Rules) -> NDArray[np.float64]:
    """Return what the policy compares of some nodes: float64[m], NaN where there is no measurement."""
    name = STATISTICS[rules.statistic]
    if name != "p95":
        column: NDArray[np.float64] = getattr(health, name)
        return column[slots]
    values = np.full(len(slots), np.nan)
    measured = np.flatnonzero(~np.isnan(health.last[slots])) if len(health.sketch) else np.empty(0, np.int64)
    kernels.sketch_p95s(health.sketch, slots[measured], measured, values)
    return values


def evidence(
    health: Health, slots: Slots, rules: Rules, now_ms: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the value and the threshold that each node's rule is about; float64[m] each, NaN for none."""
    rule = health.rule[slots]
    value, threshold = np.full(len(slots), np.nan), np.full(len(slots), np.nan)
    if not len(slots):
        return value, threshold

    def put(which: NDArray[np.bool_], values: Any, limit: float) -> None:
        value[which], threshold[which] = values, limit

    compares = np.isin(rule, (Rule.WITHIN, Rule.OVER_THRESHOLD, Rule.RELAPSE, Rule.RECOVERED))
    put(compares, statistic(health, slots[compares], rules), rules.threshold_ms)
    threshold[rule == Rule.RECOVERED] = rules.recover_ms
    which = rule == Rule.STALE
    put(which, now_ms - health.last_ms[slots[which]], rules.ttl_ms if rules.ttl_ms >= 0 else np.nan)
    which = np.isin(rule, (Rule.SOME_BAD, Rule.FAILURES))
    put(which, np.bitwise_count(health.window[slots[which]] & np.uint32(rules.window_mask)), rules.bad)
    which = (rule == Rule.RELAPSE) & (health.failures[slots] > 0)
    put(which, health.failures[slots[which]], 1)  # its latencies may be well: a failure is no latency
    which = rule == Rule.CAPPED
    if which.any():
        out = (health.state >= State.EJECTED) & (health.mark == Mark.NONE)
        group = health.group_of[slots[which]]
        value[which] = 1 + np.bincount(health.group_of[out], minlength=len(health.unmarked))[group]
        threshold[which] = rules.cap(health.unmarked[group].astype(np.int64))
    which = rule == Rule.PROVING
    put(which, health.good[slots[which]], rules.good)
    return value, threshold
