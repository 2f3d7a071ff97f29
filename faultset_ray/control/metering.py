"""What a range and its answers tell as metrics: counted in columns, and only where somebody listens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.alarms import Alarms
from faultset_ray.control.decisions import decide_since
from faultset_ray.control.health import Changes, Health
from faultset_ray.control.messages import Orders
from faultset_ray.control.states import Rule, State
from faultset_ray.policy import Rules
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count, listened, observe_all

_REASONS = (Rule.OVER_THRESHOLD, Rule.FAILURES, Rule.RELAPSE)
_MOVED = np.array([Rule.REMOVED, Rule.MOVED], np.uint8)


def count_changes(fleet: str, changes: Changes) -> None:
    """Count what changed: nodes that went or came back, and what regions began."""
    if not listened() or not len(changes):
        return
    stayed = ~np.isin(changes.rule, _MOVED)  # a node that comes from another range brings its state along
    ejected = stayed & (changes.after == State.EJECTED) & (changes.before != State.EJECTED)
    for rule in _REASONS:
        count(table.EJECTIONS, int(np.count_nonzero(ejected & (changes.rule == rule))), fleet, rule.label)
    back = stayed & (changes.before >= State.EJECTED) & (changes.after <= State.SUSPECT) & changes.survives
    count(table.READMISSIONS, int(np.count_nonzero(back)), fleet)
    for metric, rule in ((table.SHORTAGES, Rule.SHORT), (table.PANICS, Rule.PANIC), (table.FREEZES, Rule.FROZEN)):
        count(metric, int(np.count_nonzero(changes.rule == rule)), fleet)


def decide_counted(orders: Orders, health: Health, rules: Rules, now_ms: int, alarms: Alarms) -> Changes:
    """:func:`~faultset_ray.control.decisions.decide`; tells how long ejections took, and which are flaps."""
    changes, since_ms = decide_since(health, rules, now_ms, alarms.freeze_under(orders.policy, now_ms))
    if len(changes) and listened():
        _count_ejected(orders.fleet, changes, since_ms, health, now_ms)
    return changes


def _count_ejected(fleet: str, changes: Changes, since_ms: NDArray[np.int64], health: Health, now_ms: int) -> None:
    out = (changes.before >= State.EJECTED) & (changes.before != State.REMOVED)
    chosen = np.flatnonzero((changes.after == State.EJECTED) & ~out)
    if not len(chosen):
        return
    slots = health.find(changes.handles[chosen])
    begun_ms = np.where(changes.before[chosen] == State.SUSPECT, since_ms[chosen], health.last_ms[slots])
    observe_all(table.DETECTION, np.maximum(now_ms - begun_ms, 0) / 1000, fleet)
    count(table.FLAPS, int(np.count_nonzero(health.ejections[slots] > 1)), fleet)


def count_spill(tiers: NDArray[np.uint8]) -> None:
    """Count what a region was given besides its own survivors: uint8[m], the tier of each node."""
    if listened():
        found = np.bincount(tiers, minlength=len(table.TIERS)).tolist()
        for name, nodes in zip(table.TIERS[1:], found[1:], strict=True):
            count(table.SPILL, nodes, name)
