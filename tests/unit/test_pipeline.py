"""faultset and faultset_async: regions, merging, and what is refused first."""

import asyncio
import math
import pickle
import threading

import pytest

import faultset_ray as fs
from faultset_ray import pipeline
from faultset_ray.errors import (
    DuplicateIdError,
    EmptyNodesError,
    FaultsetError,
    InputError,
    InvalidGeohashError,
    InvalidNodeError,
    LengthMismatchError,
    NegativeThresholdError,
    NoSurvivorsError,
)
from faultset_ray.kernels.select import select_grouped

# tokyo, london, tokyo, london, nowhere near; by appearance: tokyo, london, sea
NODES = [
    ("t1", 35.0, 139.0, 60.0),
    ("l1", 51.5, -0.1, 10.0),
    ("t2", 35.0, 139.0, 50.0),
    ("l2", 51.5, -0.1, 200.0),
    ("s1", 0.0, -150.0, math.nan),
    ("l3", 51.5, -0.1, 10.0),
]


def run_async(*arguments, **options):
    return asyncio.run(fs.faultset_async(*arguments, **options))


both = pytest.mark.parametrize("call", [fs.faultset, run_async])


@both
def test_regions_come_in_order_of_first_appearance(call):
    assert call(NODES, 100.0, 5) == ["t2", "t1", "l1", "l3"]
    assert call(fs.Fleet.of(NODES), 100.0) == ["t2", "t1", "l1", "l3"]
    assert call(NODES, 55.0) == ["t2", "l1", "l3"]
    assert call(NODES, 20.0) == ["l1", "l3"]


@both
def test_order_of_latency(call):
    assert call(NODES, 100.0, order="latency") == ["l1", "l3", "t2", "t1"]


@both
def test_no_survivors(call):
    for order in ("appearance", "latency"):
        with pytest.raises(NoSurvivorsError, match="all clusters yielded no survivors") as caught:
            call(NODES, 5.0, 3, order=order)
        for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
            assert error.by_region == {"xn4": 2, "gcp": 3, "88j": 1}
        assert caught.value.threshold == 5.0


BAD = ("x", 91.0, 0.0, 1.0)


@both
@pytest.mark.parametrize(
    ("error", "nodes", "arguments"),
    [
        (EmptyNodesError, [], (-1.0, 0)),
        (LengthMismatchError, {"id": ["a"], "lat": [99.0, 1.0], "lon": [0.0], "latency": [0.0]}, (-1.0, 0)),
        (NegativeThresholdError, [BAD, BAD], (-1.0, 0)),
        (NegativeThresholdError, fs.Fleet.of(NODES), (math.nan, 0)),
        (InvalidGeohashError, [BAD, BAD], (1.0, 0)),
        (InvalidGeohashError, [BAD, BAD], (1.0, 13)),
        (InvalidNodeError, [BAD, BAD], (1.0, 5)),
        (DuplicateIdError, [NODES[0], NODES[0]], (1.0, 5)),
        (InputError, NODES, (True, 5)),
    ],
)
def test_what_is_refused_and_in_which_order(call, error, nodes, arguments):
    with pytest.raises(FaultsetError) as caught:
        call(nodes, *arguments)
    assert caught.type is error


@both
def test_unknown_orders(call):
    with pytest.raises(InputError, match="order is 'best'"):
        call(NODES, 100.0, order="best")


@both
def test_duplicates(call):
    nodes = [*NODES, ("l2", 51.5, -0.1, 1.0)]
    with pytest.raises(DuplicateIdError):
        call(nodes, 100.0)
    assert call(nodes, 100.0, on_duplicate="keep") == ["t2", "t1", "l1", "l3"]
    assert call(nodes, 100.0, on_duplicate="min") == ["t2", "t1", "l2", "l1", "l3"]


def test_the_event_loop_goes_on(monkeypatch):
    went_on = threading.Event()

    def waiting(*arguments):
        assert went_on.wait(timeout=30)
        return select_grouped(*arguments)

    async def scenario():
        asyncio.get_running_loop().call_later(0, went_on.set)
        return await fs.faultset_async(NODES, 100.0)

    monkeypatch.setattr(pipeline, "select_grouped", waiting)
    assert asyncio.run(scenario()) == ["t2", "t1", "l1", "l3"]
