"""Samples into the columns of a million nodes, and the decision about all of them."""

import pytest
import resident

from faultset_ray.control.decisions import decide, live_survivors, plain_survivors
from faultset_ray.control.health import absorb
from faultset_ray.policy import STATISTICS


@pytest.mark.parametrize("samples", [100_000, 1_000_000])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_absorb(benchmark, statistic, samples):
    benchmark.group = f"absorb {samples:,} samples"
    rules = resident.policy(statistic).rules
    health, batches = resident.nodes(rules), resident.batches(samples)

    def batch():
        slots, latency, now_ms = next(batches)
        return (health, slots, latency, None, now_ms, rules), {}

    benchmark.pedantic(absorb, setup=batch, rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_decide(benchmark, statistic):
    benchmark.group = "decide about 1,000,000 nodes, after 100,000 samples"
    rules = resident.policy(statistic).rules
    health, batches = resident.nodes(rules), resident.batches(resident.BATCH)

    def step():
        slots, latency, now_ms = next(batches)
        absorb(health, slots, latency, None, now_ms, rules)
        return (health, rules, now_ms), {}

    benchmark.pedantic(decide, setup=step, rounds=10, warmup_rounds=1)


def test_live_survivors(benchmark):
    benchmark.group = "survivors of 1,000,000 nodes in 370,000 cells"
    rules = resident.policy("ewma").rules
    benchmark.pedantic(live_survivors, setup=lambda: ((resident.nodes(rules), rules), {}), rounds=5, warmup_rounds=1)


def test_plain_survivors(benchmark):
    benchmark.group = "survivors of 1,000,000 nodes in 370,000 cells"
    rules = resident.policy("last").rules
    benchmark.pedantic(plain_survivors, setup=lambda: ((resident.nodes(rules), 100.0), {}), rounds=5, warmup_rounds=1)


def test_find(benchmark):
    benchmark.group = "slots of 100,000 handles"
    health, batches = resident.nodes(resident.policy("last").rules), resident.batches(resident.BATCH)
    benchmark.pedantic(
        health.find, setup=lambda: ((next(batches)[0].astype("uint32"),), {}), rounds=10, warmup_rounds=1
    )  # fmt: skip
