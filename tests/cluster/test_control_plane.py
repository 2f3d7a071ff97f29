"""Survivors over region actors: the same as on arrays, and named what is missing when actors die or hang."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import at_most, living_actors, stopped
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.errors import InputError, RegionTimeout, UnknownFleet
from faultset_ray.geohash import encode_many
from faultset_ray.limits import RANGES_SPARED

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode({"faultset.io/region": name}, cpus=1) for name in ("north", "south", "west")]
RANGES = 4
PRECISION = 2


def random_fleet(seed: int, nodes: int, name: str = "default") -> fs.Fleet:
    rng = np.random.default_rng(seed)
    latency = rng.choice([rng.uniform(0, 200, nodes).round(), np.full(nodes, np.nan)], axis=0, p=[0.9, 0.1])
    latency[rng.random(nodes) < 0.01] = np.inf
    ids = [f"n{number:05d}" for number in rng.permutation(nodes)]
    return fs.Fleet(ids, rng.uniform(-90, 90, nodes), rng.uniform(-180, 180, nodes), latency, name=name)


@pytest.fixture(scope="module")
def driver(attached):
    with fs.connect(attached.address, region_actors=RANGES) as driver:
        yield driver


@pytest.fixture(scope="module")
def fleet(driver):
    return driver.register(random_fleet(7, 3000), PRECISION)


def in_ranges(fleet: fs.Fleet, ranges: set[int]) -> np.ndarray:
    """Which nodes are in one of these ranges of a fleet that was registered once: bool[n]."""
    cells = encode_many(fleet.lat, fleet.lon, PRECISION)
    return np.isin(range_of(plan_bounds(cells, RANGES), cells), list(ranges))


def regions(fleet: fs.Fleet, chosen: np.ndarray) -> list[str]:
    """The geohashes of the chosen nodes, sorted."""
    return sorted(
        fs.geohash.geohash_cluster([node for node, is_in in zip(fleet, chosen, strict=True) if is_in], PRECISION)
    )


def without(fleet: fs.Fleet, chosen: np.ndarray) -> list[fs.Node]:
    return [node for node, is_in in zip(fleet, chosen, strict=True) if not is_in]


def region_actors(fleet: str = "default") -> dict[int, tuple[str, int, str]]:
    """Name, process and Ray node of each range's actor, by range."""
    return {
        int(name.split("/")[2]): (name, pid, node) for name, (pid, node) in living_actors(f"region/{fleet}/").items()
    }


