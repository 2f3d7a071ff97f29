"""One answer from the parts of all ranges: a million nodes in 370,000 regions, and regions that borrow."""

from __future__ import annotations

import pickle

import answers
import numpy as np
import pytest

from faultset_ray.control.answer import Survivors
from faultset_ray.control.compose import compose
from faultset_ray.policy import Policy

POLICIES = {
    "no policy": None,
    "default policy": Policy(),
    "everywhere": Policy(survivors_min=2, fallback="everywhere", panic="all"),
    "nearest": Policy(survivors_min=2, fallback="nearest", panic="all"),
}


@pytest.fixture(scope="module")
def fleet():
    return answers.fleet()


def answer_of(fleet, policy):
    ids = np.array([f"n{index}" for index in range(answers.NODES)], object)
    return Survivors("f", 100.0, 0, ids, compose(answers.parts_of(fleet, policy), policy), {}, [], policy=policy)


@pytest.mark.parametrize("name", POLICIES)
def test_compose_a_million_nodes(benchmark, fleet, name):
    parts = answers.parts_of(fleet, POLICIES[name])
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
