"""A million nodes resident in health columns, batches of samples of them, and what these cost."""

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from peers import chance

from faultset_ray import Policy
from faultset_ray.control.decisions import decide
from faultset_ray.control.health import Health, absorb, needs_sketch
from faultset_ray.policy import Rules

NODES = 1_000_000
CELLS = 370_000
BATCH = 100_000
ROUNDS = 15


def policy(statistic: str) -> Policy:
    """One that uses everything: windows, hold-down, TTL, caps."""
    return Policy(
        statistic=statistic, threshold_ms=250.0, samples=(3, 5, 3), hold_s=(5, 60), ttl_s=120, eject_max=0.5
    )  # fmt: skip


def nodes(rules: Rules) -> Health:
    """All measured once and decided about."""
    cells = chance.integers(0, CELLS, NODES).astype(np.uint64) << np.uint64(30) | np.uint64(6)
    health = Health.empty(np.arange(NODES, dtype=np.uint32), cells, sketch=needs_sketch(rules))
    absorb(health, np.arange(NODES), chance.gamma(4.0, 25.0, NODES), None, 0, rules)
    decide(health, rules, 0)
    _ = health.groups, health.group_of, health.handle_table
    return health


def batches(samples: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Slots at random, latencies of which some are bad, and a time, for ever."""
    now_ms = 0
    while True:
        now_ms += 700
        yield chance.integers(0, NODES, samples), chance.gamma(4.0, 25.0, samples), now_ms


def seconds(call: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def absorb_ns(statistic: str, samples: int) -> float:
    """Nanoseconds a sample: the median of batches."""
    rules = policy(statistic).rules
    health, given, found = nodes(rules), batches(samples), []
    for _ in range(ROUNDS):
        slots, latency, now_ms = next(given)
        found.append(seconds(absorb, health, slots, latency, None, now_ms, rules))
    return 1e9 * statistics.median(found) / samples


def decide_ms(statistic: str) -> float:
    """Milliseconds of one decision about all nodes, after each batch."""
    rules = policy(statistic).rules
    health, given, found = nodes(rules), batches(BATCH), []
    for _ in range(ROUNDS):
        slots, latency, now_ms = next(given)
        absorb(health, slots, latency, None, now_ms, rules)
        found.append(seconds(decide, health, rules, now_ms))
    return 1e3 * statistics.median(found)


def bytes_a_node(statistic: str) -> float:
    """All arrays of nodes at rest, with their groups and table of handles; ids are elsewhere.

    What a range holds besides, its journal above all, is measured by ``make test-long-node_bytes``.
    """
    health = nodes(policy(statistic).rules)
    arrays = [health.octets, health.handles, health.cells, health.entered, health.sketch, health.thresholds]
    arrays += [*health.groups, health.group_of, health.handle_table[0], health.unmarked]
    return sum(array.nbytes for array in arrays) / NODES
