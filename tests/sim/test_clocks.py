"""Clocks that are wrong: a driver's that is ahead blinds nobody, not even itself."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from running import simulate
from sim.object_world import Client

import faultset_ray as fs
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.keeper import address

NODES = [(f"n{index}", 10.0 + 5 * index, 20.0, 20.0) for index in range(10)]
GOOD = [20.0] * len(NODES)
HOUR_MS = 3_600_000
POLICY = fs.Policy(threshold_ms=100.0, ttl_s=60.0)


def drivers(scenario):
    """``scenario(sim, right, wrong, life)``: two drivers of one system; the second one's clock is set by ``life``."""
    sim = SimBackend([Place(f"p{index}", cpus=2) for index in range(4)], seed=3)

    async def main():
        life = {"over": False, "ahead_ms": 0}
        right = await AsyncDriver.start(Client(sim), "x", region_actors=2)
        wrong = await AsyncDriver.start(Client(sim, life), "x", region_actors=2)
        await scenario(sim, right, wrong, life)
        await wrong.close()
        await right.close()

    simulate(sim, main())


@pytest.mark.parametrize("ahead_ms", [20_000, HOUR_MS])
def test_a_question_from_the_future_makes_nobody_stale(ahead_ms):
    async def scenario(sim, right, wrong, life):
        fleet = await right.register(NODES, 3, policy=POLICY)
        await right.observe(fleet.handles, GOOD)
        await sim.sleep(50)
        life["ahead_ms"] = ahead_ms
        answer = await wrong.survivors()
        assert len(answer) == len(NODES)
        assert answer.clock_ahead_ms == pytest.approx(ahead_ms, abs=100)
        for ask in (lambda: wrong.why("n0"), lambda: wrong.plan(POLICY), lambda: wrong.watch().start()):
            await ask()
        assert (await right.survivors()).clock_ahead_ms == 0
        for _ in range(5):
            assert len(await right.survivors()) == len(NODES)
            assert await right.observe(fleet.handles, GOOD) == len(NODES)
            await sim.sleep(30)
        await sim.sleep(60)
        assert len(await wrong.survivors()) == 0, "who is not measured any more is stale for all, by the hosts' clocks"

    drivers(scenario)


def test_samples_from_the_future_are_as_old_as_they_came():
    async def scenario(sim, right, wrong, life):
        life["ahead_ms"] = HOUR_MS
        fleet = await wrong.register(NODES, 3, policy=POLICY)
        bad = [500.0] * len(NODES)
        assert await wrong.observe(fleet.handles, GOOD) == len(NODES)
        await sim.sleep(1)
        assert await right.observe(fleet.handles, bad) == len(NODES), "nothing newer is known"
        assert len(await right.survivors()) == 0
        await sim.sleep(1)
        assert await wrong.observe(fleet.handles, GOOD) == len(NODES)
        assert len(await right.survivors()) == len(NODES)
        old = sim.now_ms() + HOUR_MS - 10_000
        assert await wrong.observe(fleet.handles, bad, at_ms=old) == 0, "of ten seconds ago, by the same clock"
        await sim.sleep(70)
        assert (await right.why("n0")).state.label == "unknown", "stale after the TTL, not an hour later"

    drivers(scenario)


def test_a_steward_from_the_future_freezes_nothing_for_long():
    """Most of the fleet fails at once while a driver that is an hour ahead has the lease."""

    async def scenario(sim, right, wrong, life):
        life["ahead_ms"] = HOUR_MS
        fleet = await wrong.register(NODES, 3, policy=replace(POLICY, freeze_at=0.5))
        await sim.sleep(5)
        for _ in range(6):
            await wrong.observe(fleet.handles, [500.0] * len(NODES))
            await sim.sleep(2)
        frozen_until_ms = (await right.survivors()).frozen_until_ms
        assert frozen_until_ms is None or frozen_until_ms < sim.now_ms() + 60_000
        assert frozen_until_ms is not None, "it was frozen at all"

    drivers(scenario)


def test_what_was_saved_by_a_wrong_clock_is_set_back():
    """The machine of a range is an hour ahead, as its drivers are; its successor is on one that is right."""

    async def scenario(sim, right, wrong, life):
        fleet = await right.register(NODES, 3, policy=POLICY)
        [place] = {
            sim._world.hosted[address("default", info).name].place
            for info in (await right._keeper.directory("default")).ranges[:1]
        }
        for hosted in sim._world.hosted.values():
            if hosted.place == place:
                hosted.servant.clock = SimpleNamespace(now_ms=lambda: sim.now_ms() + HOUR_MS)
        life["ahead_ms"] = HOUR_MS
        await sim.sleep(1)
        await wrong.observe(fleet.handles, GOOD)
        await sim.sleep(15)
        wrong._steward._task.cancel()
        life["over"] = True
        sim.kill(place)
        await right.survivors()
        while not (answer := await right.survivors()).whole:
            await sim.sleep(1)
        assert len(answer) == len(NODES)
        assert await right.observe(fleet.handles, [500.0] * len(NODES)) == len(NODES), "it is believed at once"
        assert len(await right.survivors()) == 0

    drivers(scenario)


def test_no_range_has_seen_a_time_that_never_was():
    async def scenario(sim, right, wrong, life):
        await right.register(NODES, 3, policy=POLICY)
        life["ahead_ms"] = HOUR_MS
        await wrong.survivors()
        await sim.sleep(30)
        directory = await right._keeper.directory("default")
        for info in directory.ranges:
            region = sim._world.hosted[address("default", info).name].servant
            assert region._now_ms <= sim.now_ms()
            assert int(region._health.last_ms.max(initial=0)) <= sim.now_ms()
        assert np.all(directory.registered_ms <= sim.now_ms())

    drivers(scenario)
