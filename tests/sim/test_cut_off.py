"""What is cut off holds nobody up: ranges that hang, and a coordinator that does not answer."""

import asyncio

import numpy as np
import pytest
from running import simulate

import faultset_ray as fs
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.keeper import address
from faultset_ray.errors import CoordinatorUnavailable, RegionTimeout
from faultset_ray.limits import CENSUS_SECONDS, RANGE_SILENT_SECONDS, STEWARD_SECONDS

NODES = 200
GOOD, BAD = np.full(NODES, 20.0), np.full(NODES, 500.0)


def fleet():
    dice = np.random.default_rng(1)
    ids = [f"n{index}" for index in range(NODES)]
    return fs.Fleet(ids, dice.uniform(-60, 60, NODES), dice.uniform(-170, 170, NODES), GOOD)


class Cluster:
    """One driver, and four ranges on places of their own, apart from the coordinator."""

    def __init__(self, sim, driver, fleet):
        self.sim, self.driver, self.fleet = sim, driver, fleet

    async def place_of(self, position):
        info = (await self.driver._keeper.directory("default")).ranges[position]
        return self.sim._world.hosted[address("default", info).name].place

    async def timed(self, work):
        """What came of it, and the seconds that it took."""
        began_s = self.sim.uptime_s()
        try:
            result = await work
        except fs.FaultsetError as error:
            result = error
        return result, self.sim.uptime_s() - began_s


def cluster(scenario, policy=None):
    sim = SimBackend([Place(f"p{index}", cpus=2) for index in range(6)], seed=1)

    async def main():
        driver = await AsyncDriver.start(sim, "x", region_actors=4)
        registered = await driver.register(fleet(), 3, policy=policy)
        await sim.sleep(3)
        await scenario(Cluster(sim, driver, registered))
        await driver.close()

    simulate(sim, main())


def test_a_report_is_taken_by_the_ranges_that_answer():
    async def scenario(world):
        lost = await world.place_of(0)
        world.sim.cut(lost)
        taken, seconds = await world.timed(world.driver.observe(world.fleet.handles, BAD, deadline_s=1.0))
        assert seconds == pytest.approx(1.0, abs=0.1)
        assert 0 < taken < NODES
        answer = await world.driver.survivors(deadline_s=1.0)
        assert not taken.whole
        assert taken.missing_regions == answer.missing_regions
        assert len(answer) == 0, "all who answered know it"
        taken, seconds = await world.timed(world.driver.observe(world.fleet.handles, GOOD))
        assert seconds < 4.0, "by default too"
        world.sim.heal(lost)
        while not (await world.driver.survivors()).whole:
            await world.sim.sleep(1.0)
        taken = await world.driver.observe(world.fleet.handles, GOOD)
        assert (taken, taken.whole, taken.missing_regions) == (NODES, True, [])

    cluster(scenario)


def test_healthy_regions_stay_so_while_another_hangs():
    """A feed that observes, waits a second and observes again, under a TTL shorter than a call may hang."""

    async def scenario(world):
        world.sim.cut(await world.place_of(0))
        for _ in range(8):
            taken = await world.driver.observe(world.fleet.handles, GOOD)
            await world.sim.sleep(1.0)
            answer = await world.driver.survivors(deadline_s=1.0)
            assert len(answer) == taken, "nobody is stale"

    cluster(scenario, fs.Policy(ttl_s=8.0))


