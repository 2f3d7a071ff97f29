"""Why a node is what it is, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from faultset_ray.control.evidence import evidence
from faultset_ray.control.health import Health
from faultset_ray.control.states import Blocked, Mark, Named, Rule, State
from faultset_ray.kernels.judge import popcount
from faultset_ray.plain import finite
from faultset_ray.policy import Rules


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known and decided about one node. Enumerations have stable labels, see ``to_dict``."""

    id: str
    handle: int
    region: str
    state: State
    survives: bool
    rule: Rule
    """Why: it says what ``value`` and ``threshold`` are. Of a marked node, the mark."""
    value: float | None
    """What the rule looks at, as it is now."""
    threshold: float | None
    """What that is compared with, by the policy of now."""
    value_then: float | None
    """What it was when the rule came to hold."""
    threshold_then: float | None
    since_ms: int
    """When the state was entered."""
    until_ms: int | None
    """Until when an ejected node is held at least."""
    blocked_by: Blocked
    mark: Mark
    bad: int
    """Bad ones of the samples in the window."""
    bad_in_row: int
    """Bad samples in a row, up to 32."""
    good: int
    """Good samples in a row."""
    failures: int
    """Failed samples in a row."""
    last_latency_ms: float | None
    last_ms: int | None
    """When the last sample was taken."""
    ejections: int
    region_out: int
    """How many nodes of its region are out, marked ones aside."""
    region_out_max: int
    """How many of them may be, by the policy's cap."""
    tier: int | None = None
    """0 for a survivor of its own region; None for others, which an answer may yet name in panic (``tiers_of``)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, enumerations by their labels, infinity as ``"inf"``."""
        return {
            name: value.label if isinstance(value, Named) else finite(value) for name, value in asdict(self).items()
        }


def explain(health: Health, slot: int, rules: Rules, now_ms: int, node_id: str, region: str) -> Verdict:
    """Make the verdict on one slot from its columns."""
    [value], [threshold] = evidence(health, np.array([slot], np.int64), rules, now_ms)
    state, mark = State(health.state[slot]), Mark(health.mark[slot])
    survives = mark != Mark.DRAIN and (mark == Mark.PIN or state in {State.HEALTHY, State.SUSPECT})
    rule = {Mark.DRAIN: Rule.DRAINED, Mark.PIN: Rule.PINNED}.get(mark, Rule(health.rule[slot]))
    held = state == State.EJECTED and now_ms < health.until_ms[slot]
    blocked = Blocked(health.blocked[slot])
    order, starts, _ = health.groups
    group = health.group_of[slot]
    around = order[starts[group] : starts[group + 1]]
    region_out = np.count_nonzero((health.state[around] >= State.EJECTED) & (health.mark[around] == Mark.NONE))
    if state >= State.EJECTED and blocked == Blocked.NOTHING:
        blocked = Blocked.HOLD if held and health.good[slot] >= rules.good else Blocked.SAMPLES
    return Verdict(
        id=node_id,
        handle=int(health.handles[slot]),
        region=region,
        state=state,
        survives=survives,
        rule=rule,
        value=_number(value) if mark == Mark.NONE else None,
        threshold=_number(threshold) if mark == Mark.NONE else None,
        value_then=_number(health.value[slot]) if mark == Mark.NONE else None,
        threshold_then=_number(health.threshold_of(slice(slot, slot + 1))[0]) if mark == Mark.NONE else None,
        since_ms=int(health.since_ms[slot]),
        until_ms=int(health.until_ms[slot]) if held else None,
        blocked_by=blocked,
        mark=mark,
        bad=int(popcount(int(health.window[slot]) & rules.window_mask)),
        bad_in_row=_trailing_ones(int(health.window[slot])),
        good=int(health.good[slot]),
        failures=int(health.failures[slot]),
        last_latency_ms=_number(health.last[slot]),
        last_ms=None if health.last_ms[slot] < 0 else int(health.last_ms[slot]),
        ejections=int(health.ejections[slot]),
        region_out=int(region_out),
        region_out_max=rules.cap(int(health.unmarked[group])),
    )


def _trailing_ones(bits: int) -> int:
    return (~bits & (bits + 1)).bit_length() - 1


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
