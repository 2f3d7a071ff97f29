"""Registrations cut short by lost messages: what answers after them is right, or said to be missing, then whole."""

import numpy as np
import pytest
from running import simulate

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import ClusterError
from faultset_ray.geohash import cells_to_strings, encode_many
from faultset_ray.model import Fleet
from faultset_ray.pipeline import faultset

PRECISION = 1


def some_nodes(dice, count):
    """Some of 60 ids, wherever they are now."""
    ids = [f"n{number}" for number in dice.choice(60, count, replace=False)]
    return Fleet(ids, dice.uniform(-80, 80, count), dice.uniform(-170, 170, count), dice.integers(0, 50, count) * 4.0)


def expected(known, missing=()):
    fleet = Fleet(*zip(*((node_id, *node) for node_id, node in known.items()), strict=True))
    regions = cells_to_strings(encode_many(fleet.lat, fleet.lon, PRECISION))
    gone = {node_id for node_id, region in zip(fleet.ids, regions, strict=True) if region in missing}
    return [node_id for node_id in faultset(fleet, 150.0, PRECISION) if node_id not in gone]


async def registrations(sim, seed):
    dice = np.random.default_rng(seed)
    driver = await AsyncDriver.start(sim, "s", region_actors=4)
    first = some_nodes(dice, 40)
    known = {node.id: node[1:] for node in first}
    await driver.register(first, PRECISION)
    cut_short = 0
    for _ in range(6):
        nodes = some_nodes(dice, 15)
        sim.set_faults(SimFaults(drop=0.1))
        try:
            await driver.register(nodes, PRECISION)
        except ClusterError:
            cut_short += 1
        sim.set_faults(SimFaults())
        directory = await driver._keeper.directory("default")
        heard = known | {node.id: node[1:] for node in nodes}
        found = [tuple(node) for node in directory.fleet]
        assert found in ([(node_id, *node) for node_id, node in each.items()] for each in (known, heard))
        known = {node_id: tuple(node) for node_id, *node in found}
        for _ in range(3):
            answer = await driver.survivors(threshold_ms=150.0)
            assert answer.ids.tolist() == expected(known, answer.missing_regions)
            if answer.whole:
                break
            await driver._keeper.settle()
        assert answer.whole, "one restoration brings every range back"
    await driver.close()
    return cut_short


@pytest.mark.parametrize("seed", range(8))
def test_lost_messages_of_registrations(seed):
    sim = SimBackend([Place(f"p{index}") for index in range(3)], seed=seed)
    assert simulate(sim, registrations(sim, seed)) > 0


def test_an_observation_outlives_the_registration_of_others():
    """A range is loaded anew with what was registered, but what was measured later counts."""
    sim = SimBackend([Place("p0"), Place("p1")], seed=1)

    async def scenario():
        driver = await AsyncDriver.start(sim, "s", region_actors=1)
        fleet = await driver.register([("a", 1, 1, 10.0), ("b", 1, 1, 20.0)], PRECISION)
        await sim.sleep(1)
        assert await driver.observe(fleet.handles[:1], [500.0]) == 1
        await sim.sleep(1)
        await driver.register([("c", 1, 1, 30.0)], PRECISION)
        assert (await driver.survivors(threshold_ms=100.0)).ids.tolist() == ["b", "c"]
        await sim.sleep(1)
        await driver.register([("a", 1, 1, 15.0)], PRECISION)
        assert (await driver.survivors(threshold_ms=100.0)).ids.tolist() == ["a", "b", "c"]
        await driver.close()

    simulate(sim, scenario())


def test_a_driver_that_heard_of_fewer_nodes_answers_about_all():
    """Another driver registers between this one's look at the directory and the regions' answers."""
    sim = SimBackend([Place("p0"), Place("p1")], seed=1)

    async def scenario():
        one = await AsyncDriver.start(sim, "s", region_actors=2)
        two = await AsyncDriver.start(sim, "s", region_actors=2)
        await one.register([("a", 1, 1, 10.0), ("b", 60, 60, 20.0)], PRECISION)
        ask = one._keeper.known

        async def then_another(fleet, *deadline):
            one._keeper.known = ask
            known = await ask(fleet, *deadline)
            await two.register([("c", 1, 1, 5.0)], PRECISION)
            return known

        one._keeper.known = then_another
        answer = await one.survivors(threshold_ms=100.0)
        assert (answer.ids.tolist(), answer.missing_regions) == (["c", "a", "b"], [])
        await one.close()

    simulate(sim, scenario())
