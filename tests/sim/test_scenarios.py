"""Named scenarios: what policies make of them, alone, and in whole systems in simulated time (long: tests/long)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulations.scenarios import EVERY_S, SCENARIOS, WAVES
from benchmarks.simulations.simulate import replayed, simulate
from faultset_ray.policy import Policy

STEADY = Policy.load(Path(__file__).parents[2] / "examples" / "steady.toml")
GUARDED = replace(STEADY, freeze_at=0.5)
BAD, _, GOOD = STEADY.samples


def test_around_the_threshold_nothing_flaps():
    nodes = 10_000
    steady = replayed("jitter", STEADY, nodes=nodes, hours=0.5).report
    plain = replayed("jitter", Policy(), nodes=nodes, hours=0.1).report
    assert steady.flaps == steady.readmissions == 0
    assert plain.flaps > 5 * nodes


def test_who_gets_slow_and_fast_again_goes_once_and_stays():
    nodes = 200
    steady = replayed("daily load", STEADY, nodes=nodes, hours=0.4).report
    plain = replayed("daily load", Policy(), nodes=nodes, hours=0.4).report
    assert steady.ejections == steady.readmissions == nodes
    assert steady.flaps == 0
    assert plain.flaps > nodes


@pytest.mark.parametrize("samples", [(1, 1, 1), (2, 3, 2), (3, 5, 3), (4, 16, 2)])
def test_a_gray_failure_is_detected_within_n_samples(samples):
    report = replayed("gray failure", replace(STEADY, samples=samples), nodes=2000, hours=0.5).report
    assert report.episodes == report.detected > 50
    assert report.detection_samples_max == samples[0]
    assert report.detection_ms_max == (samples[0] - 1) * EVERY_S * 1000
    assert report.false_ejections == 0


@pytest.mark.parametrize("statistic", ["last", "ewma", "peak", "p95"])
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "daily load"])
def test_caps_are_never_broken(scenario, statistic):
    for share in (0.0, 0.29, 0.5):
        policy = replace(STEADY, statistic=statistic, eject_max=share, hold_s=(20.0, 60.0))
        seen = replayed(scenario, policy, nodes=400, hours=0.25)
        assert (seen.peak_out <= np.floor(share * seen.sizes)).all()
        assert seen.peak_out.any() == (share > 0)


def test_a_link_that_flaps_is_trusted_ever_later():
    """Out for 30, 60, 120, … at most 600 s: in half an hour five times, not once in each of its 22 periods."""
    steady = replayed("flapping link", STEADY, nodes=1000, hours=1.0).report
    plain = replayed("flapping link", Policy(), nodes=1000, hours=1.0).report
    assert plain.ejections >= 22 * plain.episodes
    assert steady.ejections <= 7 * steady.episodes
    assert steady.unseen_bad_s < plain.unseen_bad_s / 3


def test_an_outage_is_seen_borrowed_for_and_over():
    seen = simulate("regional outage", STEADY, nodes=400, hours=0.25, ranges=2)
    report = seen.report
    assert report.detected == report.episodes > 20
    assert report.detection_samples_max == BAD
    assert report.false_ejections == report.flaps == 0
    few = min(seen.short)  # regions with fewer nodes than they need; at first also those with none to spare
    assert seen.short[0] > seen.short[1] == few
    assert max(seen.short[1:]) > few  # those of the lost city
    assert min(seen.served) == 1.0
    assert max(seen.panic) == 0
    assert (seen.survivors[-1], seen.short[-1]) == (1.0, few)


def test_without_anything_to_borrow_there_is_panic_and_it_ends():
    policy = replace(STEADY, fallback="none")
    seen = simulate("regional outage", policy, nodes=300, hours=0.2, ranges=2)
    bad = np.array(seen.bad) > 0
    assert (np.array(seen.panic)[bad][BAD * WAVES :] > 0).all()
    assert (seen.panic[0], seen.panic[-1]) == (0, 0)
    assert min(seen.survivors) < 1


@pytest.mark.parametrize(("samples", "most"), [((1, 1, 1), 140), ((3, 5, 3), 0)])
def test_when_all_fails_at_once_it_is_the_observer(samples, most):
    """Nodes are measured one after the other, so that half of them are bad before it shows: all of them come back."""
    seen = simulate("observer cut off", replace(GUARDED, samples=samples), nodes=200, hours=0.12, ranges=2)
    assert seen.report.false_ejections <= most
    frozen = np.array(seen.frozen)
    assert 0 < frozen.sum() < len(frozen)
    assert (np.array(seen.survivors)[frozen] == 1.0).all()
    assert seen.report.false_out_s <= most * EVERY_S
    assert seen.survivors[-1] == 1.0


def test_an_observer_that_is_believed_ejects_everyone():
    report = replayed("observer cut off", STEADY, nodes=200, hours=0.12).report
    assert report.false_ejections == 200
    assert report.false_out_s >= 200 * 60


def test_a_replay_doubts_the_observer_and_lends_as_a_system_does():
    """The figures of a replay are those of a whole system in simulated time, but for its steward's second."""
    freezes = replayed("observer cut off", GUARDED, nodes=200, hours=0.12).report
    assert freezes.false_out_s <= 200 * EVERY_S
    outage = {"nodes": 300, "hours": 0.2}
    whole = simulate("regional outage", STEADY, ranges=2, **outage)
    alone = replayed("regional outage", STEADY, **outage).report
    assert alone.out_s == whole.report.out_s
    lasted = np.diff(whole.seconds)
    measured = np.array(whole.short[:-1])
    measured[0] = min(
        measured
    )  # a system's nodes are unknown at first, and who has none to spare rests for a half-life
    assert alone.short_s == (measured * lasted).sum() > 0
    assert (alone.unserved_s, alone.panic_s) == (0.0, (whole.panic[:-1] * lasted).sum())


def test_a_rolling_restart_leaves_the_others_alone():
    seen = simulate("rolling restart", STEADY, nodes=200, hours=0.2, ranges=2)
    assert seen.report.detected == seen.report.episodes == 200
    assert seen.report.false_ejections == seen.report.flaps == 0
    assert not any(seen.frozen)
    assert max(seen.panic) == 0
