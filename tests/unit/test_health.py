"""The state machine of nodes, rule by rule."""

import math
from dataclasses import replace

import numpy as np
import pytest
from health_range import BAD, FAILED, GOOD, Range

import faultset_ray as fs
from faultset_ray.control.decisions import decide, live_survivors, plain_survivors, survives, warm_up
from faultset_ray.control.dryrun import dry_run
from faultset_ray.control.health import Health, absorb, needs_sketch
from faultset_ray.control.states import Blocked, Mark, Rule, State
from faultset_ray.geohash import encode_many
from faultset_ray.kernels import find as find_kernels
from faultset_ray.kernels import health as health_kernels
from faultset_ray.kernels import judge as judge_kernels
from faultset_ray.kernels.jit import HAVE_NUMBA
from faultset_ray.kernels.judge import hold_ms, popcount
from faultset_ray.policy import Policy


def test_one_bad_sample_ejects_and_one_good_one_readmits_by_default():
    nodes = Range([1])
    assert nodes.decide() == []
    assert nodes.hear(GOOD) == [(0, "unknown", "healthy", "within")]
    assert nodes.hear(BAD) == [(0, "healthy", "ejected", "over_threshold")]
    assert nodes.hear(100.0) == [(0, "ejected", "healthy", "recovered")]
    assert nodes.hear(math.nextafter(100, 101)) == [(0, "healthy", "ejected", "over_threshold")]


def test_n_of_m():
    nodes = Range([1], samples=(2, 4, 1))
    nodes.hear(GOOD)
    assert nodes.hear(BAD) == [(0, "healthy", "suspect", "some_bad")]
    assert nodes.why(0).to_dict() | {"value": 1, "threshold": 2, "bad": 1, "survives": True} == nodes.why(0).to_dict()
    for _ in range(3):
        assert nodes.hear(GOOD) == []
    assert nodes.hear(GOOD) == [(0, "suspect", "healthy", "within")], "the bad one has left the window"
    nodes.hear(BAD)
    nodes.hear(GOOD)
    nodes.hear(GOOD)
    assert nodes.hear(BAD) == [(0, "suspect", "ejected", "over_threshold")], "two of four, though not in a row"


def test_who_was_kept_and_is_well_again_is_not_ejected_when_there_is_room():
    nodes = Range([4], samples=(2, 5, 2), eject_max=0.25)
    nodes.hear(GOOD)
    for _ in range(2):
        nodes.hear({0: BAD + 1, 1: BAD, 2: BAD, 3: GOOD})
    assert nodes.states == ["ejected", "suspect", "suspect", "healthy"]
    assert nodes.hear({1: GOOD}) == []
    assert (nodes.why(1).rule, nodes.why(1).blocked_by, nodes.why(1).bad) == (Rule.SOME_BAD, Blocked.NOTHING, 2)
    nodes.hear({0: GOOD})
    assert nodes.hear({0: GOOD})[1:] == [(2, "suspect", "ejected", "over_threshold")], "the room goes to who is bad now"
    nodes.rules = Policy(samples=(2, 5, 2)).rules
    assert nodes.decide() == []
    assert nodes.hear({1: BAD}) == [(1, "suspect", "ejected", "over_threshold")]


def test_readmission_takes_good_ones_in_a_row_and_resets_the_counters():
    nodes = Range([1], samples=(2, 5, 3), recover_ms=50)
    for latency in (BAD, BAD):
        nodes.hear(latency)
    assert nodes.states == ["ejected"]
    assert nodes.hear(GOOD) == [(0, "ejected", "probation", "proving")]
    assert nodes.why(0).value == 1
    assert nodes.why(0).threshold == 3
    assert not nodes.why(0).survives
    assert nodes.hear(75.0) == [], "neither bad nor recovered: the row starts again"
    assert nodes.hear(GOOD) == nodes.hear(50.0) == []
    assert nodes.hear(GOOD) == [(0, "probation", "healthy", "recovered")]
    assert nodes.health.window.tolist() == nodes.health.good.tolist() == [0]
    assert nodes.hear(BAD) == [(0, "healthy", "suspect", "some_bad")], "the ones from before do not count"