def test_marks_and_registrations_hold_though_a_range_hangs():
    async def scenario(world):
        lost = await world.place_of(0)
        world.sim.cut(lost)
        missing = (await world.driver.survivors(deadline_s=1.0)).missing_regions
        ids = world.fleet.ids.tolist()
        marked, seconds = await world.timed(world.driver.mark(ids, "drain", deadline_s=1.0))
        assert (marked, marked.missing_regions) == (NODES, missing)
        assert seconds == pytest.approx(1.0, abs=0.1)
        removed, seconds = await world.timed(world.driver.remove(ids[::2], deadline_s=1.0))
        assert (removed, removed.whole) == (NODES // 2, False)
        assert seconds == pytest.approx(1.0, abs=0.1)
        more = [(f"m{index}", index - 60.0, 5.0 * index - 100.0, 3.0) for index in range(40)]
        error, seconds = await world.timed(world.driver.register(more, 3, deadline_s=1.0))
        assert isinstance(error, RegionTimeout)
        assert 0 < len(error.missing) < error.regions
        assert "are registered" in str(error)
        assert seconds == pytest.approx(1.0, abs=0.1)
        while not (answer := await world.driver.survivors(deadline_s=1.0)).whole:
            await world.sim.sleep(1.0)
        assert sorted(answer.ids) == sorted(node[0] for node in more), "all was told in the end"

    cluster(scenario)


def test_a_watch_waits_for_the_coordinator_longer_than_a_call():
    async def scenario(world):
        patient, idle = world.driver.watch(), world.driver.watch(idle_s=5.0)
        await patient.start()
        await idle.start()
        home = world.sim.home
        world.sim.cut(home)
        with pytest.raises(CoordinatorUnavailable):
            await anext(idle)
        waiting = asyncio.ensure_future(anext(patient))
        await world.sim.sleep(120.0)
        assert not waiting.done()
        world.sim.heal(home)
        await world.sim.sleep(1.0)
        await world.driver.observe(world.fleet.handles, BAD)
        seen = [await waiting]
        seen += [await anext(patient) for _ in range(NODES - 1)]
        assert sorted(change.id for change in seen if change.after.label == "ejected") == sorted(world.fleet.ids)

    cluster(scenario)


def test_a_watch_tells_of_the_others_and_later_of_the_range_that_hung():
    """A watch that goes on, and one that begins while the range is silent: each change once, however late."""

    async def scenario(world):
        lost = await world.place_of(0)
        old = world.driver.watch(idle_s=60.0)
        await old.start()
        world.sim.cut(lost)
        new, seconds = await world.timed(world.driver.watch(idle_s=60.0, deadline_s=1.0).start())
        assert seconds == pytest.approx(1.0, abs=0.1)
        taken = await world.driver.observe(world.fleet.handles, BAD, deadline_s=1.0)
        told = {}
        for watch in (old, new):
            began_s, seen = world.sim.uptime_s(), told.setdefault(watch, [])
            while len(seen) < taken:
                seen.append((await anext(watch)).id)
            assert world.sim.uptime_s() - began_s < 5.0, "nobody waits for the one that hangs"
        while not (await world.driver.survivors(deadline_s=1.0)).whole:
            await world.sim.sleep(1.0)
        world.sim.heal(lost)
        assert await world.driver.observe(world.fleet.handles, BAD) == NODES
        for watch in (old, new):
            told[watch] += [change.id async for change in watch]
            assert sorted(told[watch]) == sorted(world.fleet.ids), "each node's only change, once"

    cluster(scenario)


def test_a_range_that_hangs_is_replaced_after_it_was_silent_for_long_enough():
    async def scenario(world):
        world.sim.cut(await world.place_of(0))
        began_s = world.sim.uptime_s()
        while not (await world.driver.survivors(deadline_s=0.5)).whole:
            assert world.sim.uptime_s() - began_s < RANGE_SILENT_SECONDS + STEWARD_SECONDS + CENSUS_SECONDS
            await world.sim.sleep(0.2)
        assert world.sim.uptime_s() - began_s > RANGE_SILENT_SECONDS

    cluster(scenario)


def test_regions_answer_without_the_coordinator():
    async def scenario(world):
        whole = await world.driver.survivors()
        assert whole.directory_age_ms == 0
        lost = await world.place_of(0)
        other = await AsyncDriver.start(world.sim, "x", region_actors=4)
        await other.survivors()
        more = await world.driver.register([("more", 0.0, 0.0, 20.0)], 3, fleet="default")
        await world.driver.remove(["more"])
        world.sim.cut(world.sim.home)
        await world.sim.sleep(5.0)
        for asked in (other.observe(more.handles, [1.0], deadline_s=1.0), other.why("more", deadline_s=1.0)):
            error, seconds = await world.timed(asked)
            assert isinstance(error, CoordinatorUnavailable), (
                "it may be known to others: that it is not there, nobody says"
            )
            assert seconds < 1.1
        await other._steward.close(save=False)
        for deadline_s in (0.2, 1.0, 2.0):
            answer, seconds = await world.timed(world.driver.survivors(deadline_s=deadline_s))
            assert seconds < deadline_s / 2
            assert answer.ids.tolist() == whole.ids.tolist()
            assert answer.whole
            assert 4_000 < answer.directory_age_ms < 10_000
        verdict, seconds = await world.timed(world.driver.why("n5", deadline_s=1.0))
        assert verdict.survives
        assert seconds < 0.5
        taken, seconds = await world.timed(world.driver.observe(world.fleet.handles, BAD))
        assert (taken, taken.whole) == (NODES, True)
        assert seconds < 1.0
        answer = await world.driver.survivors(deadline_s=2.0)
        assert len(answer) == 0, "what was observed meanwhile is known"
        world.sim.cut(lost)
        answer, seconds = await world.timed(world.driver.survivors(deadline_s=1.0))
        assert seconds == pytest.approx(1.0, abs=0.1)
        assert answer.missing_regions
        assert set(answer.missing_age_ms.values()) == {None}, "how old it is, only the coordinator could tell"
        for place in (lost, world.sim.home):
            world.sim.heal(place)
        await world.sim.sleep(3.0)
        answer = await world.driver.survivors()
        assert (answer.whole, answer.directory_age_ms) == (True, 0)

    cluster(scenario)


def test_where_nothing_answers_at_all_the_coordinator_is_named():
    async def scenario(world):
        for index in range(6):
            world.sim.cut(f"p{index}")
        error, seconds = await world.timed(world.driver.survivors(deadline_s=2.0))
        assert isinstance(error, CoordinatorUnavailable)
        assert seconds == pytest.approx(2.0, abs=0.1)
        for index in range(6):
            world.sim.heal(f"p{index}")

    cluster(scenario)


def test_the_age_of_a_missing_region_is_asked_within_the_deadline():
    async def scenario(world):
        await world.driver.observe(world.fleet.handles, BAD)
        await world.sim.sleep(15.0)
        world.sim.cut(await world.place_of(0))
        for deadline_s in (0.2, 2.0):
            answer, seconds = await world.timed(world.driver.survivors(deadline_s=deadline_s))
            assert seconds <= deadline_s + 0.01
            assert all(0 < age_ms < 30_000 for age_ms in answer.missing_age_ms.values())
            assert answer.missing_age_ms

    cluster(scenario)


def test_a_servant_that_is_gone_is_told_as_such():
    async def scenario(world):
        lost = await world.place_of(0)
        directory = await world.driver._keeper.directory("default")
        node = world.fleet.ids[directory.members(directory.ranges[0].id)[0]]
        world.sim.kill(lost)
        error, seconds = await world.timed(world.driver.why(node))
        assert isinstance(error, RegionTimeout)
        assert seconds < 0.1
        assert error.seconds == pytest.approx(seconds, abs=0.001), "not the ten that it might have taken"
        assert "gone" in str(error)

    cluster(scenario)
