"""Nodes that are unknown: what lets them in, and what does not."""

from dataclasses import replace

import numpy as np
import pytest
from health_range import BAD, FAILED, GOOD, Range

from faultset_ray.control.census import condition
from faultset_ray.control.decisions import survives
from faultset_ray.control.health import Health
from faultset_ray.control.states import Blocked, Mark, Rule
from faultset_ray.policy import Policy

STEADY = {"threshold_ms": 100, "recover_ms": 80, "samples": (3, 5, 3), "hold_s": (30, 600), "ttl_s": 120}
BETWEEN = 95.0
"""Neither bad nor recovered."""


def ejected_and_silent(size=1, **policy):
    """Nodes of one region that were ejected, and then not measured for longer than the TTL."""
    nodes = Range([size], **STEADY | policy)
    nodes.hear(GOOD)
    for _ in range(3):
        nodes.hear(BAD)
    assert set(nodes.states) == {"ejected"}
    assert nodes.decide(after_s=200) == [(slot, "ejected", "unknown", "stale") for slot in range(size)]
    assert nodes.why(0).blocked_by == Blocked.SAMPLES
    return nodes


@pytest.mark.parametrize("bad", [60_000.0, BAD, FAILED])
def test_a_bad_sample_makes_no_survivor(bad):
    nodes = Range([2], **STEADY)
    nodes.hear({0: GOOD, 1: GOOD})
    nodes.decide(after_s=121)
    assert nodes.states == ["unknown", "unknown"]
    for _ in range(2):
        nodes.hear({0: bad})
        assert not survives(nodes.health)[0]
    if bad is not FAILED:  # who only failed since the TTL is out at once
        assert (nodes.why(0).state.label, nodes.why(0).rule) == ("unknown", Rule.SOME_BAD)
        assert (nodes.why(0).value, nodes.why(0).threshold, nodes.why(0).blocked_by) == (2, 3, Blocked.NOTHING)
        assert nodes.hear({0: bad})[0][1:3] == ("unknown", "ejected")


def test_never_measured_a_slow_first_sample_waits_for_a_better_one():
    nodes = Range([1], **STEADY)
    assert nodes.hear(60_000.0) == []
    assert (nodes.states, nodes.why(0).survives, nodes.why(0).value_then) == (["unknown"], False, 1)
    assert nodes.hear(BETWEEN) == [(0, "unknown", "suspect", "some_bad")], (
        "it was never out, so one that is not bad is enough"
    )
    nodes = Range([1], **STEADY)
    assert nodes.hear(BETWEEN) == [(0, "unknown", "healthy", "within")]


def test_silence_brings_no_ejected_node_back():
    nodes = ejected_and_silent()
    until_ms = nodes.health.until_ms[0]
    assert nodes.hear(BAD) == nodes.hear(BETWEEN) == []
    verdict = nodes.why(0)
    assert (verdict.state.label, verdict.rule, verdict.value, verdict.threshold) == ("unknown", Rule.PROVING, 0, 3)
    assert (verdict.survives, verdict.blocked_by) == (False, Blocked.SAMPLES)
    assert nodes.hear(GOOD) == [(0, "unknown", "probation", "proving")]
    assert (nodes.why(0).value, nodes.why(0).survives) == (1, False)
    assert nodes.hear(GOOD) == []
    assert (nodes.health.ejections[0], nodes.health.until_ms[0]) == (1, until_ms)
    assert nodes.hear(GOOD) == [(0, "probation", "healthy", "recovered")]


def test_the_hold_down_goes_on_doubling_over_a_silence():
    for bad, states in (([GOOD, BAD], ["probation", "ejected"]), ([BAD] * 3, ["unknown", "unknown", "ejected"])):
        nodes = ejected_and_silent()
        found = []
        for latency in bad:
            nodes.hear(latency)
            found += nodes.states
        assert found == states
        assert (nodes.health.ejections[0], nodes.health.until_ms[0] - nodes.now_ms) == (2, 60_000)


def test_silence_on_probation_or_again_and_another_policy_change_nothing_of_that():
    nodes = ejected_and_silent()
    nodes.hear(GOOD)
    assert nodes.decide(after_s=121) == [(0, "probation", "unknown", "stale")]
    nodes.hear(BAD)
    assert nodes.decide(after_s=121) == []
    assert (nodes.why(0).rule, nodes.why(0).blocked_by) == (Rule.STALE, Blocked.SAMPLES)
    nodes.health = Health.from_columns(nodes.health.to_columns())
    nodes.rules = Policy(**STEADY | {"ttl_s": None}).rules
    assert nodes.decide() == []
    assert (nodes.states, nodes.why(0).rule) == (["unknown"], Rule.PROVING)
    assert nodes.hear(GOOD) == [(0, "unknown", "probation", "proving")]