def test_a_bad_sample_in_probation_ejects_at_once_and_for_longer():
    nodes = Range([1], samples=(3, 5, 3), hold_s=(10, 100))
    for _ in range(3):
        nodes.hear(BAD)
    first = nodes.health.until_ms[0] - nodes.now_ms
    nodes.hear(GOOD, after_s=10)
    assert nodes.states == ["probation"]
    assert nodes.hear(BAD) == [(0, "probation", "ejected", "relapse")]
    assert nodes.health.until_ms[0] - nodes.now_ms == 2 * first == 20_000


def test_a_verdict_tells_the_value_then_and_the_value_now():
    nodes = Range([1], samples=(1, 1, 2), hold_s=(10, 10))
    nodes.hear(BAD)
    nodes.hear(GOOD)
    held = nodes.why(0)
    assert (held.value, held.threshold, held.value_then, held.threshold_then) == (GOOD, 100, BAD, 100)
    assert held.blocked_by == Blocked.SAMPLES, "one good one, and two are needed"
    nodes.rules = Policy(threshold_ms=50, samples=(1, 1, 2), hold_s=(10, 10)).rules
    assert (nodes.why(0).threshold, nodes.why(0).threshold_then) == (50, 100)
    nodes.hear(GOOD)
    assert nodes.why(0).blocked_by == Blocked.HOLD
    nodes.hear(BAD, after_s=9)
    assert nodes.why(0).blocked_by == Blocked.SAMPLES
    nodes.health = Health.from_columns(nodes.health.to_columns())
    assert nodes.why(0).value_then == BAD, "it is saved with the rest"
    older = {name: column for name, column in nodes.health.to_columns().items() if name not in ("value", "threshold")}
    nodes.health = Health.from_columns({**older, "format": np.array([1])})
    assert (nodes.why(0).value, nodes.why(0).value_then) == (BAD, None), "before format 2 it was not noted"


def test_bad_samples_in_a_row_are_told():
    nodes = Range([1], samples=(32, 32, 1))
    for latencies, bad_in_row in (([GOOD], 0), ([BAD], 1), ([FAILED, BAD], 3), ([GOOD], 0), ([BAD] * 40, 32)):
        for latency in latencies:
            nodes.hear(latency)
        assert nodes.why(0).bad_in_row == bad_in_row


def test_hold_down_doubles_up_to_its_cap_and_is_forgotten():
    nodes = Range([1], hold_s=(10, 60))
    held = []
    for _ in range(5):
        nodes.hear(BAD)
        held.append((nodes.health.until_ms[0] - nodes.now_ms) / 1000)
        assert nodes.hear(GOOD, after_s=held[-1] - 2) == [], "held, though it is well"
        assert nodes.why(0).blocked_by == Blocked.HOLD
        assert nodes.why(0).until_ms == nodes.health.until_ms[0]
        assert nodes.decide(after_s=2) == [(0, "ejected", "healthy", "recovered")]
    assert held == [10, 20, 40, 60, 60]
    nodes.hear(GOOD, after_s=130)  # 2 × 60 s: two of five ejections are forgotten
    nodes.hear(BAD, after_s=0)
    assert nodes.health.ejections.tolist() == [4]
    nodes.hear(GOOD, after_s=60)
    nodes.hear(GOOD, after_s=1000)
    nodes.hear(BAD)
    assert (nodes.health.until_ms[0] - nodes.now_ms) / 1000 == 10


@pytest.mark.parametrize("ejections", [1, 2, 3, 10, 255])
def test_the_hold_down_of_many_ejections_does_not_overflow(ejections):
    assert hold_ms(ejections, 7, 31_536_000_000) == min(7 * 2 ** (ejections - 1), 31_536_000_000)
    assert hold_ms(ejections, 0, 0) == 0


