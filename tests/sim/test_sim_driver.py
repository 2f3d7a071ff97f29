"""The driver under seeded faults: what it answers is right, or said to be missing; never silently wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import numpy as np
import pytest
from running import simulate

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import CallTimeout, ClusterError, CodingError, NotEnoughShards, StoresLost
from faultset_ray.geohash import cells_to_strings, encode_many
from faultset_ray.pipeline import faultset

SEEDS = range(25)


def places(count):
    return [
        Place(f"p{index}", {"faultset.io/region": f"r{index % 4}", "faultset.io/store": "true"})
        for index in range(count)
    ]


def fleet_of(seed, count=300):
    dice = np.random.default_rng(seed)
    return {
        "id": [f"n{index}" for index in range(count)],
        "lat": dice.uniform(-60, 60, count),
        "lon": dice.uniform(-170, 170, count),
        "latency_ms": dice.uniform(0, 200, count).round(1),
    }


async def drill(sim, seed):
    """Register, lose places under faults, and ask again until the answer is whole."""
    driver = await AsyncDriver.start(sim, f"s{seed}", region_actors=6)
    nodes = fleet_of(seed)
    registered = await driver.register(nodes, precision=2)
    expected = faultset(registered, 100.0, precision=2)
    payload = sim.token(40_000)
    shards = await driver.encode(payload, "rs:4+3", stripe_bytes=8_192)

    sim.set_faults(SimFaults(drop=0.02, delay_ms=(1, 50)))
    for place in ("p2", "p5", "p7"):
        sim.kill(place)

    region_of = dict(zip(registered.ids, cells_to_strings(encode_many(registered.lat, registered.lon, 2)), strict=True))
    answers = []
    deadline_ms = sim.now_ms() + 600_000  # a lost message of a restoration costs two minutes
    while sim.now_ms() < deadline_ms:
        try:
            answer = await driver.survivors(threshold_ms=100.0, deadline_s=1.0)
        except ClusterError:
            continue  # the coordinator's answer was lost: said, not guessed
        missing = set(answer.missing_regions)
        assert answer.ids.tolist() == [node for node in expected if region_of[node] not in missing]
        answers.append(answer)
        if answer.whole:
            break
    assert answers[-1].whole, "regions are brought back"

    sim.set_faults(SimFaults())
    held = {index for index, (place, _) in shards.locations.items() if place not in {"p2", "p5", "p7"}}
    if len(held) >= 4:
        assert await driver.decode(shards) == payload
    else:
        with pytest.raises(NotEnoughShards):
            await driver.decode(shards)
    await driver.close()
    return len(answers), sorted(held)


def run(seed):
    sim = SimBackend(places(9), seed=seed)
    return simulate(sim, drill(sim, seed)), sim.trace_digest()


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_are_right_or_named_missing(seed):
    run(seed)


def test_a_drill_replays_byte_for_byte_in_any_process():
    """The order in which sets of strings are walked differs between processes; nothing may hang on it."""
    here = run(11)[1]
    program = "from sim.test_sim_driver import run; print(run(11)[1])"
    for hash_seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1] == here


def test_a_write_through_lost_messages_is_whole_or_refused():
    """Acknowledged writes decode; refused ones leave nothing on the stores that answer."""
    outcomes = []
    for seed in SEEDS:
        sim = SimBackend(places(7), seed=seed)

        async def scenario(sim=sim):
            driver = await AsyncDriver.start(sim, "writes", region_actors=1)
            await driver.stores()
            sim.set_faults(SimFaults(drop=0.01))
            payload = sim.token(30_000)
            try:
                shards = await driver.encode(payload, "rs:3+2", stripe_bytes=6_000)
            except (StoresLost, CallTimeout) as error:
                outcome = type(error).__name__
            else:
                sim.set_faults(SimFaults())
                assert await driver.decode(shards) == payload
                outcome = "acknowledged"
            await driver.close()
            return outcome

        outcomes.append(simulate(sim, scenario()))
    assert "acknowledged" in outcomes


def test_damage_on_disk_is_read_around_and_too_much_is_told():
    sim = SimBackend(places(7), seed=3)

    async def scenario():
        driver = await AsyncDriver.start(sim, "damage", region_actors=1)
        payload = sim.token(100_000)
        shards = await driver.encode(payload, "rs:4+3", stripe_bytes=50_000)
        stores = {store.uuid: store for store in await driver.stores()}
        for index in (0, 2, 6):
            _flip(stores[shards.shards[index].store], shards.write_id, index)
        assert await driver.decode(shards) == payload
        _flip(stores[shards.shards[4].store], shards.write_id, 4)
        with pytest.raises(CodingError) as caught:
            await driver.decode(shards)
        assert caught.value.missing.keys() == {0, 2, 4, 6}
        assert all(why.startswith("corrupt: stripe 0") for why in caught.value.missing.values())
        await driver.close()

    simulate(sim, scenario())


def _flip(store, write_id, index):
    """One bit of the first block of a shard."""
    from pathlib import Path

    [path] = Path(store.path).rglob(f"{write_id}.{index:03d}.shard")
    with path.open("r+b") as file:
        file.seek(300)
        byte = file.read(1)[0]
        file.seek(300)
        file.write(bytes([byte ^ 1]))


def test_concurrent_drivers_restore_a_range_once():
    sim = SimBackend(places(6), seed=5)

    async def scenario():
        first = await AsyncDriver.start(sim, "two", region_actors=5)
        second = await AsyncDriver.start(sim, "two", region_actors=5)
        registered = await first.register(fleet_of(5), precision=2)
        expected = faultset(registered, 100.0, precision=2)
        sim.kill("p3")
        for _ in range(20):
            answers = await asyncio.gather(*(d.survivors(threshold_ms=100.0) for d in (first, second)))
            if all(answer.whole for answer in answers):
                break
            await sim.sleep(0.1)
        assert answers[0].ids.tolist() == answers[1].ids.tolist() == expected
        assert answers[0].versions == answers[1].versions
        epochs = [epoch for epoch, _ in answers[0].versions.values()]
        assert 1 < max(epochs) < 4
        await first.close()

    simulate(sim, scenario())