def test_as_many_good_ones_as_are_needed_come_at_once():
    nodes = ejected_and_silent(samples=(3, 5, 1))
    assert nodes.hear(GOOD) == [(0, "unknown", "healthy", "recovered")]


def test_a_cap_keeps_nodes_in_and_lets_nobody_in():
    nodes = Range([1, 2], **STEADY | {"samples": (1, 1, 1), "eject_max": 0.5})
    assert nodes.hear(BAD) == [(1, "unknown", "ejected", "over_threshold")]
    assert not survives(nodes.health).any()
    for slot in (0, 2):
        assert (nodes.why(slot).rule, nodes.why(slot).blocked_by) == (Rule.OVER_THRESHOLD, Blocked.CAP)
    nodes.hear({0: GOOD, 2: GOOD})
    nodes.hear(BAD)
    assert nodes.states == ["suspect", "ejected", "suspect"]


def test_probation_after_a_silence_takes_room_under_the_cap_that_is_left():
    nodes = ejected_and_silent(4, eject_max=1.0)
    nodes.rules = Policy(**STEADY | {"eject_max": 0.25}).rules
    assert nodes.hear({0: GOOD, 1: GOOD}) == [(0, "unknown", "probation", "proving")]
    assert (nodes.why(1).state.label, nodes.why(1).rule, nodes.why(1).blocked_by) == (
        "unknown", Rule.PROVING, Blocked.SAMPLES
    )  # fmt: skip
    nodes.hear({1: GOOD})
    assert nodes.hear({1: GOOD}) == [(1, "unknown", "healthy", "recovered")], "it proved itself all the same"
    nodes.hear({0: BAD, 2: BAD})
    nodes.hear({2: BAD})
    assert nodes.hear({2: BAD, 3: GOOD}) == [], "the room is taken"
    assert nodes.states == ["ejected", "healthy", "unknown", "unknown"]
    assert (nodes.why(2).rule, nodes.why(2).blocked_by) == (Rule.OVER_THRESHOLD, Blocked.SAMPLES)
    nodes.health.set_marks(np.array([3]), Mark.DRAIN)
    nodes.decide()
    assert nodes.states[3] == "probation", "a marked one needs no room"


def test_while_ejections_are_frozen_an_unknown_node_is_neither_ejected_nor_let_in():
    nodes = ejected_and_silent(2, samples=(1, 1, 3))
    fresh = Range([1], **STEADY | {"samples": (1, 1, 3)})
    for each in (nodes, fresh):
        each.freeze = (each.now_ms, each.now_ms + 60_000)
    assert nodes.hear({0: BAD, 1: GOOD}) == [(1, "unknown", "probation", "proving")]
    assert (nodes.why(0).rule, nodes.why(0).blocked_by) == (Rule.OVER_THRESHOLD, Blocked.SAMPLES)
    assert fresh.hear(BAD) == []
    assert (fresh.states, fresh.why(0).blocked_by) == (["unknown"], Blocked.FREEZE)


def test_a_fleet_that_comes_back_from_silence_is_no_fleet_that_fails_at_once():
    nodes = ejected_and_silent(4)
    nodes.decide(after_s=300)
    nodes.hear(GOOD)
    assert set(nodes.states) == {"probation"}
    found = condition(nodes.health, slice(None), nodes.now_ms)
    assert (found.measured, found.bad, found.turned_ms) == (4, 4, None)
    assert found.degraded_ms == nodes.health.until_ms[0], "it went when it was ejected, not now"


def test_a_longer_ttl_brings_back_who_was_only_silent():
    """What was measured within the TTL counts, whichever TTL it is now; who was out comes back through probation."""
    nodes = Range([2], **STEADY)
    for latency in (GOOD, GOOD, BAD, BAD, BAD):
        nodes.hear({0: GOOD, 1: latency})
    assert nodes.states == ["healthy", "ejected"]
    nodes.decide(after_s=121)
    assert nodes.states == ["unknown", "unknown"]
    nodes.rules = replace(nodes.policy, ttl_s=600.0).rules
    nodes.decide()
    assert nodes.states[0] == "healthy"
    assert not survives(nodes.health)[1]