@pytest.mark.parametrize(("size", "share", "out"), [
    (1, 0.5, 0), (1, 0.99, 0), (1, 1.0, 1), (2, 0.5, 1), (2, 0.49, 0), (2, 1.0, 2), (3, 0.5, 1), (3, 1 / 3, 1),
    (3, 2 / 3, 2), (3, 0.66, 1), (3, 0.0, 0), (10, 0.3, 3), (100, 0.29, 29), (1000, 0.001, 1),
])  # fmt: skip
def test_caps_are_exact_and_the_worst_go_first(size, share, out):
    nodes = Range([size, 5], eject_max=share)
    worst_last = {slot: BAD + slot for slot in range(size)}
    nodes.hear(GOOD)
    nodes.hear({**worst_last, **dict.fromkeys(range(size, size + 5), GOOD)})
    assert nodes.states == ["suspect"] * (size - out) + ["ejected"] * out + ["healthy"] * 5
    if out < size:
        assert nodes.why(0).blocked_by == Blocked.CAP
        assert nodes.why(0).rule == Rule.OVER_THRESHOLD
        assert nodes.why(0).survives
    nodes.hear(worst_last)
    assert nodes.states.count("ejected") == out, "the next step finds no more room"


def test_where_the_cap_allows_fewer_now_the_best_are_taken_back():
    nodes = Range([4, 2], eject_max=0.5, hold_s=(60, 60))
    nodes.hear({0: BAD + 1, 1: BAD, 2: GOOD, 3: GOOD, 4: BAD, 5: GOOD})
    assert nodes.states == ["ejected", "ejected", "healthy", "healthy", "ejected", "healthy"]
    nodes.health.set_marks(np.array([2]), Mark.DRAIN)
    changes = decide(nodes.health, nodes.rules, nodes.now_ms)
    assert [changes.handles.tolist(), changes.rule.tolist()] == [[1], [Rule.CAPPED]], "the worse one stays out"
    assert [changes.value.tolist(), changes.threshold.tolist()] == [[2.0], [1.0]], "two would be out of one"
    assert nodes.why(1).blocked_by == Blocked.CAP
    assert (nodes.why(1).value, nodes.why(1).survives, nodes.why(1).until_ms) == (2.0, True, None)
    assert [(nodes.why(slot).region_out, nodes.why(slot).region_out_max) for slot in (1, 2, 4)] == [(1, 1)] * 3
    assert nodes.decide(after_s=1) == [], "it stays a suspect, though its hold-down would have lasted longer"
    assert (nodes.why(1).rule, nodes.why(1).blocked_by) == (Rule.OVER_THRESHOLD, Blocked.CAP)
    keep = nodes.health.take(np.array([0, 1, 3, 4]))
    nodes.health = keep
    assert nodes.decide() == [(4, "ejected", "suspect", "capped")], "of one node none"
    nodes.rules = Policy(eject_max=0.0).rules
    assert nodes.decide() == [(0, "ejected", "suspect", "capped")]
    nodes.health.set_marks(np.array([1]), Mark.PIN)
    nodes.decide()
    assert nodes.states == ["suspect", "ejected", "healthy", "suspect"], "marks bypass caps"


def test_room_is_used_when_it_comes_and_failing_nodes_are_the_worst():
    nodes = Range([4], eject_max=0.25)
    nodes.hear(GOOD)
    nodes.hear({0: BAD, 1: FAILED, 2: 1e6, 3: GOOD})
    assert nodes.states == ["suspect", "ejected", "suspect", "healthy"]
    assert nodes.why(1).rule == Rule.FAILURES
    assert nodes.hear({1: GOOD}) == [
        (1, "ejected", "healthy", "recovered"), (2, "suspect", "ejected", "over_threshold")
    ]  # fmt: skip
    nodes.health.set_marks(np.array([0]), Mark.DRAIN)
    assert nodes.decide()[0][:3] == (0, "suspect", "ejected"), "marked nodes are neither counted nor capped"


def test_ties_go_by_handle():
    nodes = Range([4], eject_max=0.5)
    nodes.hear(GOOD)
    nodes.hear(BAD)
    assert nodes.states == ["ejected", "ejected", "suspect", "suspect"]


def test_a_node_that_fails_fast_is_bad():
    nodes = Range([2], samples=(2, 3, 1))
    nodes.hear(GOOD)
    now = nodes.now_ms
    for step in range(1, 3):
        absorb(nodes.health, np.array([0]), np.array([0.1]), np.array([False]), now + step, nodes.rules)
    nodes.decide(after_s=1)
    assert nodes.states == ["ejected", "healthy"]
    assert nodes.health.failures.tolist() == [2, 0]
    assert nodes.health.last.tolist() == nodes.health.ewma.tolist() == [GOOD, GOOD], "failure is not latency"
    assert plain_survivors(nodes.health, 100.0)[0].tolist() == [1]


