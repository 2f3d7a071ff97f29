"""The decisions made from health: who is ejected, who is re-admitted, who survives.

``decide`` moves every node's state by one step, in place on a :class:`Health` that belongs to the caller
alone; on a copy it is a dry run, with ``absorb`` in a loop a replay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.evidence import evidence, statistic
from faultset_ray.control.health import Changes, Health, Slots, absorb, needs_sketch
from faultset_ray.control.states import Blocked, Mark, Rule, State, survival
from faultset_ray.kernels import health as kernels
from faultset_ray.kernels import judge
from faultset_ray.kernels.select import select_grouped
from faultset_ray.policy import Policy, Rules


def decide(health: Health, rules: Rules, now_ms: int, freeze: tuple[int, int] | None = None) -> Changes:
    """:func:`decide_since` without the times."""
    return decide_since(health, rules, now_ms, freeze)[0]


def decide_since(
    health: Health, rules: Rules, now_ms: int, freeze: tuple[int, int] | None = None
) -> tuple[Changes, NDArray[np.int64]]:
    """Move every node's state by one step, given the evidence so far.

    Where a cap limits the ejections of a region, the worst go first: failing nodes, then by the statistic,
    ties by handle. Where more are out than it allows, since nodes left or the policy is another, the best of
    them are taken back. So no region has more nodes out than its cap after this. A cap or a freeze keeps who survives
    from being ejected; it makes no survivor of an unknown node.

    Parameters
    ----------
    health : Health
        Changed in place.
    now_ms : int
        Not before that of an earlier call.
    freeze : (since_ms, until_ms), optional
        Until then no node is ejected, and who was ejected since is taken back.

    Returns
    -------
    changes : Changes
        Nodes whose state changed.
    since_ms : int64[m]
        When each of them had come into the state that it left.
    """
    frozen = freeze is not None and now_ms < freeze[1]
    lines = health.octets, health.words, health.halves, health.times
    slots = judge.active(*lines, rules.window_mask, rules.ttl_ms, now_ms)
    before, rule, since_ms = health.state[slots], health.rule[slots], health.since_ms[slots]
    candidates = np.empty(len(slots), np.int64)
    count = judge.judge(
        slots,
        *lines,
        health.entered,
        now_ms,
        frozen,
        freeze[0] if freeze is not None else 0,
        rules.bad,
        rules.window_mask,
        rules.good,
        rules.hold_min_ms,
        rules.hold_max_ms,
        rules.ttl_ms,
        candidates,
    )
    _eject(health, slots, candidates[:count].copy(), rules, now_ms)
    moved = health.state[slots] != before
    turned = slots[moved | (health.rule[slots] != rule)]
    health.note(turned, *evidence(health, turned, rules, now_ms))
    changed, before = slots[moved], before[moved]
    survived = survival(before, health.mark[changed])
    changes = health._changes(  # noqa: SLF001 - columns of its own
        changed, before, survived, health.rule[changed], health.value[changed], health.threshold_of(changed)
    )
    return changes, since_ms[moved]


def _eject(health: Health, active: Slots, candidates: Slots, rules: Rules, now_ms: int) -> None:
    """Eject as many candidates as caps allow, the others stay; where too many are out, take some back.

    Candidates whose newest sample is good come back from silence to be out again: they have the room that is left.
    """
    admitted = np.ones(len(candidates), np.bool_)
    if rules.eject_numerator < rules.eject_denominator:
        out = active[(health.state[active] >= State.EJECTED) & (health.mark[active] == Mark.NONE)]
        room = rules.cap(health.unmarked.astype(np.int64))
        room -= np.bincount(health.group_of[out], minlength=len(room))
        _take_back(health, out, -room, rules, now_ms)
        candidates = candidates[np.argsort(health.mark[candidates] == Mark.NONE, kind="stable")]  # marked ones first
        marked = int(np.count_nonzero(health.mark[candidates] != Mark.NONE))
        ranked = _worst_first(health, candidates[marked:], rules)
        candidates[marked:] = ranked[np.argsort(health.good[ranked] > 0, kind="stable")]
        judge.admit(candidates[marked:], health.group_of, room, admitted[marked:])
    judge.eject(
        candidates,
        admitted,
        now_ms,
        rules.hold_min_ms,
        rules.hold_max_ms,
        health.octets,
        health.words,
        health.halves,
        health.entered,
    )


def _take_back(health: Health, out: Slots, surplus: NDArray[np.int64], rules: Rules, now_ms: int) -> None:
    """Make the best of the nodes that are out suspects again, in each group as many as are more than its cap.

    The ejection that is taken back does not count for hold-downs to come.
    """
    over = out[surplus[health.group_of[out]] > 0]
    if not len(over):
        return
    best_first = _worst_first(health, over, rules)[::-1]
    chosen = np.zeros(len(best_first), np.bool_)
    judge.admit(best_first, health.group_of, surplus.copy(), chosen)
    back = best_first[chosen]
    health.state[back], health.rule[back], health.blocked[back] = State.SUSPECT, Rule.CAPPED, Blocked.CAP
    health.since_ms[back], health.until_ms[back] = now_ms, 0
    health.ejections[back] -= health.ejections[back] > 0


def _worst_first(health: Health, slots: Slots, rules: Rules) -> Slots:
    """Order nodes as they are ejected: failing ones, then by the statistic, ties by handle."""
    badness = np.where(health.failures[slots] > 0, np.inf, statistic(health, slots, rules))
    return slots[np.lexsort((slots, -badness))]


def survives(health: Health) -> NDArray[np.bool_]:
    """Return which nodes survive by state and mark: bool[n]."""
    return survival(health.state, health.mark)


def live_survivors(health: Health, rules: Rules) -> tuple[Slots, NDArray[np.int64]]:
    """Return who survives by state and mark.

    Returns
    -------
    slots : int64[s]
        Group after group (see :attr:`Health.groups`), each ascending by the policy's statistic, ties by
        handle; failing and unmeasured nodes last.
    counts : int64[g]
        Survivors of each group.
    """
    return _ranked(health, rules.statistic, _BY_STATE)


def plain_survivors(health: Health, threshold_ms: float) -> tuple[Slots, NDArray[np.int64]]:
    """Return who survives by the plain rule: the last sample did not fail and is at most the threshold.

    States are not asked, marks are. The result is as in :func:`live_survivors`, ordered by the last latency.
    """
    return _ranked(health, kernels.LAST, threshold_ms)


_BY_STATE = -1.0


def _ranked(health: Health, statistic_number: int, threshold_ms: float) -> tuple[Slots, NDArray[np.int64]]:
    ranks = judge.ranks(
        health.octets, health.halves, health.floats, health.sketch, statistic_number, float(threshold_ms)
    )
    return select_grouped(ranks, health.groups.order, health.groups.starts, np.inf)


def warm_up() -> None:
    """Compile all of the above, or load it from the cache: not within the first caller's deadline."""
    n = 4
    for policy in (Policy(eject_max=0.5), Policy(statistic="p95")):
        rules = policy.rules
        health = Health.empty(np.arange(n, dtype=np.uint32), np.full(n, 64, np.uint64), sketch=needs_sketch(rules))
        absorb(health, health.find(health.handles), np.array([np.nan, 3.0, 500.0, 500.0]), None, 0, rules)
        decide(health, rules, 1)
        live_survivors(health, rules)
        plain_survivors(health, 2.0)
        health.with_sketch(wanted=True)
