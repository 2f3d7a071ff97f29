"""From the evidence in health to states: one step of every node's state machine.

A pass finds the nodes that could change, which in a fleet that is well are few; a second one moves them,
except that those to be ejected, and those that come back to be out, are only listed. The caller ranks these where a cap
limits them, and :func:`eject` ends the step. The arrays are the lines of :mod:`faultset_ray.kernels.health`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from faultset_ray.kernels.health import (
    BLOCKED,
    EJECTIONS,
    FAILURES,
    GOOD,
    LAST,
    LAST_MS,
    MARK,
    MEASURED_MS,
    NEVER,
    P95,
    RULE,
    SINCE_MS,
    STATE,
    UNTIL_MS,
    WINDOW,
    statistic_of,
)
from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

UNKNOWN, HEALTHY, SUSPECT, EJECTED, PROBATION = range(5)
NO_MARK, DRAIN, PIN = range(3)
IS_NEVER_MEASURED, IS_STALE, IS_WITHIN, IS_SOME_BAD, IS_OVER, IS_FAILING, IS_RELAPSE, IS_PROVING = range(8)
IS_RECOVERED, IS_REINSTATED = 8, 9
BY_NOTHING, BY_CAP, BY_FREEZE = range(3)
BY_SAMPLES = 4
"""Of an unknown node: it fell silent while it was out, and has to prove itself before it is trusted again."""

_EJECTIONS_MAX = 255


def active(octets: Any, words: Any, halves: Any, times: Any, window_mask: int, ttl_ms: int, now_ms: int) -> Any:
    """Return the slots, int64[m] ascending, of nodes that are not settled as healthy or as never measured."""
    stale_before = now_ms - ttl_ms if ttl_ms >= 0 else NEVER - 1
    if HAVE_NUMBA:
        slots = np.empty(len(octets) + 1, np.int64)  # one more: see _find_active
        return slots[: _find_active(octets, words, halves, times, window_mask, stale_before, slots)].copy()
    measured, state = times[:, MEASURED_MS] != NEVER, octets[:, STATE]
    clean = words[:, WINDOW] & np.uint32(window_mask) == 0
    well = (state == HEALTHY) & measured & clean & (times[:, LAST_MS] >= stale_before)
    unseen = (state == UNKNOWN) & ~measured & (halves[:, FAILURES] == 0)
    return np.flatnonzero(~(well | unseen))


@kernel()
def _find_active(
    octets: Any, words: Any, halves: Any, times: Any, window_mask: Any, stale_before: Any, slots: Any
) -> Any:
    """Each slot is written until an active node takes it, so one more is needed."""
    found = 0
    for s in range(len(octets)):
        slots[found] = s
        measured, state = times[s, MEASURED_MS] != NEVER, octets[s, STATE]
        clean = np.int64(words[s, WINDOW]) & window_mask == 0
        well = (state == HEALTHY) & measured & clean & (times[s, LAST_MS] >= stale_before)
        unseen = (state == UNKNOWN) & (not measured) & (halves[s, FAILURES] == 0)
        found += not (well | unseen)
    return found


@kernel()
def popcount(bits: Any) -> Any:
    """Return how many of 32 bits are set."""
    bits -= (bits >> 1) & 0x55555555
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
    octets: Any,
    words: Any,
    halves: Any,
    times: Any,
    entered: Any,
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
    """Move each of these nodes to its next state, in place; list those for :func:`eject`, and return their number."""
    count = 0
    for j in range(len(slots)):
        s = slots[j]
        state, good = octets[s, STATE], halves[s, GOOD]
        measured_ms, failing = times[s, MEASURED_MS], halves[s, FAILURES] > 0
        freezes = frozen and octets[s, MARK] == NO_MARK
        bad = popcount(np.int64(words[s, WINDOW]) & window_mask)
        answered = measured_ms != NEVER and (ttl_ms < 0 or now_ms - measured_ms <= ttl_ms)
        seen = measured_ms != NEVER or failing
        fresh = seen and (ttl_ms < 0 or now_ms - times[s, LAST_MS] <= ttl_ms)
        absent = IS_STALE if seen else IS_NEVER_MEASURED
        if state >= EJECTED:  # or on probation
            if (
                state == EJECTED
                and freezes
                and entered[s, SINCE_MS] >= frozen_since_ms
                and octets[s, RULE] != IS_RELAPSE
            ):
                octets[s, EJECTIONS] = max(np.int64(octets[s, EJECTIONS]) - 1, 0)
                entered[s, UNTIL_MS] = 0
                _enter(s, SUSPECT, IS_REINSTATED, BY_FREEZE, now_ms, octets, entered)
            elif now_ms < entered[s, UNTIL_MS]:
                pass
            elif not fresh:
                _forget_samples(s, words, halves)
                _enter(s, UNKNOWN, absent, BY_SAMPLES, now_ms, octets, entered)
            elif state == PROBATION and bad > 0:
                if freezes:
                    octets[s, BLOCKED] = BY_FREEZE
                else:
                    _eject_one(s, IS_RELAPSE, now_ms, hold_min_ms, hold_max_ms, octets, halves, entered)
            elif good >= good_min:
                _recover(s, now_ms, octets, words, halves, entered)
            elif state == EJECTED and good > 0:
                words[s, WINDOW] = 0
                _enter(s, PROBATION, IS_PROVING, BY_NOTHING, now_ms, octets, entered)
            continue
        if state == HEALTHY and (bad > 0 or not fresh) and hold_max_ms > 0:
            forgotten = max((now_ms - entered[s, SINCE_MS]) // hold_max_ms, 0)
            octets[s, EJECTIONS] = max(np.int64(octets[s, EJECTIONS]) - forgotten, 0)
        owing = state == UNKNOWN and octets[s, BLOCKED] == BY_SAMPLES
        newest_bad = failing or np.int64(words[s, WINDOW]) & 1 != 0
        if not fresh:
            _forget_samples(s, words, halves)
            _enter(s, UNKNOWN, absent, BY_SAMPLES if owing else BY_NOTHING, now_ms, octets, entered)
        elif (bad >= bad_min and newest_bad) or (failing and not answered):
            if freezes:
                _stay(s, IS_FAILING if failing else IS_OVER, BY_FREEZE, now_ms, octets, entered)
            else:
                candidates[count] = s
                count += 1
        elif owing and good >= good_min:
            _recover(s, now_ms, octets, words, halves, entered)
        elif owing and good > 0:
            candidates[count] = s
            count += 1
        elif owing or (state == UNKNOWN and newest_bad):  # what is bad makes no survivor of it
            _stay(s, IS_SOME_BAD if newest_bad else IS_PROVING, BY_NOTHING, now_ms, octets, entered)
        elif bad > 0:
            _enter(s, SUSPECT, IS_SOME_BAD, BY_NOTHING, now_ms, octets, entered)
        elif state != HEALTHY:
            _enter(s, HEALTHY, IS_WITHIN, BY_NOTHING, now_ms, octets, entered)
    return count


@kernel()
def admit(slots: Any, group_of: Any, room: Any, admitted: Any) -> None:
    """Admit to ejection, in the order given, as many of each group as it has room for; ``room`` is used up."""
    for j in range(len(slots)):
        group = group_of[slots[j]]
        admitted[j] = room[group] > 0
        room[group] -= 1


@kernel()
def eject(
    slots: Any,
    admitted: Any,
    now_ms: Any,
    hold_min_ms: Any,
    hold_max_ms: Any,
    octets: Any,
    words: Any,
    halves: Any,
    entered: Any,
) -> None:
    """Eject these nodes where ``admitted``; the others stay, blocked by the cap.

    One whose newest sample is good fell silent while it was out, and comes back on probation.
    """
    for j in range(len(slots)):
        s = slots[j]
        why = IS_FAILING if halves[s, FAILURES] > 0 else IS_OVER
        if halves[s, GOOD] > 0:
            if admitted[j]:
                words[s, WINDOW] = 0
                _enter(s, PROBATION, IS_PROVING, BY_NOTHING, now_ms, octets, entered)
            else:
                _stay(s, IS_PROVING, BY_CAP, now_ms, octets, entered)
        elif admitted[j]:
            _eject_one(s, why, now_ms, hold_min_ms, hold_max_ms, octets, halves, entered)
        else:
            _stay(s, why, BY_CAP, now_ms, octets, entered)


@kernel()
def _enter(s: Any, state: Any, why: Any, blocked: Any, now_ms: Any, octets: Any, entered: Any) -> None:
    octets[s, RULE] = why
    octets[s, BLOCKED] = blocked
    if octets[s, STATE] != state:
        octets[s, STATE] = state
        entered[s, SINCE_MS] = now_ms


@kernel()
def _stay(s: Any, why: Any, blocked: Any, now_ms: Any, octets: Any, entered: Any) -> None:
    """Keep a node in spite of what is against it: who survived is a suspect, who was unknown stays so."""
    if octets[s, STATE] != UNKNOWN:
        _enter(s, SUSPECT, why, blocked, now_ms, octets, entered)
    elif octets[s, BLOCKED] == BY_SAMPLES:
        _enter(s, UNKNOWN, why, BY_SAMPLES, now_ms, octets, entered)
    else:
        _enter(s, UNKNOWN, why, blocked, now_ms, octets, entered)


@kernel()
def _recover(s: Any, now_ms: Any, octets: Any, words: Any, halves: Any, entered: Any) -> None:
    _forget_samples(s, words, halves)
    entered[s, UNTIL_MS] = 0
    _enter(s, HEALTHY, IS_RECOVERED, BY_NOTHING, now_ms, octets, entered)


@kernel()
def _eject_one(
    s: Any,
    why: Any,
    now_ms: Any,
    hold_min_ms: Any,
    hold_max_ms: Any,
    octets: Any,
    halves: Any,
    entered: Any,
) -> None:
    octets[s, EJECTIONS] = min(np.int64(octets[s, EJECTIONS]) + 1, _EJECTIONS_MAX)
    entered[s, UNTIL_MS] = now_ms + hold_ms(np.int64(octets[s, EJECTIONS]), hold_min_ms, hold_max_ms)
    halves[s, GOOD] = 0
    _enter(s, EJECTED, why, BY_NOTHING, now_ms, octets, entered)


@kernel()
def _forget_samples(s: Any, words: Any, halves: Any) -> None:
    words[s, WINDOW] = 0
    halves[s, GOOD] = 0


def ranks(octets: Any, halves: Any, floats: Any, sketch: Any, statistic: int, threshold_ms: float) -> Any:
    """Return by what each survivor is ordered, infinity where that is not known now, NaN for all others: float64[n].

    With a threshold of 0 or more the plain rule says who survives, else the state does.
    """
    out = np.empty(len(octets))
    if HAVE_NUMBA or statistic == P95:
        _write_ranks(octets, halves, floats, sketch, statistic, threshold_ms, out)
        return out
    state, mark, failing = octets[:, STATE], octets[:, MARK], halves[:, FAILURES] > 0
    well = ~failing & (floats[:, LAST] <= threshold_ms)
    if threshold_ms < 0:
        well = (state == HEALTHY) | (state == SUSPECT)
    survives = well & (mark != DRAIN) | (mark == PIN)
    known = ~failing & ~np.isnan(floats[:, statistic])
    return np.where(survives, np.where(known, floats[:, statistic], np.inf), np.nan)


@kernel()
def _write_ranks(
    octets: Any, halves: Any, floats: Any, sketch: Any, statistic: Any, threshold_ms: Any, out: Any
) -> None:
    for s in range(len(octets)):
        state, mark, failing = octets[s, STATE], octets[s, MARK], halves[s, FAILURES] > 0
        if threshold_ms >= 0:
            well = not failing and floats[s, LAST] <= threshold_ms
        else:
            well = state == HEALTHY or state == SUSPECT  # noqa: PLR1714 - a tuple would be slower
        out[s] = np.nan
        if mark == PIN or (well and mark != DRAIN):
            value = statistic_of(statistic, s, floats, sketch)
            out[s] = np.inf if failing or np.isnan(value) else value