def test_a_node_never_seen_is_neither_healthy_nor_dead():
    nodes = Range([3], samples=(3, 5, 1), ttl_s=10)
    nodes.hear({0: GOOD})
    assert nodes.states == ["healthy", "unknown", "unknown"]
    assert nodes.why(1).rule == Rule.NEVER_MEASURED
    assert not survives(nodes.health)[1]
    assert nodes.hear({1: FAILED}) == [(1, "unknown", "ejected", "failures")], "its only evidence is a failure"
    assert nodes.hear({0: FAILED}) == [(0, "healthy", "suspect", "some_bad")], "it did answer"


def test_what_is_stale_is_unknown():
    nodes = Range([3], ttl_s=10, hold_s=(30, 60))
    nodes.hear({0: GOOD, 1: BAD, 2: GOOD})
    assert nodes.decide(after_s=10) == []
    assert nodes.hear({2: GOOD}, after_s=0.001) == [(0, "healthy", "unknown", "stale")], "an ejected one is held"
    assert nodes.why(0).value == 10_001
    assert nodes.why(0).threshold == 10_000
    assert nodes.decide(after_s=15) == [(2, "healthy", "unknown", "stale")]
    assert nodes.decide(after_s=5) == [(1, "ejected", "unknown", "stale")]
    assert nodes.hear(GOOD) == [
        (0, "unknown", "healthy", "within"), (1, "unknown", "healthy", "recovered"), (2, "unknown", "healthy", "within")
    ]  # fmt: skip


def test_failing_for_longer_than_the_ttl_is_bad_whatever_the_window():
    nodes = Range([1], samples=(30, 32, 1), ttl_s=10)
    nodes.hear(GOOD)
    for _ in range(10):
        nodes.hear(FAILED)
    assert nodes.states == ["suspect"]
    nodes.hear(FAILED)
    assert nodes.states == ["ejected"]


def test_marks_bypass_everything():
    nodes = Range([3], eject_max=0.0)
    nodes.hear(GOOD)
    drained = nodes.health.set_marks(np.array([0, -1, 0]), Mark.DRAIN)
    assert [drained.handles.tolist(), drained.rule.tolist(), len(drained)] == [[0], [Rule.DRAINED], 1]
    nodes.health.set_marks(np.array([1]), Mark.PIN)
    nodes.hear({1: BAD, 2: BAD})
    assert nodes.states == ["healthy", "ejected", "suspect"], "judged on, but not capped"
    assert survives(nodes.health).tolist() == [False, True, True]
    assert [nodes.why(slot).rule for slot in range(2)] == [Rule.DRAINED, Rule.PINNED]
    assert nodes.why(1).value is None
    assert live_survivors(nodes.health, nodes.rules)[0].tolist() == [1, 2]
    assert plain_survivors(nodes.health, 100.0)[0].tolist() == [1]
    freed = nodes.health.set_marks(np.array([1]), Mark.NONE)
    assert (freed.before.tolist(), freed.after.tolist(), freed.survives.tolist()) == ([3], [3], [False])
    told, rest = freed.settled(decide(nodes.health, nodes.rules, nodes.now_ms))
    assert (told.before.tolist(), told.after.tolist(), told.rule.tolist()) == ([3], [2], [Rule.UNMARKED])
    assert (told.survived.tolist(), told.survives.tolist(), len(rest)) == ([True], [True], 0), "the cap counts it now"
    assert (nodes.why(1).rule, nodes.why(1).blocked_by) == (Rule.CAPPED, Blocked.CAP)
    assert len(nodes.health.set_marks(np.array([1]), Mark.NONE)) == 0


