"""The driver on real Ray nodes: survivors over region actors, encode and decode over the pool of tasks."""

from __future__ import annotations

import numpy as np
import pytest

from actors.local_cluster import LocalCluster, LocalNode
from faultset_ray.driver.sync import connect
from faultset_ray.limits import MIB
from faultset_ray.model import Fleet

NODES = 7
FLEET_NODES = 100_000
OBJECT_BYTES = 64 * MIB


@pytest.fixture(scope="module")
def driver():
    labels = [{"faultset.io/store": "true", "faultset.io/region": f"r{index}"} for index in range(NODES)]
    with (
        LocalCluster([LocalNode(label) for label in labels]) as cluster,
        connect(cluster.address, region_actors=4) as driver,
    ):
        yield driver


@pytest.fixture(scope="module")
def fleet(driver):
    dice = np.random.default_rng(1)
    return driver.register(
        Fleet(
            [f"n{index}" for index in range(FLEET_NODES)],
            dice.uniform(-80, 80, FLEET_NODES),
            dice.uniform(-180, 180, FLEET_NODES),
            dice.uniform(0, 200, FLEET_NODES),
        ),
        precision=3,
    )


def test_survivors_of_100_000_nodes_over_4_actors(benchmark, driver, fleet):
    answer = benchmark(driver.survivors, threshold_ms=100.0, partial=False)
    assert len(answer) == int((fleet.latency_ms <= 100.0).sum())


def test_observe_100_000_nodes(benchmark, driver, fleet):
    latencies = np.random.default_rng(2).uniform(0, 200, FLEET_NODES)
    assert benchmark(driver.observe, fleet.handles, latencies) == FLEET_NODES


@pytest.fixture(scope="module")
def payload():
    return np.random.default_rng(3).integers(0, 256, OBJECT_BYTES, np.uint8)


def test_encode_64_mib_as_rs_4_3(benchmark, driver, payload):
    driver.encode(payload, "rs:4+3").free()  # starts the stores and the pool's workers

    def encode():
        driver.encode(payload, "rs:4+3").free()

    benchmark.pedantic(encode, rounds=5)
    benchmark.extra_info["MB/s"] = OBJECT_BYTES / benchmark.stats["median"] / 1e6


def test_decode_64_mib_of_rs_4_3(benchmark, driver, payload):
    shards = driver.encode(payload, "rs:4+3")
    out = np.empty_like(payload)
    benchmark.pedantic(driver.decode, (shards, out), rounds=5)
    benchmark.extra_info["MB/s"] = OBJECT_BYTES / benchmark.stats["median"] / 1e6
    assert np.array_equal(out, payload)