@contextmanager
def held_back(driver: fs.Driver):
    """What is lost stays lost for now, so that it can be seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver._core._keeper, "restore", lambda *_args, **_options: None)
        yield


@pytest.mark.parametrize("threshold", [0.0, 50.0, 150.0, np.inf])
def test_survivors_equal_the_function_on_arrays(driver, fleet, threshold):
    answer = driver.survivors(threshold_ms=threshold)
    assert answer.ids.tolist() == fs.faultset(fleet, threshold, PRECISION)
    expected = {
        region: fs.failover([n.id for n in members], [n.latency_ms for n in members], threshold)
        for region, members in fs.geohash.geohash_cluster(list(fleet), PRECISION).items()
    }
    assert {region: ids.tolist() for region, ids in answer.by_region.items()} == {
        region: ids for region, ids in expected.items() if ids
    }
    assert list(answer.by_region) == [region for region, ids in expected.items() if ids]
    assert sorted(answer.empty_regions) == sorted(region for region, ids in expected.items() if not ids)
    assert answer.whole


def test_region_actors_bounds_them_and_the_fleet_is_spread(driver, fleet):
    answer = driver.survivors(threshold_ms=50.0)
    assert set(answer.versions) == set(range(RANGES))
    found = region_actors()
    assert set(found) == set(range(RANGES))
    assert len({node for _, _, node in found.values()}) > 1


def test_by_default_a_small_fleet_has_so_many_actors_that_one_fault_is_not_all(attached):
    with fs.connect(attached.address) as driver:
        driver.register(random_fleet(1, 500, "wide"), 3)
        assert len(driver.survivors(threshold_ms=10.0, fleet="wide").versions) == RANGES_SPARED


def test_fleets_are_apart(driver, fleet):
    other = driver.register([("n00000", 1.0, 1.0, 9.0), ("z", -1.0, 1.0, 4.0)], 5, fleet="other")
    assert driver.survivors(threshold_ms=10.0, fleet="other").ids.tolist() == ["n00000", "z"]
    driver.observe(other.handles[:1], [11.0], fleet="other")
    assert driver.survivors(threshold_ms=10.0, fleet="other").ids.tolist() == ["z"]
    assert driver.survivors(threshold_ms=10.0).ids.tolist() == fs.faultset(fleet, 10.0, PRECISION)
    with pytest.raises(UnknownFleet, match="nowhere"):
        driver.survivors(threshold_ms=10.0, fleet="nowhere")


def test_registering_again_adds_moves_and_replaces(driver):
    first = driver.register(
        [("a", 10.0, 10.0, 1.0), ("b", 10.0, 10.0, 2.0), ("c", -60.0, -60.0, 3.0)], 3, fleet="again"
    )
    assert first.handles.tolist() == [0, 1, 2]
    second = driver.register(
        [("d", -60.0, -60.0, 0.5), ("c", 10.0, 10.0, 1.5), ("a", 10.0, 10.0, 9.0)], 3, fleet="again"
    )
    assert second.handles.tolist() == [3, 2, 0], "a node keeps its handle"
    answer = driver.survivors(threshold_ms=5.0, fleet="again")
    now = [("a", 10.0, 10.0, 9.0), ("b", 10.0, 10.0, 2.0), ("c", 10.0, 10.0, 1.5), ("d", -60.0, -60.0, 0.5)]
    assert answer.ids.tolist() == fs.faultset([fs.Node(*node) for node in now], 5.0, 3) == ["c", "b", "d"]
    with pytest.raises(InputError, match="precision 3, not 4"):
        driver.register(now, 4, fleet="again")


def test_observations(driver):
    fleet = driver.register([("a", 0.0, 0.0, 1.0), ("b", 0.0, 50.0, 2.0), ("c", 0.0, 0.0, 3.0)], 4, fleet="seen")

    def alive():
        return driver.survivors(threshold_ms=10.0, fleet="seen").ids.tolist()

    now = driver.survivors(threshold_ms=10.0, fleet="seen").at_ms + 1000
    assert driver.observe(fleet.handles, [50.0, 5.0, 0.5], at_ms=now, fleet="seen") == 3
    assert alive() == ["c", "b"]
    assert driver.observe(fleet.handles, [1.0, 99.0, 99.0], at_ms=now - 1, fleet="seen") == 0, (
        "older than what is known"
    )
    assert alive() == ["c", "b"]
    assert driver.observe(fleet.handles, [1.0, 1.0, 1.0], ok=[True, False, True], at_ms=now + 1, fleet="seen") == 3
    assert alive() == ["a", "c"]
    assert driver.observe(fleet.handles[:2], [np.nan, 3.0], at_ms=now + 2, fleet="seen") == 2
    assert alive() == ["c", "b"]
    assert driver.observe(np.empty(0, np.uint32), [], fleet="seen") == 0
    for handles, latency in (([3], [1.0]), ([0], [-1.0]), ([0, 1], [1.0]), ([0.0], [1.0]), ([-1], [1.0])):
        with pytest.raises(InputError):
            driver.observe(handles, latency, fleet="seen")
    assert alive() == ["c", "b"], "bad input changes nothing"


def test_a_hung_region_is_named_within_the_deadline(driver, fleet):
    name, pid, _ = region_actors()[2]
    missing = in_ranges(fleet, {2})
    with stopped(pid):
        with at_most(2.8):
            answer = driver.survivors(threshold_ms=100.0, deadline_s=2.0)
        assert sorted(answer.missing_regions) == regions(fleet, missing)
        assert answer.ids.tolist() == fs.faultset(without(fleet, missing), 100.0, PRECISION)
        assert set(answer.versions) == {0, 1, 3}
        with at_most(2.8), pytest.raises(RegionTimeout) as caught:
            driver.survivors(threshold_ms=100.0, deadline_s=2.0, partial=False)
        assert sorted(caught.value.missing) == regions(fleet, missing)
        assert caught.value.regions == len(regions(fleet, np.ones(len(fleet), np.bool_)))
    whole = driver.survivors(threshold_ms=100.0, partial=False)
    assert whole.ids.tolist() == fs.faultset(fleet, 100.0, PRECISION)
    assert region_actors()[2][0] == name, "it was late, not replaced"


def test_a_killed_actor_is_named_then_replaced(driver, fleet):
    before = driver.survivors(threshold_ms=100.0)
    _, pid, _ = region_actors()[1]
    missing = in_ranges(fleet, {1})
    with held_back(driver):
        os.kill(pid, signal.SIGKILL)
        until(lambda: 1 not in region_actors())
        with at_most(10.0):
            answer = driver.survivors(threshold_ms=100.0)
    assert sorted(answer.missing_regions) == regions(fleet, missing)
    assert answer.ids.tolist() == fs.faultset(without(fleet, missing), 100.0, PRECISION)
    whole = until(lambda: (found := driver.survivors(threshold_ms=100.0)).whole and found)
    assert whole.ids.tolist() == fs.faultset(fleet, 100.0, PRECISION)
    assert whole.versions[1][0] == before.versions[1][0] + 1, "the successor is of the next epoch"


def test_a_killed_node_is_named_then_replaced(driver, fleet, attached):
    """Last: it takes a node away from the module's cluster."""
    hosts = {index: node for index, (_, _, node) in region_actors().items()}
    victim = hosts[0]
    gone = {index for index, node in hosts.items() if node == victim}
    missing = in_ranges(fleet, gone)
    with held_back(driver):
        attached.kill(victim)
        with at_most(8.0):
            answer = driver.survivors(threshold_ms=100.0, deadline_s=5.0)
    assert sorted(answer.missing_regions) == regions(fleet, missing)
    assert answer.ids.tolist() == fs.faultset(without(fleet, missing), 100.0, PRECISION)
    whole = until(lambda: (found := driver.survivors(threshold_ms=100.0)).whole and found)
    assert whole.ids.tolist() == fs.faultset(fleet, 100.0, PRECISION)
    assert victim not in {node for _, _, node in region_actors().values()}