def test_an_ejection_counts_once_however_often_a_node_is_marked_or_taken_back():
    nodes = Range([4], hold_s=(10, 1000), eject_max=0.25)
    nodes.hear({0: BAD, 1: GOOD, 2: GOOD, 3: GOOD})
    until_ms = nodes.health.until_ms[0]
    for mark in (Mark.DRAIN, Mark.PIN, Mark.DRAIN):
        for given in (mark, Mark.NONE):
            nodes.health.set_marks(np.array([0]), given)
            assert nodes.decide(after_s=0.5) == []
    assert (nodes.why(0).ejections, nodes.why(0).until_ms) == (1, until_ms)
    for _ in range(3):
        nodes.health.set_marks(np.array([1]), Mark.PIN)
        assert nodes.decide()[0][3] == "capped", "of three, none may be out"
        assert (nodes.why(0).ejections, nodes.why(0).survives) == (0, True)
        nodes.health.set_marks(np.array([1]), Mark.NONE)
        assert nodes.decide()[0][1:3] == ("suspect", "ejected")
        assert (nodes.why(0).ejections, nodes.why(0).until_ms) == (1, nodes.now_ms + 10_000)


def test_a_freeze_takes_back_what_was_ejected_since_the_outage_began():
    nodes = Range([4], hold_s=(10, 100), samples=(1, 1, 2))
    nodes.hear({0: BAD, 1: GOOD, 2: GOOD, 3: GOOD})
    long_before = nodes.now_ms
    nodes.decide(after_s=20)
    nodes.hear({0: GOOD})
    assert nodes.states[0] == "probation"
    outage = nodes.now_ms + 500
    nodes.hear({1: BAD, 2: FAILED}, after_s=1)
    assert nodes.states == ["probation", "ejected", "ejected", "healthy"]
    nodes.freeze = (outage, nodes.now_ms + 60_000)
    changes = nodes.hear({0: BAD, 3: BAD})
    assert changes == [
        (1, "ejected", "suspect", "reinstated"), (2, "ejected", "suspect", "reinstated"),
        (3, "healthy", "suspect", "over_threshold"),
    ]  # fmt: skip
    assert nodes.states[0] == "probation", "out since before; not ejected anew"
    assert [nodes.why(slot).blocked_by for slot in range(4)] == [Blocked.FREEZE] * 4
    assert nodes.health.ejections.tolist() == [1, 0, 0, 0]
    assert long_before < outage
    assert nodes.hear({1: GOOD}) == [(1, "suspect", "healthy", "within")]
    ended = nodes.hear({2: BAD, 3: GOOD}, after_s=60)
    assert ended == [
        (0, "probation", "ejected", "relapse"), (2, "suspect", "ejected", "over_threshold"),
        (3, "suspect", "healthy", "within"),
    ]  # fmt: skip


def test_statistics():
    latencies = [20.0, 20.0, 20.0, 400.0, 20.0]
    found = {}
    for statistic in ("last", "ewma", "peak", "p95"):
        nodes = Range([1], statistic=statistic, half_life_s=1.0)
        values = []
        for latency in latencies:
            nodes.hear(latency)
            values.append(nodes.why(0).value)
        found[statistic] = values
    assert found["last"] == latencies
    mean = sum(latency * 2.0**-age for age, latency in enumerate(reversed(latencies)))
    assert found["ewma"][-1] == pytest.approx(mean / sum(2.0**-age for age in range(5)), rel=1e-8)
    assert found["peak"] == pytest.approx([20, 20, 20, 400, 200], rel=1e-8)
    assert found["p95"][2] == pytest.approx(20, rel=1 / 9)
    assert found["p95"][4] == pytest.approx(400, rel=1 / 9)


def test_samples_of_one_instant_all_count():
    nodes = Range([1], statistic="ewma")
    absorb(nodes.health, np.zeros(4, np.int64), np.array([10.0, 20, 30, 40]), None, 5, nodes.rules)
    assert nodes.health.ewma.tolist() == [25.0]


def test_an_infinite_latency_is_measured_and_forgotten_in_time():
    nodes = Range([1], statistic="ewma", half_life_s=1.0)
    nodes.hear(math.inf)
    assert nodes.states == ["ejected"]
    assert plain_survivors(nodes.health, math.inf)[0].tolist() == [0]
    for _ in range(20):
        nodes.hear(GOOD)
    assert nodes.states == ["healthy"]


