"""Ranges that are split, merged and packed while they are observed, asked and watched: nothing is lost or told twice."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from running import simulate

from faultset_ray.backend.protocol import At, Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.control.ranges import Sizing
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.moves import move_ranges
from faultset_ray.errors import ClusterError
from faultset_ray.pipeline import faultset

PRECISION = 2
NODES = 120


def fleet_of(seed, count=NODES):
    dice = np.random.default_rng(seed)
    return {
        "id": [f"n{index}" for index in range(count)],
        "lat": dice.uniform(-60, 60, count),
        "lon": dice.uniform(-170, 170, count),
        "latency_ms": dice.uniform(0, 200, count).round(1),
    }


@pytest.fixture
def sim():
    sim = SimBackend([Place(f"p{index}") for index in range(5)], seed=3)
    yield sim
    sim.dispose()


def middle(directory, range_id):
    """A bound that halves a range."""
    cells = np.sort(directory.cells[directory.members(range_id)])
    inner = cells[cells > cells[0]]
    return int(inner[len(inner) // 2])


async def follow(watch, states):
    """Every change begins where the one before of its node ended."""
    seen = []
    async for change in watch:
        assert states.setdefault(change.id, change.before) == change.before, [
            (c.at_ms, c.before.label, c.after.label, c.range, c.version) for c in [*seen, change] if c.id == change.id
        ]
        states[change.id] = change.after
        seen.append(change)
    return seen


def test_nothing_is_lost_over_splits_and_merges(sim):
    async def scenario():
        driver = await AsyncDriver.start(sim, "moves", region_actors=2)
        keeper = driver._keeper
        nodes = fleet_of(1)
        fleet = await driver.register(nodes, PRECISION)
        begun = await driver.survivors()
        watch = driver.watch(begun.versions, idle_s=3.0)
        latency = np.array(nodes["latency_ms"])
        for turn in range(6):
            directory = await keeper.directory("default")
            ids = [info.id for info in directory.ranges]
            if turn % 3 < 2:
                first = directory.ranges[0]
                reshape = [first.id], [first.lower, middle(directory, first.id)]
            else:
                reshape = ids, [0]
            latency = np.random.default_rng(turn).uniform(0, 200, NODES).round(1)
            taken = await driver.observe(fleet.handles, latency)
            assert taken == NODES
            moving = asyncio.ensure_future(move_ranges(keeper, "default", *reshape, At()))
            while not moving.done():
                answer = await driver.survivors()
                assert answer.whole
                assert answer.ids.tolist() == faultset({**nodes, "latency_ms": latency}, 100.0, PRECISION)
            await moving
        states = {}
        changes = await follow(watch, states)
        final = {node: value <= 100.0 for node, value in zip(nodes["id"], latency, strict=True)}
        assert {node: state.label == "healthy" for node, state in states.items()} == {
            node: final[node] for node in states
        }
        unchanged = {node for node in final if node not in states}
        assert all((nodes["latency_ms"][int(node[1:])] <= 100.0) == final[node] for node in unchanged)
        hosted = [name for name in sim._world.hosted if name.startswith("region/")]
        assert len(hosted) == len((await keeper.directory("default")).ranges), "the old ranges' servants are gone"
        await driver.close()
        return len(changes)

    assert sim.execute(scenario()) > NODES


@pytest.mark.parametrize("method", ["seal", "load", "commit_move", "save"])
def test_a_move_that_fails_is_given_up(sim, method):
    """Whatever step a lost servant or coordinator's answer hits, the ranges go on, and observations are taken."""

    async def scenario():
        driver = await AsyncDriver.start(sim, "moves", region_actors=2)
        keeper = driver._keeper
        fleet = await driver.register(fleet_of(2), PRECISION)
        directory = await keeper.directory("default")
        first = directory.ranges[0]
        call = sim.call

        async def failing(to, called, *args, **options):
            if called.__name__ == method:
                await sim.sleep(0.1)
                raise ClusterError("lost")
            return await call(to, called, *args, **options)

        keeper.backend.call, within = failing, sim.within
        if method in {"commit_move", "save"}:
            keeper.authority._backend = keeper.backend

            def failing_within(seconds):
                net = within(seconds)
                inner = net.call

                async def called(to, what, *args, **options):
                    if what.__name__ == method:
                        raise ClusterError("lost")
                    return await inner(to, what, *args, **options)

                net.call = called
                return net

            keeper.backend.within = failing_within
        with pytest.raises(ClusterError):
            await move_ranges(keeper, "default", [first.id], [first.lower, middle(directory, first.id)], At())
        keeper.backend.call, keeper.backend.within = call, within
        assert [info.id for info in (await keeper.directory("default")).ranges] == [0, 1]
        assert await driver.observe(fleet.handles, np.full(NODES, 7.0)) == NODES
        assert len(await driver.survivors()) == NODES
        assert len([name for name in sim._world.hosted if name.startswith("region/")]) == 2
        await driver.close()

    sim.execute(scenario())


def test_the_steward_splits_and_merges_as_the_fleet_grows_and_shrinks(sim):
    async def scenario():
        driver = await AsyncDriver.start(sim, "moves", region_actors=1)
        driver._steward._shaping._sizing = Sizing(nodes_max=60)
        nodes = fleet_of(3)
        await driver.register(nodes, PRECISION)
        await sim.sleep(60)
        answer = await driver.survivors(partial=False)
        assert len(answer.versions) >= 3
        assert answer.ids.tolist() == faultset(nodes, 100.0, PRECISION)
        await driver.remove(nodes["id"][12:])
        await sim.sleep(200)
        answer = await driver.survivors(partial=False)
        assert len(answer.versions) == 1
        assert set(answer.ids.tolist()) == {
            n for n, v in zip(nodes["id"][:12], nodes["latency_ms"], strict=False) if v <= 100
        }
        await driver.close()

    sim.execute(scenario())


def test_the_steward_empties_places_that_may_leave():
    elastic = {"faultset.io/elastic": "true"}
    sim = SimBackend([Place("home"), *(Place(f"p{index}", elastic) for index in range(4))], seed=3)

    async def scenario():
        driver = await AsyncDriver.start(sim, "moves", region_actors=8)
        nodes = fleet_of(4)
        await driver.register(nodes, PRECISION)
        await sim.sleep(120)
        hosts = {hosted.place for name, hosted in sim._world.hosted.items() if name.startswith("region/")}
        assert hosts == {"home"}
        assert (await driver.survivors(partial=False)).ids.tolist() == faultset(nodes, 100.0, PRECISION)
        await driver.close()

    simulate(sim, scenario())


def test_a_missing_region_is_told_with_the_age_of_what_is_saved():
    sim = SimBackend([Place(f"p{index}") for index in range(5)], seed=5)

    async def scenario():
        driver = await AsyncDriver.start(sim, "ages", region_actors=4)
        await driver.register(fleet_of(5), PRECISION)
        driver._keeper.restore = lambda *_args, **_options: None
        await sim.sleep(30)
        sim.kill("p1")
        answer = await driver.survivors(threshold_ms=100.0)
        assert answer.missing_regions
        ages = {answer.missing_age_ms[region] for region in answer.missing_regions}
        assert len(ages) == 1
        assert 28_000 < ages.pop() <= 30_000, "saved a second after it was registered, and nothing was observed since"
        await driver.close()

    simulate(sim, scenario())
