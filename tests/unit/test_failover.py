"""failover, failover_async and failover_indices: who survives, in what order, and what is refused first."""

import asyncio
import math
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
from naive.failover import failover as naive

import faultset_ray as fs
from faultset_ray import pipeline
from faultset_ray.errors import (
    EmptyNodesError,
    FaultsetError,
    InputError,
    InvalidNodeError,
    LengthMismatchError,
    NegativeThresholdError,
)
from faultset_ray.kernels import select as kernel
from faultset_ray.kernels.select import THREAD_NODES_MIN, select, select_grouped

IDS = ["a", "b", "c", "d", "e"]


def run_async(*arguments, **options):
    return asyncio.run(fs.failover_async(*arguments, **options))


@pytest.mark.parametrize("call", [fs.failover, run_async])
def test_the_rule(call):
    assert call(IDS, [50.0, 150.0, 75.0, 50.0, 100.0], 100.0) == ["a", "d", "c", "e"]
    assert call(IDS, [50, 150, 75, 50, 100], 49) == []


@pytest.mark.parametrize("call", [fs.failover, run_async])
@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (EmptyNodesError, ([], [-1.0], -1.0)),
        (LengthMismatchError, (["a"], [-1.0, 1.0], -1.0)),
        (NegativeThresholdError, (["a"], [-1.0], -1.0)),
        (NegativeThresholdError, (["a"], [1.0], math.nan)),
        (NegativeThresholdError, (["a"], ["x"], -0.1)),
        (InvalidNodeError, (["a"], [-1.0], 1.0)),
        (InputError, (["a"], [-1.0], True)),
        (InputError, (["a"], [-1.0], "1")),
        (InputError, (["a"], [-1.0], None)),
        (InputError, (["a"], [1], 10**400)),
        (InputError, (["a"], [1], 10**5000)),
        (NegativeThresholdError, (["a"], [1], -(10**400))),
        (InputError, (None, [1], 1)),
        (InputError, (["a"], None, 1)),
        (InputError, ((node for node in "a"), [1], 1)),
        (InputError, (["a"], (latency for latency in [1]), 1)),
        (InputError, ("a", [1], 1)),
        (InputError, (np.array("a"), [1], 1)),
        (InvalidNodeError, ([1, 2, 3], [1, 2, 3], 1)),
        (InvalidNodeError, (["a", None], [1, 2], 0)),
        (InvalidNodeError, (["a", ""], [1, 2], 0)),
        (NegativeThresholdError, ([1], [1], -1)),
    ],
)
def test_what_is_refused_and_in_which_order(call, error, arguments):
    with pytest.raises(FaultsetError) as caught:
        call(*arguments)
    assert caught.type is error


@pytest.mark.parametrize("threads", [0, -1, True, 1.0, None, "2"])
def test_threads_are_a_whole_number(threads):
    with pytest.raises(InputError, match="threads"):
        fs.failover_indices([1.0], 1.0, threads=threads)
    with pytest.raises(InputError, match="threads"):
        fs.failover(["a"], [1.0], 1.0, threads=threads)


@pytest.mark.parametrize("latencies", [None, 5.0, (1.0 for _ in range(2)), "12"])
def test_latencies_without_a_length_are_refused(latencies):
    with pytest.raises(InputError, match="latencies"):
        fs.failover_indices(latencies, 1.0)


def test_indices_are_refused_likewise():
    for error, arguments in [
        (EmptyNodesError, ([], -1.0)),
        (NegativeThresholdError, ([-1.0], -1.0)),
        (InvalidNodeError, ([1.0, -1.0], 1.0)),
        (InvalidNodeError, ([1.0, True], 1.0)),
        (InvalidNodeError, (np.array([True]), 1.0)),
    ]:
        with pytest.raises(FaultsetError) as caught:
            fs.failover_indices(*arguments)
        assert caught.type is error


def test_an_invalid_latency_is_named():
    with pytest.raises(InvalidNodeError) as caught:
        fs.failover(IDS, [1.0, 2.0, -3.0, -4.0, 5.0], 1.0)
    assert (caught.value.index, caught.value.node_id, caught.value.value) == (2, "c", -3.0)
    with pytest.raises(InvalidNodeError) as caught:
        fs.failover(IDS, [1.0, 2.0, 3.0, False, 5.0], 1.0)
    assert (caught.value.index, caught.value.node_id, caught.value.value) == (3, "d", False)


def test_edges_of_the_rule():
    latencies = [math.nan, math.inf, 0.0, -0.0, 5e-324, 1e308, -math.nan]
    ids = ["nan", "inf", "zero", "minus zero", "tiny", "huge", "minus nan"]
    assert fs.failover(ids, latencies, math.inf) == ["zero", "minus zero", "tiny", "huge", "inf"]
    assert fs.failover(ids, latencies, 1e308) == ["zero", "minus zero", "tiny", "huge"]
    assert fs.failover(ids, latencies, 0) == ["zero", "minus zero"]
    assert fs.failover(ids, latencies, -0.0) == ["zero", "minus zero"]
    assert fs.failover(["a"], [math.nan], math.inf) == []


