"""Scenarios in full: a day of jitter and one of load for a whole system, and hours of everything else under many policies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulations.scenarios import SCENARIOS
from benchmarks.simulations.simulate import replayed, simulate
from faultset_ray.policy import Policy

STEADY = Policy.load(Path(__file__).parents[2] / "examples" / "steady.toml")

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


def test_long_day_of_jitter(large):
    seen = simulate("jitter", STEADY, nodes=large.count(10_000), hours=24, seed=large.seed, ranges=2, parts=1)
    assert seen.report.flaps == seen.report.readmissions == 0
    large.notes.append(
        f"{seen.report.samples:,} samples, {seen.report.ejections:,} ejections, {seen.report.flaps} flaps"
    )


def test_long_day_of_load(large):
    """Every node goes once, comes back and stays, though it passes the threshold for hours in jitter."""
    nodes = large.count(10_000)
    seen = simulate("daily load", STEADY, nodes=nodes, hours=24, seed=large.seed, ranges=2, parts=1)
    assert seen.report.ejections == seen.report.readmissions == nodes
    assert seen.report.flaps == 0
    assert seen.survivors[-1] == 1.0
    large.notes.append(f"{seen.report.samples:,} samples, {seen.report.ejections:,} ejections, all back, no flap")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_long_caps_and_detection(large, scenario):
    nodes = large.count(10_000)
    for samples in ((1, 1, 1), (3, 5, 3), (5, 20, 4)):
        policy = replace(STEADY, samples=samples)
        seen = replayed(scenario, policy, nodes=nodes, hours=6, seed=large.seed)
        if scenario in {"gray failure", "regional outage"}:
            assert seen.report.detected == seen.report.episodes
            assert seen.report.detection_samples_max == samples[0]
        for share in (0.1, 1 / 3, 0.5):
            seen = replayed(scenario, replace(policy, eject_max=share), nodes=nodes, hours=1, seed=large.seed)
            assert (seen.peak_out <= np.floor(np.nextafter(share, 1) * seen.sizes)).all()


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "jitter"])
def test_long_systems(large, scenario):
    """Whoever is good in the end is in, whoever was bad was seen, and a short region is served."""
    policy = replace(STEADY, freeze_at=0.5 if scenario == "observer cut off" else None)
    seen = simulate(scenario, policy, nodes=large.count(10_000), hours=2, seed=large.seed)
    report = seen.report
    if scenario != "flapping link":
        assert seen.survivors[-1] == 1.0
    assert report.detected == report.episodes
    assert min(seen.served) == 1.0
    truth = (
        "" if report.episodes is None else f"{report.episodes:,} episodes, {report.false_ejections:,} false ejections, "
    )
    large.notes.append(f"{truth}{report.ejections:,} ejections, {report.flaps:,} flaps")
