"""Ranges leave elastic places, and answers stay right: in virtual time, and whatever is lost on the way."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from running import simulate

from faultset_ray.backend.protocol import LABEL_ELASTIC, At, Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.control.region import Region
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import ClusterError
from faultset_ray.limits import MERGE_SECONDS, RANGES_SPARED, SPAWN_SECONDS
from faultset_ray.pipeline import faultset

PLACES = [Place("base", cpus=1.0), *(Place(f"e{index}", {LABEL_ELASTIC: "true"}, 1.0) for index in range(5))]
RANGES = 12


def nodes(seed, count=400):
    dice = np.random.default_rng(seed)
    return {
        "id": [f"n{index}" for index in range(count)],
        "lat": dice.uniform(-60, 60, count),
        "lon": dice.uniform(-170, 170, count),
        "latency_ms": dice.uniform(0, 200, count).round(1),
    }


async def in_use(sim):
    """The ranges at each place that has any."""
    found = {
        load.place.id: sorted(name for name in load.servants if name.startswith("region/"))
        for load in await sim.loads()
    }
    return {place: names for place, names in found.items() if names}


async def settled(sim, seconds):
    """Sleep until the same ranges have been at the same places for so long."""
    deadline_ms = sim.now_ms() + 3_600_000
    before, since_ms = None, sim.now_ms()
    while sim.now_ms() - since_ms < 1000 * seconds:
        assert sim.now_ms() < deadline_ms, before
        await sim.sleep(1.0)
        now = await in_use(sim)
        if now != before:
            before, since_ms = now, sim.now_ms()
    return before


async def scenario(sim, seed, faults):
    driver = await AsyncDriver.start(sim, f"s{seed}", region_actors=RANGES)
    registered = await driver.register(nodes(seed), precision=2)
    expected = faultset(registered, 100.0, precision=2)
    assert len(await in_use(sim)) == len(PLACES), "registered, they are spread"
    sim.set_faults(faults)
    answers = 0

    async def read():
        nonlocal answers
        while True:
            try:
                answer = await driver.survivors(threshold_ms=100.0)
            except ClusterError:
                continue
            if answer.whole:
                assert answer.ids.tolist() == expected
                answers += 1
            else:
                assert sim.faults.drop, "nothing is missing where nothing is lost"
                assert set(answer.ids) < set(expected)
            await sim.sleep(0.3)

    reader = asyncio.ensure_future(read())
    packed = await settled(sim, MERGE_SECONDS / 3)
    merged = await settled(sim, 2 * MERGE_SECONDS + SPAWN_SECONDS)  # a lost message of a move costs as long
    reader.cancel()
    [result] = await asyncio.gather(reader, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError), result
    sim.set_faults(SimFaults())
    await sim.sleep(20.0)  # what was lost last is brought back
    whole = await driver.survivors(threshold_ms=100.0)
    assert whole.whole
    assert whole.ids.tolist() == expected
    await driver.close()
    return packed, merged, answers


@pytest.mark.parametrize(("seed", "drop"), [(0, 0.0), (1, 0.0), (2, 0.01), (3, 0.01)])
def test_elastic_places_become_empty_and_no_answer_is_wrong(seed, drop):
    sim = SimBackend(PLACES, seed=seed)
    packed, merged, answers = simulate(sim, scenario(sim, seed, SimFaults(drop=drop, delay_ms=(1, 20))))
    if not drop:
        assert len(packed["base"]) == 10, "as many as have room"
        assert sorted(map(len, packed.values())) == [2, 10]
    assert set(merged) == {"base"}
    assert len(merged["base"]) == RANGES_SPARED, "a small fleet that nobody observes"
    assert answers > 100


def test_what_a_driver_left_behind_is_ended():
    sim = SimBackend(PLACES, seed=1)

    async def run():
        driver = await AsyncDriver.start(sim, "left", region_actors=2)
        await driver.register(nodes(1), precision=2)
        expected = (await driver.survivors(threshold_ms=100.0)).ids.tolist()
        await sim.spawn(Region, "region/default/0/9", 9, at=At(place="e3"))
        await sim.spawn(Region, "region/gone/0/1", 1, at=At(place="e4"))
        await settled(sim, 20)
        assert set(await in_use(sim)) == {"base"}
        answer = await driver.survivors(threshold_ms=100.0)
        assert answer.whole
        assert answer.ids.tolist() == expected
        await driver.close()

    simulate(sim, run())


def test_where_all_places_stay_nothing_moves():
    sim = SimBackend([Place(f"p{index}") for index in range(4)], seed=1)

    async def run():
        driver = await AsyncDriver.start(sim, "still", region_actors=8)
        await driver.register(nodes(1), precision=2)
        before = await in_use(sim)
        await sim.sleep(60.0)
        assert await in_use(sim) == before
        await driver.close()

    simulate(sim, run())