def test_the_threshold_is_exact():
    below, threshold, above = math.nextafter(100.1, 0), 100.1, math.nextafter(100.1, 200)
    assert fs.failover(["above", "at", "below"], [above, threshold, below], threshold) == ["below", "at"]
    assert fs.failover(["a"], np.array([100.1], np.float32), 100.1) == ["a"]  # 100.0999985 as float64
    assert fs.failover(["a"], [2**53 + 2], 2**53) == []


@pytest.mark.parametrize("make", [tuple, np.array, pd.Series, pl.Series, lambda ids: np.array(ids, object)])
def test_ids_and_latencies_of_any_kind(make):
    found = fs.failover(make(IDS), make([5, 4, 3, 2, 1]) if make is not tuple else (5, 4, 3, 2, 1), 3)
    assert found == ["e", "d", "c"]
    assert all(type(survivor) is str for survivor in found)


def test_a_series_is_taken_by_position():
    shuffled = pd.Series([5.0, 4.0, 3.0], index=[2, 0, 1])
    assert fs.failover(pd.Series(["a", "b", "c"], index=[2, 0, 1]), shuffled, 4) == ["c", "b"]


def test_input_is_left_alone():
    latencies = np.array([3.0, 1.0, 2.0])
    fs.failover_indices(latencies, 2.0)
    assert latencies.tolist() == [3.0, 1.0, 2.0]
    latencies.flags.writeable = False
    indices = fs.failover_indices(latencies, 2.0)
    assert indices.dtype == np.int64
    assert indices.tolist() == [1, 2]


def test_strided_latencies():
    assert fs.failover_indices(np.arange(10.0)[::-2], 5.0).tolist() == [4, 3, 2]


@pytest.mark.parametrize(
    "latencies",
    [
        np.concatenate([[0.0], 98 + np.arange(3000)[::-1] * math.ulp(98.0)]),  # agree in all bits that fit a key
        np.concatenate([[0.0], np.repeat(98 + np.arange(1000) * math.ulp(98.0), 3)[::-1]]),
        np.random.default_rng(1).permutation(98 + np.arange(3000) % 50 * math.ulp(98.0) / 2**0),
        10 ** np.random.default_rng(2).uniform(-320, 300, 5000),
        np.random.default_rng(3).integers(0, 5, 5000).astype(float),
    ],
)
def test_latencies_that_are_hard_to_sort(latencies):
    ids = list(range(len(latencies)))
    assert fs.failover_indices(latencies, 1e300).tolist() == naive(ids, latencies.tolist(), 1e300)


def test_what_would_be_sorted_slowly_is_sorted_by_numpy(monkeypatch):
    called, lexsort = [], kernel._lexsort
    monkeypatch.setattr(kernel, "_lexsort", lambda *columns: called.append(1) or lexsort(*columns))
    falling = 98 + np.arange(3000.0)[::-1] * math.ulp(98.0)
    assert fs.failover_indices(np.concatenate([[0.0], falling]), 100.0).tolist() == [0, *range(3000, 0, -1)]
    assert called == [1]


@pytest.mark.parametrize("count", [1, THREAD_NODES_MIN - 1, 2 * THREAD_NODES_MIN, 3 * THREAD_NODES_MIN + 7])
@pytest.mark.parametrize("values", ["spread", "ties", "one", "none"])
def test_threads_change_nothing(count, values):
    rng = np.random.default_rng(count)
    latency = {
        "spread": rng.gamma(2.0, 40.0, count),
        "ties": rng.integers(0, 200, count).astype(float),
        "one": np.full(count, 7.0),
        "none": np.full(count, np.nan),
    }[values]
    expected = np.flatnonzero(latency <= 100.0)
    expected = expected[np.argsort(latency[expected], kind="stable")]
    for threads in (1, 2, 3, 64):
        assert np.array_equal(fs.failover_indices(latency, 100.0, threads=threads), expected)


def test_groups_are_selected_one_by_one():
    latency = np.array([5.0, 1.0, 4.0, np.nan, 0.0, 9.0, 1.0])
    order, starts = np.array([6, 1, 0, 5, 3, 4]), np.array([0, 3, 4, 4, 6])
    indices, counts = select_grouped(latency, order, starts, 5.0)
    assert indices.tolist() == [6, 1, 0, 4]
    assert counts.tolist() == [3, 0, 0, 1]


def test_nothing_to_select_from():
    nothing = np.empty(0)
    assert select(nothing, 1.0, threads=4).tolist() == []
    indices, counts = select_grouped(nothing, np.empty(0, np.int64), np.zeros(1, np.int64), 1.0)
    assert (len(indices), len(counts)) == (0, 0)


def test_the_event_loop_goes_on(monkeypatch):
    """The selection waits for what only the loop can do."""
    went_on = threading.Event()

    def waiting(*arguments):
        assert went_on.wait(timeout=30)
        return select(*arguments)

    async def scenario():
        asyncio.get_running_loop().call_later(0, went_on.set)
        return await fs.failover_async(["a", "b"], [2.0, 1.0], 2.0)

    monkeypatch.setattr(pipeline, "select", waiting)
    assert asyncio.run(scenario()) == ["b", "a"]