def test_older_samples_are_passed_over_and_those_of_one_batch_are_in_order():
    nodes = Range([2], samples=(2, 3, 1))
    slots, times = np.array([0, 0, 1, 0, -1, 0]), np.array([10, 12, 3, 11, 99, 12])
    taken = absorb(nodes.health, slots, np.array([1.0, 2, 3, 4, 5, 6]), None, times, nodes.rules)
    assert taken == 4
    assert nodes.health.last.tolist() == [6, 3]
    assert nodes.health.last_ms.tolist() == [12, 3]


def test_policy_without_arguments_answers_like_failover():
    rng = np.random.default_rng(5)
    n = 500
    lat, lon = rng.uniform(-90, 90, 20).repeat(25), rng.uniform(-180, 180, 20).repeat(25)
    rules = Policy().rules
    handles = np.arange(n, dtype=np.uint32)
    health = Health.empty(handles, encode_many(lat, lon, 4))
    latest = rng.choice([50.0, 100.0, math.nextafter(100, 101), 200.0, math.inf, math.nan], n)
    health = health.enroll(handles, health.cells, latest, np.full(n, 1), rules)
    for now_ms in range(2, 20):
        decide(health, rules, now_ms)
        expected = fs.faultset(list(zip(map(str, range(n)), lat, lon, latest, strict=True)), 100.0, 4)
        for slots, counts in (live_survivors(health, rules), plain_survivors(health, 100.0)):
            assert [str(slot) for slot in slots] == expected
            assert counts.sum() == len(slots)
        some = rng.integers(0, n, 200)
        values = np.round(rng.uniform(0, 200, 200))
        values[rng.random(200) < 0.1] = math.nan
        absorb(health, some, values, None, now_ms, rules)
        latest[some] = values  # of repeated ones the last counts


def test_a_dry_run_leaves_everything_as_it_is():
    nodes = Range([4], samples=(2, 3, 1))
    nodes.hear({0: 30.0, 1: 80.0, 2: GOOD})
    nodes.hear({0: 30.0, 1: 80.0, 2: BAD, 3: FAILED})
    before = nodes.health.to_columns()
    difference, copy = dry_run(nodes.health, nodes.rules, Policy(threshold_ms=50).rules, nodes.now_ms)
    assert [State(state).label for state in copy.state] == ["healthy", "ejected", "ejected", "ejected"]
    assert difference.handles.tolist() == [1, 2]
    assert difference.survived.tolist() == [True, True]
    assert difference.survives.tolist() == [False, False]
    assert difference.value.tolist() == [80.0, BAD]
    assert difference.threshold.tolist() == [50.0, 50.0]
    same, _ = dry_run(nodes.health, nodes.rules, nodes.rules, nodes.now_ms)
    assert len(same) == 0
    for name, column in nodes.health.to_columns().items():
        np.testing.assert_array_equal(column, before[name])
    sketched, _ = dry_run(nodes.health, nodes.rules, Policy(statistic="p95").rules, nodes.now_ms)
    assert sketched.handles.tolist() == [2]


def test_another_policy_judges_the_newest_sample_alone():
    """One spike stays one, and one good sample too: the others were judged, and only that is remembered."""
    nodes = Range([4], samples=(3, 5, 3), hold_s=(30, 600))
    for latencies in ({0: GOOD, 1: BAD, 2: BAD, 3: 80.0}, {0: GOOD, 1: BAD, 2: BAD, 3: 80.0}, {1: BAD, 2: BAD}):
        nodes.hear(latencies)
    nodes.hear({0: 150.0, 1: GOOD}, after_s=60)
    assert nodes.states == ["suspect", "probation", "ejected", "healthy"]

    def under(**fields):
        found, copy = dry_run(nodes.health, nodes.rules, replace(nodes.policy, **fields).rules, nodes.now_ms)
        states = [State(state).label for state in copy.state]
        return states, np.bitwise_count(copy.window).tolist(), copy.good.tolist(), found.handles.tolist()

    same = (nodes.states, [1, 0, 3, 0], [0, 1, 0, 2], [])
    assert under(threshold_ms=101.0, recover_ms=100.0) == under(recover_ms=90.0) == same
    assert under(threshold_ms=150.0, recover_ms=100.0) == (
        ["healthy", "probation", "ejected", "healthy"], [0, 0, 3, 0], [0, 1, 0, 2], [0]
    )  # fmt: skip
    assert under(threshold_ms=79.0) == (["suspect", "probation", "ejected", "suspect"], [1, 0, 3, 1], [0, 1, 0, 0], [3])
    assert under(threshold_ms=9.0)[:2] == (["suspect", "ejected", "ejected", "suspect"], [1, 1, 3, 1]), "a relapse"
    assert under(threshold_ms=501.0) == (
        ["healthy", "probation", "probation", "healthy"], [0, 0, 0, 0], [1, 1, 1, 2], [0, 2]
    ), "one good one on the way back"  # fmt: skip
    assert under(statistic="peak", half_life_s=1.0)[1:3] == ([1, 0, 3, 0], [0, 1, 0, 2]), "and so by another statistic"


