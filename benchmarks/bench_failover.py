"""failover of 1,000 nodes, by one thread and many, and of 1,000,000, beside numpy's mask and stable argsort."""

import os

import pytest
from peers import latencies, numpy_failover

import faultset_ray as fs

CPUS = os.cpu_count() or 1


@pytest.mark.parametrize("threads", [1, CPUS], ids=["one thread", "many threads"])
@pytest.mark.parametrize("count", [1_000, 1_000_000])
def test_failover_indices(benchmark, count, threads):
    benchmark.group = f"failover of {count:,}"
    rounds = 2_000 if count == 1_000 else 50
    setup = lambda: ((latencies(count), 100.0), {"threads": threads})  # noqa: E731
    benchmark.pedantic(fs.failover_indices, setup=setup, rounds=rounds, warmup_rounds=2)


@pytest.mark.parametrize("count", [1_000, 1_000_000])
def test_failover_ids(benchmark, count):
    benchmark.group = f"failover of {count:,}"
    ids = [f"node-{index}" for index in range(count)]
    rounds = 2_000 if count == 1_000 else 10
    benchmark.pedantic(fs.failover, setup=lambda: ((ids, latencies(count), 100.0), {}), rounds=rounds, warmup_rounds=2)


@pytest.mark.parametrize("count", [1_000, 1_000_000])
def test_numpy(benchmark, count):
    benchmark.group = f"failover of {count:,}"
    rounds = 2_000 if count == 1_000 else 20
    benchmark.pedantic(numpy_failover, setup=lambda: ((latencies(count), 100.0), {}), rounds=rounds, warmup_rounds=2)
