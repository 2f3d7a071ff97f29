"""The coordinator's state: a million nodes registered, changed and read again, with what is kept on the disk."""

import numpy as np
import pytest

from faultset_ray.control.states import Mark
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet

COUNT = 1_000_000
PRECISION = 6


@pytest.fixture(scope="module")
def fleet():
    dice = np.random.default_rng(1)
    ids = [f"node-{number:07d}" for number in range(COUNT)]
    return Fleet(ids, dice.uniform(-60, 60, COUNT), dice.uniform(-170, 170, COUNT), dice.uniform(0, 200, COUNT))


@pytest.fixture(scope="module")
def cells(fleet):
    return encode_many(fleet.lat, fleet.lon, PRECISION)


@pytest.mark.benchmark(group="coordinator of 1,000,000 nodes")
@pytest.mark.parametrize("durable", [True, False], ids=["durable", "memory"])
def test_register(benchmark, fleet, cells, tmp_path, durable):
    begun = []

    def begin():
        begun.append(Coordinator(f"s{len(begun)}", durable, str(tmp_path)))
        begun[-1].about()
        return (begun[-1],), {}

    registered = benchmark.pedantic(
        lambda coordinator: coordinator.register(fleet, cells, PRECISION, 8, 1), setup=begin, rounds=3
    )
    assert len(registered.handles) == COUNT
    for coordinator in begun:
        coordinator.close()


@pytest.fixture
def registered(fleet, cells, tmp_path):
    coordinator = Coordinator("s", True, str(tmp_path))
    coordinator.register(fleet, cells, PRECISION, 8, 1)
    yield coordinator
    coordinator.close()


@pytest.mark.benchmark(group="coordinator of 1,000,000 nodes")
def test_register_again(benchmark, fleet, cells, registered):
    again = benchmark.pedantic(lambda: registered.register(fleet, cells, PRECISION, 8, 2), rounds=3)
    assert again.handles[-1] == COUNT - 1


@pytest.mark.benchmark(group="coordinator of 1,000,000 nodes")
def test_mark_one(benchmark, registered):
    registered.mark("default", ["node-0000000"], Mark.PIN)  # the ids are indexed by the first one
    marked = benchmark.pedantic(lambda: registered.mark("default", ["node-0000007"], Mark.DRAIN), rounds=20)
    assert marked.directory.marks[7] == Mark.DRAIN


@pytest.mark.benchmark(group="coordinator of 1,000,000 nodes")
def test_start_from_its_state(benchmark, registered, tmp_path):
    started = [registered]

    def stop():
        started.pop().close()

    def start():
        started.append(Coordinator("s", True, str(tmp_path)))
        return started[-1].directory("default")

    assert len(benchmark.pedantic(start, setup=stop, rounds=3).fleet) == COUNT
    started.pop().close()
