"""One answer from the parts of all ranges: a million nodes in 370,000 regions, and regions that borrow."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from faultset_ray.control.answer import Survivors
from faultset_ray.control.compose import RegionPart, Rest, compose
from faultset_ray.control.ladder import flag_regions, rest_of
from faultset_ray.control.policy import Policy
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.geohash import encode_many
from faultset_ray.kernels.group import group_cells
from faultset_ray.kernels.select import select_grouped

NODES = 1_000_000
PLACES = 400_000
RANGES = 4
POLICIES = {
    "no policy": None,
    "default policy": Policy(),
    "everywhere": Policy(survivors_min=2, fallback="everywhere", panic="all"),
    "nearest": Policy(survivors_min=2, fallback="nearest", panic="all"),
}


@pytest.fixture(scope="module")
def fleet():
    dice = np.random.default_rng(1)
    places = np.unique(encode_many(dice.uniform(-60, 70, PLACES), dice.uniform(-180, 180, PLACES), 5))
    return places[dice.integers(0, len(places), NODES)], dice.uniform(0, 200, NODES)


def parts_of(fleet, policy):
    cells, latency_ms = fleet
    ranges = range_of(plan_bounds(cells, RANGES), cells)
    return [part(np.flatnonzero(ranges == index), cells, latency_ms, policy) for index in range(RANGES)]


def part(nodes, cells, latency_ms, policy):
    groups, latencies = group_cells(cells[nodes]), latency_ms[nodes]
    slots, counts = select_grouped(latencies, groups.order, groups.starts, 100.0)
    handles = nodes.astype(np.uint32)
    flagged = rest = None
    if policy is not None and policy.survivors_min:
        flagged = flag_regions(np.zeros(len(counts), np.bool_), counts, np.diff(groups.starts), policy.survivors_min)
        others, numbers = rest_of(groups.order, groups.starts, flagged, latencies > 100.0, latencies)
        rest = Rest(numbers, handles[others])
    first = handles[groups.order[groups.starts[:-1]]]
    return RegionPart(1, 1, 1, groups.cells, first, counts, handles[slots], flagged, rest)


def answer_of(fleet, policy):
    ids = np.array([f"n{index}" for index in range(NODES)], object)
    return Survivors("f", 100.0, 0, ids, compose(parts_of(fleet, policy), policy), {}, [], policy=policy)


@pytest.mark.parametrize("name", POLICIES)
def test_compose_a_million_nodes(benchmark, fleet, name):
    parts = parts_of(fleet, POLICIES[name])
    composed = benchmark(compose, parts, POLICIES[name])
    benchmark.extra_info["regions"] = len(composed.cells)
    benchmark.extra_info["short"] = 0 if composed.shortage is None else len(composed.shortage.groups)


def test_pickle_an_answer(benchmark, fleet):
    packed = benchmark(pickle.dumps, answer_of(fleet, Policy()))
    benchmark.extra_info["MB"] = len(packed) / 1e6


@pytest.mark.parametrize("name", ["everywhere", "nearest"])
def test_resolve_a_short_region(benchmark, fleet, name):
    answer = answer_of(fleet, POLICIES[name])
    regions = iter(list(answer.short))
    by_region = answer.by_region
    by_region.get(next(regions))
    benchmark.pedantic(by_region.get, setup=lambda: ((next(regions),), {}), rounds=200)
