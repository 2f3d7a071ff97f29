"""Reads of objects in virtual time: how long they take when a store is slow, and how much more is read for it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from running import simulate

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.limits import KIB, STORE_LARGE_CALLS_MAX

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


NEAR, FAR = (4.0, 5.0), (40.0, 44.0)


def regions(*, far, here=0):
    """Places with stores, three of each region; the driver is at the first of all, which has none."""
    return [
        Place("home", {"faultset.io/cell": CELLS[here]}),
        *(Place(f"p{at}", {"faultset.io/cell": CELLS[at in far], "faultset.io/store": "true"}) for at in range(6)),
    ]


CELLS = ["u33db", "r3gx2"]
"""Berlin and Sydney."""


class Readings:
    """Gets of small objects with how long they took, and which shards were read."""

    def __init__(self, seed, places):
        self.sim = SimBackend(places, seed=seed, faults=SimFaults(delay_ms=(0.2, 1.0)))
        self.dice = np.random.default_rng(seed)
        self.wanted, self.tried = [], []

    async def start(self, code):
        self.driver = driver = await AsyncDriver.start(self.sim, "reads")
        self.data = {f"o{at}": self.sim.token(8 * KIB) for at in range(40)}
        for name, value in self.data.items():
            await driver.put(name, value, code=code, tolerate=2)
        self.watch(driver)

    def watch(self, driver):
        lines = driver._objects.lines
        read = lines.read

        def noted(store, what, nbytes, *, tried=False):
            (self.tried if tried else self.wanted).append(what[1])
            return read(store, what, nbytes, tried=tried)

        lines.read = noted
        self.pace = lines.pace

    def service(self, far):
        for at in range(6):
            slow_down(self.sim, f"p{at}", FAR if at in far else NEAR)

    async def gets(self, count, driver=None):
        """Virtual ms of each."""
        took = []
        for _ in range(count):
            name = f"o{self.dice.integers(40)}"
            begun = self.sim.uptime_s()
            assert await (driver or self.driver).get(name) == self.data[name]
            took.append(1000 * (self.sim.uptime_s() - begun))
        return np.array(took)


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize("code", ["rs:2+4", "copy:3"])
def test_the_nearest_shards_are_read_wherever_the_data_shards_are(code, probed):
    run = Readings(3, regions(far=()))

    async def scenario():
        await run.start(code)
        if probed:
            await (await run.driver.probe()).measured()
        run.service(())
        even = await run.gets(60)
        run.service({0, 1, 2})
        await run.gets(150)
        apart = await run.gets(200)
        run.service({3, 4, 5})
        await run.gets(300)
        moved = await run.gets(200)
        await run.driver.close()
        return even, apart, moved

    even, apart, moved = simulate(run.sim, scenario())
    for took in (apart, moved):
        far_only = 0.05 if code == "copy:3" else 0.0  # one object in twenty has all its copies far away
        assert np.median(took) <= 1.1 * np.median(even)
        assert np.percentile(took, 90 - 100 * far_only) <= 1.2 * np.percentile(even, 90)
    assert run.pace.tries <= run.pace.reads / 16
    assert run.pace.hedges <= 0.15 * run.pace.reads + 4


@pytest.mark.parametrize("service", [NEAR, (2.0, 6.0)])
def test_where_all_stores_are_alike_the_data_shards_are_read(service):
    run = Readings(4, regions(far=()))

    async def scenario():
        await run.start("rs:4+2")
        await (await run.driver.probe()).measured()
        for at in range(6):
            slow_down(run.sim, f"p{at}", service)
        await run.gets(600)
        await run.driver.close()

    simulate(run.sim, scenario())
    data = np.array(run.wanted) < 4
    assert data.sum() == run.pace.reads == 4 * 600
    assert (~data).sum() == run.pace.hedges, "parity is read in place of what is late alone"
    assert len(run.tried) == run.pace.tries == 0, "each store has data shards of some object"


def test_the_first_read_asks_those_that_are_near_by_the_map():
    run = Readings(5, regions(far={0, 1, 2}))

    async def scenario():
        await run.start("rs:3+3")
        async with await run.driver.probe() as probing:
            await probing.measured()
            other = await AsyncDriver.start(run.sim, "reads")
            assert other._trips() == {}, "it measures nothing itself"
            run.watch(other)
            for name, value in list(run.data.items())[:4]:  # then it finds that there is no such distance
                run.wanted.clear()
                assert await other.get(name) == value
                layout = (await other.stat(name)).locations
                assert {layout[index][1] for index in run.wanted} == {"p3", "p4", "p5"}
            await other.close()
        await run.driver.close()

    simulate(run.sim, scenario())


@pytest.mark.parametrize("together", [1, 8])
def test_one_slow_store_hardly_shows(together):
    even, _ = latencies(3, 1.0, together=together)
    took, pace = latencies(3, 10.0, together=together)
    assert pace.hedges > 0, "it was found out by waiting"
    assert pace.hedges <= 0.2 * pace.reads
    assert np.percentile(took, 99) <= 1.3 * np.percentile(even, 99)
    assert np.median(took) <= 1.3 * np.median(even)


def test_of_large_blocks_few_are_asked_for_at_once_and_stripes_come_in_turn():
    sim = SimBackend(PLACES, seed=3)
    asked, most = [], []

    def watch(store):
        read, flying = type(store).read_batch, 0

        async def slowly(reads):
            nonlocal flying
            [(_, _, stripe, _, _)] = reads
            asked.append(stripe)
            flying += 1
            most.append(flying)
            await sim.sleep(0.01)
            flying -= 1
            return read(store, reads)

        store.read_batch = slowly

    async def scenario():
        driver = await AsyncDriver.start(sim, "reads")
        data = sim.token(64 * KIB) * 144
        await driver.put("large", data, code="copy:2", stripe_bytes=1536 * KIB)
        for _, place, _ in (await driver.stat("large")).locations.values():
            watch(sim._world.hosted[f"store/{place}"].servant)
        assert await driver.get("large") == data
        await driver.close()

    simulate(sim, scenario())
    assert sorted(asked) == list(range(6))
    assert all(abs(stripe - at) < STORE_LARGE_CALLS_MAX for at, stripe in enumerate(asked))  # two may pass each other
    assert max(most) == STORE_LARGE_CALLS_MAX


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
