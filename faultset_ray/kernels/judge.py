"""From the evidence in the health columns to states: one step of every node's state machine.

A pass finds the nodes that could change, which in a fleet that is well are few; a second one moves them,
except that those to be ejected are only listed. The caller ranks these where a cap limits them, and
:func:`eject` or :func:`block` ends the step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from faultset_ray.kernels.health import NEVER
from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

UNKNOWN, HEALTHY, SUSPECT, EJECTED, PROBATION = range(5)
DRAIN, PIN = 1, 2
NEVER_MEASURED, STALE, WITHIN, SOME_BAD, OVER_THRESHOLD, FAILURES, RELAPSE, PROVING, RECOVERED, REINSTATED = range(10)
NOTHING, CAP, FREEZE, HOLD = range(4)

_EJECTIONS_MAX = 255


def active(
    state: Any, window: Any, last_ms: Any, measured_ms: Any, failures: Any, window_mask: int, ttl_ms: int, now_ms: int
) -> Any:
    """Return the slots, int64[m] ascending, of nodes that are not settled as healthy or as never measured."""
    stale_before = now_ms - ttl_ms if ttl_ms >= 0 else NEVER - 1
    if HAVE_NUMBA:
        slots = np.empty(len(state) + 1, np.int64)  # one more: see _find_active
        found = _find_active(state, window, last_ms, measured_ms, failures, window_mask, stale_before, slots)
        return slots[:found].copy()
    measured = measured_ms != NEVER
    well = (state == HEALTHY) & measured & (window & np.uint32(window_mask) == 0) & (last_ms >= stale_before)
    unseen = (state == UNKNOWN) & ~measured & (failures == 0)
    return np.flatnonzero(~(well | unseen))


@kernel()
def _find_active(
    state: Any,
    window: Any,
    last_ms: Any,
    measured_ms: Any,
    failures: Any,
    window_mask: Any,
    stale_before: Any,
    slots: Any,
) -> Any:
    """Each slot is written until an active node takes it, so one more is needed."""
    found = 0
    for s in range(len(state)):
        slots[found] = s
        measured = measured_ms[s] != NEVER
        clean = np.int64(window[s]) & window_mask == 0
        well = (state[s] == HEALTHY) & measured & clean & (last_ms[s] >= stale_before)
        unseen = (state[s] == UNKNOWN) & (not measured) & (failures[s] == 0)
        found += not (well | unseen)
    return found


@kernel()
def popcount(bits: Any) -> Any:
    """Return how many of 32 bits are set."""
    bits = bits - ((bits >> 1) & 0x55555555)
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F
    return ((bits * 0x01010101) & 0xFFFFFFFF) >> 24


@kernel()
def hold_ms(ejections: Any, hold_min_ms: Any, hold_max_ms: Any) -> Any:
    """Return how long the given ejection (1 the first) keeps a node out at least."""
    held = hold_min_ms
    for _ in range(ejections - 1):
        if held >= hold_max_ms:
            break
        held *= 2
    return min(held, hold_max_ms)


@kernel()
def judge(
    slots: Any,
    state: Any,
    mark: Any,
    rule: Any,
    blocked: Any,
    window: Any,
    good: Any,
    failures: Any,
    last_ms: Any,
    measured_ms: Any,
    since_ms: Any,
    until_ms: Any,
    ejections: Any,
    now_ms: Any,
    frozen: Any,
    frozen_since_ms: Any,
    bad_min: Any,
    window_mask: Any,
    good_min: Any,
    hold_min_ms: Any,
    hold_max_ms: Any,
    ttl_ms: Any,
    candidates: Any,
) -> Any:
    """Move each of these nodes to its next state, in place; list those to be ejected, and return their number."""
    count = 0
    for j in range(len(slots)):
        s = slots[j]
        was = state[s]
        freezes = frozen and mark[s] == 0
        bad = popcount(np.int64(window[s]) & window_mask)
        answered = measured_ms[s] != NEVER and (ttl_ms < 0 or now_ms - measured_ms[s] <= ttl_ms)
        seen = measured_ms[s] != NEVER or failures[s] > 0
        fresh = seen and (ttl_ms < 0 or now_ms - last_ms[s] <= ttl_ms)
        absent = STALE if seen else NEVER_MEASURED
        if was >= EJECTED:  # or on probation: out
            if was == EJECTED and freezes and since_ms[s] >= frozen_since_ms and rule[s] != RELAPSE:
                ejections[s] = max(np.int64(ejections[s]) - 1, 0)
                until_ms[s] = 0
                _enter(s, SUSPECT, REINSTATED, FREEZE, now_ms, state, rule, blocked, since_ms)
            elif now_ms < until_ms[s]:
                pass
            elif not fresh:
                window[s] = 0
                good[s] = 0
                _enter(s, UNKNOWN, absent, NOTHING, now_ms, state, rule, blocked, since_ms)
            elif was == PROBATION and bad > 0:
                if freezes:
                    blocked[s] = FREEZE
                else:
                    _eject_one(
                        s, RELAPSE, now_ms, hold_min_ms, hold_max_ms,
                        state, rule, blocked, good, since_ms, until_ms, ejections,
                    )  # fmt: skip
            elif good[s] >= good_min:
                window[s] = 0
                good[s] = 0
                until_ms[s] = 0
                _enter(s, HEALTHY, RECOVERED, NOTHING, now_ms, state, rule, blocked, since_ms)
            elif was == EJECTED and good[s] > 0:
                window[s] = 0
                _enter(s, PROBATION, PROVING, NOTHING, now_ms, state, rule, blocked, since_ms)
            continue
        if was == HEALTHY and (bad > 0 or not fresh) and hold_max_ms > 0:
            forgotten = (now_ms - since_ms[s]) // hold_max_ms
            ejections[s] = max(np.int64(ejections[s]) - max(forgotten, 0), 0)
        if not fresh:
            window[s] = 0
            good[s] = 0
            _enter(s, UNKNOWN, absent, NOTHING, now_ms, state, rule, blocked, since_ms)
        elif bad >= bad_min or (failures[s] > 0 and not answered):
            if freezes:
                why = FAILURES if failures[s] > 0 else OVER_THRESHOLD
                _enter(s, SUSPECT, why, FREEZE, now_ms, state, rule, blocked, since_ms)
            else:
                candidates[count] = s
                count += 1
        elif bad > 0:
            _enter(s, SUSPECT, SOME_BAD, NOTHING, now_ms, state, rule, blocked, since_ms)
        elif was != HEALTHY:
            _enter(s, HEALTHY, WITHIN, NOTHING, now_ms, state, rule, blocked, since_ms)
    return count


@kernel()
def eject(
    slots: Any,
    admitted: Any,
    now_ms: Any,
    hold_min_ms: Any,
    hold_max_ms: Any,
    state: Any,
    rule: Any,
    blocked: Any,
    good: Any,
    failures: Any,
    since_ms: Any,
    until_ms: Any,
    ejections: Any,
) -> None:
    """Eject these nodes where ``admitted``; the others are suspect, blocked by the cap."""
    for j in range(len(slots)):
        s = slots[j]
        why = FAILURES if failures[s] > 0 else OVER_THRESHOLD
        if admitted[j]:
            _eject_one(
                s, why, now_ms, hold_min_ms, hold_max_ms,
                state, rule, blocked, good, since_ms, until_ms, ejections,
            )  # fmt: skip
        else:
            _enter(s, SUSPECT, why, CAP, now_ms, state, rule, blocked, since_ms)


@kernel()
def admit(slots: Any, group_of: Any, room: Any, admitted: Any) -> None:
    """Admit to ejection, in the order given, as many of each group as it has room for; ``room`` is used up."""
    for j in range(len(slots)):
        group = group_of[slots[j]]
        admitted[j] = room[group] > 0
        room[group] -= 1


@kernel()
def tally(state: Any, mark: Any, group_of: Any, nodes: Any, out: Any) -> None:
    """Add up, for each group, the nodes without a mark, and those of them that are out."""
    for s in range(len(state)):
        if mark[s] == 0:
            nodes[group_of[s]] += 1
            if state[s] >= EJECTED:
                out[group_of[s]] += 1


@kernel()
def _enter(
    s: Any, new: Any, why: Any, hindered: Any, now_ms: Any, state: Any, rule: Any, blocked: Any, since_ms: Any
) -> None:
    rule[s] = why
    blocked[s] = hindered
    if state[s] != new:
        state[s] = new
        since_ms[s] = now_ms


@kernel()
def _eject_one(
    s: Any,
    why: Any,
    now_ms: Any,
    hold_min_ms: Any,
    hold_max_ms: Any,
    state: Any,
    rule: Any,
    blocked: Any,
    good: Any,
    since_ms: Any,
    until_ms: Any,
    ejections: Any,
) -> None:
    ejections[s] = min(np.int64(ejections[s]) + 1, _EJECTIONS_MAX)
    until_ms[s] = now_ms + hold_ms(np.int64(ejections[s]), hold_min_ms, hold_max_ms)
    good[s] = 0
    _enter(s, EJECTED, why, NOTHING, now_ms, state, rule, blocked, since_ms)
