"""Parts of an answer about a million nodes in 370,000 regions, as ranges would give them."""

from __future__ import annotations

import time

import numpy as np

from faultset_ray.control.compose import RegionPart, Rest, compose
from faultset_ray.control.ladder import flag_regions, rest_of
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.geohash import encode_many
from faultset_ray.kernels.group import group_cells
from faultset_ray.kernels.health import NEVER
from faultset_ray.kernels.select import select_grouped
from faultset_ray.policy import Policy

NODES = 1_000_000
PLACES = 400_000
RANGES = 4


def fleet(seed=1):
    """Cells and latencies."""
    dice = np.random.default_rng(seed)
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
        none, never = np.zeros(len(counts), np.bool_), np.full(len(counts), NEVER)
        flagged, _ = flag_regions(none, never, counts, np.diff(groups.starts), policy, 1)
        others, numbers = rest_of(groups.order, groups.starts, flagged, latencies > 100.0, latencies)
        rest = Rest(numbers, handles[others])
    first = handles[groups.order[groups.starts[:-1]]]
    return RegionPart(1, 1, 1, groups.cells, first, counts, handles[slots], flagged, rest)


def policy_costs():
    """Time of composing under the default policy over that without one, the best of runs in turn."""
    seconds = {None: [], Policy(): []}
    for seed in range(9):
        parts = parts_of(fleet(seed), None)
        for policy, taken in seconds.items():
            before = time.perf_counter()
            compose(parts, policy)
            taken.append(time.perf_counter() - before)
    plain, default = map(min, seconds.values())
    return default / plain
