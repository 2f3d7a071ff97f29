"""What a policy does with a trace: counted by hand on small traces, and one event at a time on random ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.control.replay import Replay, compare, replay, table
from faultset_ray.control.states import State
from faultset_ray.control.trace import Trace
from faultset_ray.errors import InputError
from faultset_ray.policy import Policy

STEADY = Policy(recover_ms=80.0, samples=(2, 3, 2), hold_s=(5.0, 20.0))


def one_node(latencies, bad=None, every_ms=1000):
    """A trace of one node, sampled at 0 s, 1 s, …"""
    times = np.arange(len(latencies)) * every_ms
    return Trace.of(["a"], times, np.zeros(len(latencies), int), latencies, bad=bad)


def test_a_node_around_the_threshold_flaps_under_the_plain_rule_only():
    trace = one_node([99.0, 101.0] * 10)
    plain, steady = compare(trace, {"plain": Policy(), "steady": STEADY}).values()
    assert (plain.nodes, plain.samples) == (1, 20)
    assert (plain.ejections, plain.readmissions, plain.flaps) == (10, 9, 9)
    assert (plain.out_s, plain.peak_out) == (9.0, 1.0)
    assert (steady.ejections, steady.readmissions, steady.flaps) == (1, 0, 0)
    assert (plain.episodes, plain.false_ejections, plain.detection_ms_max) == (None, None, None)


def test_detection_is_counted_from_the_first_bad_sample():
    latencies = [20, 20, 300, 300, 300, 20, 20, 20, 20, 20, 20, 20]
    trace = one_node(latencies, [latency == 300 for latency in latencies])
    plain, steady = replay(trace, Policy()), replay(trace, STEADY)
    assert (plain.detection_ms_max, plain.detection_samples_max, plain.unseen_bad_s) == (0.0, 1, 0.0)
    assert (steady.detection_ms_max, steady.detection_samples_max, steady.unseen_bad_s) == (1000.0, 2, 1.0)
    assert (steady.episodes, steady.detected, steady.false_ejections) == (1, 1, 0)
    assert (plain.out_s, plain.false_out_s) == (3.0, 0.0)
    assert (steady.out_s, steady.false_out_s) == (5.0, 3.0)  # held until 8 s
    assert steady.flaps == 0


def test_an_episode_too_short_to_notice():
    trace = one_node([20, 300, 20, 20, 20], [False, True, False, False, False])
    steady = replay(trace, STEADY)
    assert (steady.episodes, steady.detected, steady.detection_ms_median, steady.ejections) == (1, 0, None, 0)
    assert steady.unseen_bad_s == 1.0


def test_a_second_outage_is_no_flap_but_a_second_false_alarm_is():
    twice = [20, 300, 20, 300, 20]
    assert replay(one_node(twice, [latency == 300 for latency in twice]), Policy()).flaps == 0
    false = replay(one_node(twice, [False] * 5), Policy())
    assert (false.flaps, false.false_ejections, false.false_out_s) == (1, 2, 2.0)


def test_samples_of_one_tick_are_decided_about_together():
    trace = one_node([300, 20, 300, 20], every_ms=10)
    assert replay(trace, Policy(), tick_ms=1).ejections == 2
    assert replay(trace, Policy(), tick_ms=100).ejections == 0
    for wrong in (0, True, 1.5):
        with pytest.raises(InputError, match="tick_ms"):
            replay(trace, Policy(), tick_ms=wrong)


def test_nothing_recorded():
    report = replay(Trace.of(["a"], [], [], []), Policy())
    assert (report.samples, report.ejections, report.out_s, report.peak_out) == (0, 0, 0.0, 0.0)


def test_what_is_no_trace_or_policy_is_refused():
    trace = Trace.of(["a"], [1], [0], [1.0])
    for wrong in (
        lambda: replay(trace, {}),
        lambda: replay([1], Policy()),
        lambda: compare(trace, [Policy()]),
        lambda: compare(trace, {"a": None}),
        lambda: replay(trace, Policy(), tick_ms=10**30),
        lambda: replay(trace, Policy(), tick_ms=0),
    ):
        with pytest.raises(InputError, match="expected"):
            wrong()
    assert replay(trace, Policy(), tick_ms=1 << 62).samples == 1


def test_the_table_shows_what_is_known():
    text = table(compare(one_node([99.0, 101.0] * 10), {"plain": Policy(), "steady": STEADY}))
    lines = text.splitlines()
    assert lines[0].split("|")[2:4] == [" plain ", " steady "]
    assert "| flaps        |     9 |      0 |" in lines
    assert not any("detection" in line for line in lines)
    assert len({len(line) for line in lines}) == 1


def random_trace(seed, nodes, samples):
    dice = np.random.default_rng(seed)
    return Trace.of(
        [f"n{index}" for index in range(nodes)],
        np.cumsum(dice.integers(0, 900, samples)),
        dice.integers(0, nodes, samples),
        dice.choice([10.0, 90.0, 110.0, np.nan], samples),
        bad=dice.random(samples) < 0.4,
        regions=dice.choice(["u", "v"], nodes).tolist(),
    )


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(1, 60),
    st.sampled_from([Policy(), STEADY, Policy(eject_max=0.5, ttl_s=2.0)]),
)
def test_counts_equal_those_of_single_events(seed, nodes, samples, policy):
    trace = random_trace(seed, nodes, samples)
    run = Replay(policy, trace.cells)
    expected = dict.fromkeys(("ejections", "readmissions", "flaps", "false", "out", "false_out", "unseen"), 0)
    state, bad = [State.UNKNOWN] * nodes, [False] * nodes
    history, episodes, peak, before_ms = [""] * nodes, [], {}, 0
    open_episode = [None] * nodes
    for index in range(samples):
        at, node = int(trace.at_ms[index]), int(trace.nodes[index])
        for n in range(nodes if index else 0):
            out = state[n] in {State.EJECTED, State.PROBATION}
            expected["out"] += (at - before_ms) * out
            expected["false_out"] += (at - before_ms) * (out and not bad[n])
            expected["unseen"] += (at - before_ms) * (bad[n] and state[n] in {State.HEALTHY, State.SUSPECT})
        before_ms, one = at, slice(index, index + 1)
        if bool(trace.bad[index]) != bad[node]:
            bad[node], history[node] = not bad[node], ""
            open_episode[node] = [at, 0, None] if bad[node] else None
            if bad[node]:
                episodes.append(open_episode[node])
        if bad[node]:
            open_episode[node][1] += 1
        changes = run.feed(trace.at_ms[one], trace.nodes[one], trace.latency_ms[one], trace.ok[one], trace.bad[one])
        for n, before, after in zip(changes.handles, changes.before, changes.after, strict=True):
            if after == State.EJECTED and before not in {State.EJECTED, State.PROBATION}:
                expected["ejections"] += 1
                expected["false"] += not bad[n]
                expected["flaps"] += history[n].endswith("left back")
                history[n] = "left"
            elif after in {State.HEALTHY, State.SUSPECT} and before in {State.EJECTED, State.PROBATION}:
                expected["readmissions"] += 1
                history[n] += " back"
            state[n] = State(after)
        for n in range(nodes):
            if bad[n] and open_episode[n][2] is None and state[n] not in {State.HEALTHY, State.SUSPECT}:
                open_episode[n][2] = (at - open_episode[n][0], open_episode[n][1])
        for region in set(trace.regions):
            members = [n for n in range(nodes) if trace.regions[n] == region]
            out = sum(state[n] in {State.EJECTED, State.PROBATION} for n in members)
            peak[region] = max(peak.get(region, 0), out / len(members))
    report = run.report()
    assert (report.ejections, report.readmissions, report.false_ejections) == (
        expected["ejections"],
        expected["readmissions"],
        expected["false"],
    )
    assert report.flaps == expected["flaps"]
    assert (report.out_s, report.false_out_s, report.unseen_bad_s) == (
        expected["out"] / 1000,
        expected["false_out"] / 1000,
        expected["unseen"] / 1000,
    )
    assert report.episodes == len(episodes)
    found = [episode[2] for episode in episodes if episode[2] is not None]
    assert report.detected == len(found)
    assert report.detection_ms_max == (max(delay for delay, _ in found) if found else None)
    assert report.detection_samples_max == (max(count for _, count in found) if found else None)
    assert report.peak_out == max(peak.values())


def test_a_freeze_takes_back_what_an_observer_that_was_cut_off_would_have_ejected():
    """Nobody answers from 60 s to 120 s; without `freeze_at` all are out, with it none that had a spare sample."""
    regions = [region for region in ("u0", "u1", "u2", "u3", "u4", "u5") for _ in range(3)]
    times = np.repeat(np.arange(0, 200_000, 10_000), len(regions))
    cut_off = (times >= 60_000) & (times < 120_000)
    trace = Trace.of(
        [f"n{index}" for index in range(len(regions))],
        times,
        np.tile(np.arange(len(regions)), len(times) // len(regions)),
        np.where(cut_off, np.nan, 20.0),
        bad=np.zeros(len(times), bool),
        regions=regions,
    )
    steady = Policy(samples=(2, 3, 1))
    loose, guarded = compare(trace, {"": steady, "guarded": replace(steady, freeze_at=0.5)}).values()
    assert (loose.false_ejections, loose.peak_out) == (len(regions), 1.0)
    assert (guarded.false_ejections, guarded.out_s) == (0, 0.0)
    quick = replay(trace, Policy(freeze_at=0.5))
    assert (quick.false_ejections, quick.out_s, quick.flaps) == (len(regions), 0.0, 0), "taken back at once"
    assert quick.peak_out == 0.0


@pytest.mark.parametrize(("samples", "most"), [((1, 1, 1), 210), ((3, 5, 3), 0)])
def test_all_that_went_since_an_outage_began_are_taken_back(samples, most):
    """Each of 400 nodes is measured every ten seconds, one after the other: who went first is taken back, too."""
    count, every_ms = 400, 10_000
    at_ms = np.arange(30 * count) * (every_ms // count)
    cut_off = (at_ms >= 10 * every_ms) & (at_ms < 16 * every_ms)
    trace = Trace.of(
        [f"n{index}" for index in range(count)],
        at_ms,
        np.tile(np.arange(count) * 7 % count, 30),
        np.where(cut_off, np.nan, 20.0),
        bad=np.zeros(len(at_ms), bool),
        regions=[f"u{letter}" for letter in "0123456789bcdefg" for _ in range(25)],
    )
    report = replay(trace, Policy(samples=samples, hold_s=(30, 600), freeze_at=0.5))
    assert report.false_ejections <= most
    assert report.false_out_s <= most * every_ms / 1000 / 2
    assert report.flaps == 0


def test_when_a_freeze_ends_nobody_is_ejected_who_has_answered_since():
    """Measured each 30 s, nodes have more bad samples than good ones in their windows when it ends."""
    count, every_ms = 40, 30_000
    at_ms = np.arange(20 * count) * (every_ms // count)
    cut_off = (at_ms >= 5 * every_ms) & (at_ms < 10 * every_ms)
    trace = Trace.of(
        [f"n{index}" for index in range(count)],
        at_ms,
        np.tile(np.arange(count) * 7 % count, 20),
        np.where(cut_off, np.nan, 20.0),
        bad=np.zeros(len(at_ms), bool),
        regions=[f"u{letter}" for letter in "01234567" for _ in range(5)],
    )
    assert replay(trace, Policy(samples=(3, 5, 3), hold_s=(30, 600), freeze_at=0.5)).false_ejections == 0


def test_regions_that_are_short_are_counted():
    """Of u0's two nodes one is out from 10 s to 30 s, then both until 40 s; u1 always has two."""
    rows = [(second * 1000, node, 20.0) for second in range(60) for node in range(4)]
    times, nodes, latencies = (np.array(column) for column in zip(*rows, strict=True))
    latencies[(nodes == 0) & (times >= 10_000) & (times < 40_000)] = 500.0
    latencies[(nodes == 1) & (times >= 30_000) & (times < 40_000)] = 500.0
    trace = Trace.of(["a", "b", "c", "d"], times, nodes, latencies, regions=["u0", "u0", "u1", "u1"])
    alone = replay(trace, Policy(survivors_min=1, panic="all"))
    assert (alone.short_s, alone.unserved_s, alone.panic_s) == (10.0, 10.0, 10.0)
    lent = replay(trace, Policy(survivors_min=2, fallback="neighbours", panic="all"))
    assert (lent.short_s, lent.unserved_s, lent.panic_s) == (40.0, 0.0, 0.0), "and until it was full for ten seconds"
    many = replay(trace, Policy(survivors_min=3, fallback="neighbours"))
    assert (many.short_s, many.unserved_s, many.panic_s) == (118.0, 20.0, 0.0)
    assert replay(trace, Policy()).short_s is None
    assert "short_s" in table({"lent": lent})