def test_a_verdict_is_plain_data():
    nodes = Range([1])
    nodes.hear(BAD)
    assert nodes.why(0).to_dict() == {
        "id": "n0", "handle": 0, "region": "u", "state": "ejected", "survives": False, "rule": "over_threshold",
        "value": 500.0, "threshold": 100.0, "since_ms": nodes.now_ms, "until_ms": None, "blocked_by": "samples",
        "value_then": 500.0, "threshold_then": 100.0, "bad_in_row": 1,
        "mark": "none", "bad": 1, "good": 0, "failures": 0, "last_latency_ms": 500.0, "last_ms": nodes.now_ms,
        "ejections": 1, "region_out": 1, "region_out_max": 1, "tier": None,
    }  # fmt: skip


def test_popcount():
    rng = np.random.default_rng(2)
    for bits in [0, 1, 0xFFFFFFFF, *rng.integers(0, 1 << 32, 50).tolist()]:
        assert popcount(bits) == bits.bit_count()


@pytest.mark.skipif(not HAVE_NUMBA, reason="nothing is compiled")
def test_warming_up_compiles_all_that_is_needed():
    """A compilation takes seconds, and would fall into somebody's deadline."""
    warm_up()

    def compiled():
        modules = (health_kernels, judge_kernels, find_kernels)
        functions = [getattr(module, name) for module in modules for name in dir(module)]
        return {function: len(function.signatures) for function in functions if hasattr(function, "signatures")}

    before = compiled()
    for policy in (Policy(), Policy(statistic="p95", ttl_s=3, eject_max=0.3, hold_s=(1, 3), samples=(2, 3, 4))):
        for n in (0, 1, 500):
            handles, cells = np.arange(n, dtype=np.uint32), np.full(n, 17, np.uint64)
            sent = [handles, np.full(n, 500.0), np.ones(n, np.bool_), np.full(n, 3)]
            for array in sent:
                array.flags.writeable = False  # as what comes through Ray is
            health = Health.empty(handles, cells, sketch=needs_sketch(policy.rules))
            absorb(health, health.find(sent[0]), *sent[1:], policy.rules)
            for now_ms, freeze in ((3, None), (np.int64(4), (0, 5000)), (6000, (0, 5000))):
                decide(health, policy.rules, now_ms, freeze)
            live_survivors(health, policy.rules)
            plain_survivors(health, 100)
            health.enroll(sent[0], cells, sent[1], sent[3], Policy(statistic="p95").rules)
    assert compiled() == before


def test_numbers_of_a_verdict_bear_it_out():
    """Slow, then failed: the failure alone did not eject it. And who failed on probation was not too slow."""
    nodes = Range([1], samples=(3, 5, 2))
    for heard in (BAD, GOOD, BAD, GOOD, {0: FAILED}):
        nodes.hear(heard)
    why = nodes.why(0)
    assert (why.state, why.rule, why.value, why.threshold) == (State.EJECTED, Rule.FAILURES, 3.0, 3.0)
    nodes.hear(GOOD)
    nodes.hear({0: FAILED})
    why = nodes.why(0)
    assert (why.state, why.rule, why.value, why.threshold) == (State.EJECTED, Rule.RELAPSE, 1.0, 1.0)
    assert (why.value_then, why.threshold_then) == (1.0, 1.0)
