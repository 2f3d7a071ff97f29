"""Reads of objects in virtual time: how long they take when a store is slow, and how much more is read for it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from running import simulate

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.limits import KIB

PLACES = [
    Place("home"),
    *(Place(f"p{at}", {"faultset.io/region": f"r{at % 4}", "faultset.io/store": "true"}) for at in range(9)),
]


def slow_down(sim, place, service_ms):
    """A store takes some time for each call; the simulator's calls take none beside the way there and back."""
    store = sim._world.hosted[f"store/{place}"].servant
    read = type(store).read_batch
    dice = np.random.default_rng(sum(place.encode()))

    async def slowly(reads):
        await sim.sleep(float(dice.uniform(*service_ms)) / 1000)
        return read(store, reads)

    store.read_batch = slowly


def latencies(seed, slow_factor, *, reads=600, together=1):
    """Of gets of small objects, in virtual ms, with one store so many times as slow as the others."""
    sim = SimBackend(PLACES, seed=seed, faults=SimFaults(delay_ms=(0.2, 1.0)))

    async def scenario():
        driver = await AsyncDriver.start(sim, "reads")
        data = {f"o{at}": sim.token(8 * KIB) for at in range(40)}
        await asyncio.gather(*(driver.put(name, value) for name, value in data.items()))
        for place in PLACES[1:]:
            factor = slow_factor if place.id == "p4" else 1.0
            slow_down(sim, place.id, (2.0 * factor, 6.0 * factor))
        dice = np.random.default_rng(seed)
        names = list(data)

        async def timed():
            name = names[int(dice.integers(len(names)))]
            begun = sim.uptime_s()
            assert await driver.get(name) == data[name]
            return 1000 * (sim.uptime_s() - begun)

        took = []
        for _ in range(reads // together):
            took += await asyncio.gather(*(timed() for _ in range(together)))
        pace = driver._objects.lines.pace
        await driver.close()
        return np.array(took), pace

    return simulate(sim, scenario())


@pytest.mark.parametrize("together", [1, 8])
def test_one_slow_store_hardly_shows(together):
    even, _ = latencies(3, 1.0, together=together)
    took, pace = latencies(3, 10.0, together=together)
    assert pace.hedges > 0, "it was found out by waiting"
    assert pace.hedges <= 0.2 * pace.reads
    assert np.percentile(took, 99) <= 1.3 * np.percentile(even, 99)
    assert np.median(took) <= 1.3 * np.median(even)


def test_hedges_stay_within_their_budget_when_all_stores_swing():
    took, pace = latencies(5, 30.0, reads=400, together=4)
    assert pace.hedges <= 0.2 * pace.reads
    assert took.max() < 1_000.0


def test_a_store_that_hangs_is_not_waited_for():
    sim = SimBackend(PLACES, seed=8)

    async def scenario():
        driver = await AsyncDriver.start(sim, "hangs")
        data = sim.token(300_000)
        await driver.put("o", data, stripe_bytes=64 * KIB)
        stat = await driver.stat("o")
        for index in (0, 3):
            sim.cut(stat.locations[index][1])
        begun = sim.uptime_s()
        assert await driver.get("o") == data
        assert sim.uptime_s() - begun < 2.0, "a read's deadline is ten seconds"
        begun = sim.uptime_s()
        assert await driver.get("o", (1_000, 90_000)) == data[1_000:90_000]
        assert sim.uptime_s() - begun < 0.5, "the driver knows them by now"
        await driver.close()

    simulate(sim, scenario())
