"""One driver alone brings up the servant of an epoch: epochs are not skipped for nothing, and none is used twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from running import simulate

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.coordinator.claims import Claims
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.keeper import Keeper, address
from faultset_ray.errors import CoordinatorUnavailable, LimitExceeded

NODES = [("a", 10.0, -150.0, 5.0), ("b", 10.0, 150.0, 5.0)]


class Spawned:
    """How often the servant of each epoch was brought up."""

    def __init__(self, monkeypatch):
        self.counted = Counter()
        spawn = Keeper.spawn

        async def counting(keeper, fleet, info, at=None):
            self.counted[fleet, info.id, info.epoch] += 1
            await spawn(keeper, fleet, info, at)

        monkeypatch.setattr(Keeper, "spawn", counting)


@pytest.fixture
def sim():
    return SimBackend([Place(f"p{index}") for index in range(4)], seed=7, faults=SimFaults(delay_ms=(1.0, 400.0)))


def test_a_fleet_that_is_brought_up_is_left_to_its_driver(sim, monkeypatch):
    spawned = Spawned(monkeypatch)

    async def scenario():
        first, second = [await AsyncDriver.start(sim, "claims", region_actors=2) for _ in range(2)]
        registering = asyncio.ensure_future(first.register(NODES, 2))
        while not registering.done():
            if "default" in await second._authority.ask(Coordinator.fleets):
                with suppress(CoordinatorUnavailable):  # nor did a region answer in time
                    await second.survivors(threshold_ms=9.0, deadline_s=0.5)
            await sim.sleep(0.01)
        await registering
        directory = await second._keeper.directory("default")
        assert [info.epoch for info in directory.ranges] == [1, 1]
        assert (await second.survivors(threshold_ms=9.0)).ids.tolist() == ["a", "b"]
        for driver in (second, first):
            await driver.close()

    simulate(sim, scenario())
    assert set(spawned.counted.values()) == {1}


def test_of_two_drivers_one_replaces_a_range(sim, monkeypatch):
    spawned = Spawned(monkeypatch)

    async def scenario():
        drivers = [await AsyncDriver.start(sim, "claims", region_actors=1) for _ in range(2)]
        await drivers[0].register(NODES, 2)
        for epoch in (1, 2):  # the second time before anything of the new epoch is saved
            directory = await drivers[0]._keeper.directory("default")
            [info] = directory.ranges
            assert info.epoch == epoch
            place = sim._world.hosted[address("default", info).name].place
            sim.kill(place)
            await asyncio.gather(*(driver.survivors(deadline_s=3.0) for driver in drivers))
            async with asyncio.timeout(120.0):
                while not (await drivers[epoch % 2].survivors()).whole:
                    pass
            sim.revive(place)
        for driver in drivers:
            await driver._keeper.settle()
        [info] = (await drivers[0]._keeper.directory("default")).ranges
        assert info.epoch == 3
        for driver in drivers:
            await driver.close()

    simulate(sim, scenario())
    assert set(spawned.counted.values()) == {1}


def test_who_claims_and_falls_silent_is_followed(sim, monkeypatch):
    async def scenario():
        first, second = [await AsyncDriver.start(sim, "claims", region_actors=1) for _ in range(2)]

        async def hang(*_):
            await sim.sleep(3600.0)

        monkeypatch.setattr(first._keeper, "spawn", hang)
        registering = asyncio.ensure_future(first.register(NODES, 2))
        await sim.sleep(5.0)
        registering.cancel()  # as if its process had died
        first._steward._task = None
        async with asyncio.timeout(120.0):
            while not (await second.survivors(threshold_ms=9.0)).whole:
                pass
        [info] = (await second._keeper.directory("default")).ranges
        assert info.epoch == 2
        await second.close()

    simulate(sim, scenario())


@pytest.mark.parametrize("registered_by_another", [False, True])
def test_servants_begun_for_a_fleet_that_is_refused_are_ended(sim, monkeypatch, registered_by_another):
    refused = []

    def register(self, *args, **kwargs):
        if registered_by_another:
            accept(self, *args, **kwargs)
        refused.append(args)
        raise LimitExceeded("the number of nodes", 2, 1)

    accept = Coordinator.register
    monkeypatch.setattr(Coordinator, "register", register)

    async def scenario():
        driver = await AsyncDriver.start(sim, "claims", region_actors=2)
        with pytest.raises(LimitExceeded):
            await driver.register(NODES, 2)
        await sim.sleep(20.0)
        hosted = {name for name in sim._world.hosted if name.startswith("region/")}
        assert hosted == ({"region/default/0/1", "region/default/1/1"} if registered_by_another else set())
        assert not driver._keeper._expected
        await driver.close()

    simulate(sim, scenario())
    assert len(refused) == 1


def test_claims():
    claims = Claims()
    assert claims.take(0, 1, "a", 0, 10.0)
    assert claims.is_busy(0, 1, "b", 9_999)
    assert not claims.is_busy(0, 1, "a", 0)
    assert not claims.is_busy(0, 2, "b", 0)
    assert not claims.take(0, 1, "b", 20_000, 10.0), "an epoch is one driver's, also when he is gone"
    assert not claims.is_busy(0, 1, "b", 10_000)
    assert claims.take(0, 2, "b", 20_000, 10.0)
    assert not claims.take(0, 1, "a", 20_000, 10.0)
    assert claims.take(0, 2, "b", 20_000, 0.0)
    assert not claims.is_busy(0, 2, "a", 20_000)
