"""What is told as metrics, to the number: whole systems in virtual time, with a recorder that listens."""

from __future__ import annotations

import numpy as np
import pytest
import running
from sim.object_world import simulate

from faultset_ray import codes
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.codes import engine
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import InputError, NotEnoughShards, ObjectNotFound
from faultset_ray.limits import CARETAKER_SECONDS, LEASE_SECONDS, METRICS_SECONDS, STEWARD_SECONDS
from faultset_ray.policy import Policy
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import recording

SLOW, FAST = 900.0, 5.0
POLICY = Policy(
    threshold_ms=100.0, samples=(2, 3, 2), hold_s=(10.0, 60.0), survivors_min=2, fallback="neighbours", panic="all"
)
NODES = {
    "id": ["a", "b", "c", "d", "e"],
    "lat": [52.5, 52.5, 52.5, -33.9, -33.9],
    "lon": [13.4, 13.4, 13.4, 151.2, 151.2],
    "latency_ms": [FAST] * 5,
}


def fleet_run(scenario):
    """``scenario(sim, driver, fleet, told)`` with a fleet of two regions, far from each other."""

    async def main(sim, told):
        driver = await AsyncDriver.start(sim, "metrics", region_actors=2)
        fleet = await driver.register(NODES, precision=3, policy=POLICY)
        await scenario(sim, driver, fleet, told)
        await driver.close()

    with recording() as told:
        sim = SimBackend([Place("p0"), Place("p1")], seed=1)
        running.simulate(sim, main(sim, told))
    return told


async def sample(sim, driver, fleet, seconds=1.0, **latencies):
    """One sample of each node named, after some time."""
    await sim.sleep(seconds)
    handles = np.array([fleet.ids.tolist().index(node) for node in latencies], np.uint32)
    assert await driver.observe(fleet.handles[handles], list(latencies.values())) == len(latencies)


def test_decisions_are_counted_where_they_are_made():
    async def scenario(sim, driver, fleet, told):
        await sample(sim, driver, fleet, a=SLOW, b=FAST)
        await sample(sim, driver, fleet, a=SLOW, d=float("nan"))
        await sample(sim, driver, fleet, d=float("nan"))
        answer = await driver.survivors()
        assert sorted(answer.ids.tolist()) == ["b", "c", "d", "e"], "d is named since its region is in panic"
        assert told.all(table.EJECTIONS) == {("default", "over_threshold"): 1, ("default", "failures"): 1}
        detected = told.observed(table.DETECTION, "default")
        assert (detected.count, detected.sum) == (2, pytest.approx(2.0, abs=0.1)), (
            "a second each since it turned suspect"
        )
        assert answer.by_region["r3g"].tolist() == ["e", "d"]
        assert answer.by_region["r3g"].tolist() == ["e", "d"], "looked at twice, it is given once"
        assert told.all(table.SPILL) == {("panic",): 1}
        assert told.all(table.ANSWERS) == {("default", "whole"): 1}
        assert told.all(table.OBSERVATIONS) == {("default", "taken"): 5}

        await sim.sleep(2 * STEWARD_SECONDS)
        assert told.value(table.SHORTAGES, "default") == told.value(table.PANICS, "default") == 1
        for state, nodes in zip(table.STATES, (0, 3, 0, 2, 0), strict=True):
            assert told.value(table.NODES, "default", state) == nodes, state
        assert told.value(table.SURVIVORS, "default") == 3
        assert told.value(table.REGIONS_SHORT, "default") == told.value(table.REGIONS_PANIC, "default") == 1
        assert told.value(table.RANGES, "default", "answering") == 2
        assert told.value(table.OBSERVATION_AGE, "default", "newest") == pytest.approx(2.0, abs=STEWARD_SECONDS)
        assert told.value(table.UPKEEP_TIMESTAMP, "ranges") == pytest.approx(sim.now_ms() / 1000, abs=STEWARD_SECONDS)

        await sim.sleep(10.0)
        for _ in range(2):
            await sample(sim, driver, fleet, a=FAST)
        await driver.survivors()
        assert told.value(table.READMISSIONS, "default") == 1
        assert told.value(table.FLAPS, "default") == 0
        for _ in range(2):
            await sample(sim, driver, fleet, a=SLOW)
        await driver.survivors()
        assert told.value(table.EJECTIONS, "default", "over_threshold") == 2
        assert told.value(table.FLAPS, "default") == 1

    told = fleet_run(scenario)
    assert told.value(table.UPKEEP_TIMESTAMP, "ranges") == 0, "who has left says that its gauges count no more"
    assert told.value(table.COORDINATOR_STARTS) == 1


def test_a_range_that_is_gone_is_silent_and_then_restored():
    async def scenario(sim, driver, fleet, told):
        await sim.sleep(2 * STEWARD_SECONDS)
        [lost] = {place.place.id for place in await sim.loads() if place.place.id != sim.home}
        sim.kill(lost)
        partial = await driver.survivors(partial=True, deadline_s=0.5)
        assert partial.missing_regions
        assert told.value(table.ANSWERS, "default", "partial") == 1
        await sim.sleep(30.0)
        assert (await driver.survivors()).whole
        assert told.value(table.RANGE_RESTORES, "default") == 1
        assert told.value(table.RANGES, "default", "silent") == 0
        with pytest.raises(InputError):
            await driver.survivors(fleet="none")
        assert told.value(table.ANSWERS, "none", "failed") == 1

    fleet_run(scenario)


def test_objects_are_counted_by_what_they_bear_and_repairs_by_what_came_of_them():
    size = 40_000

    async def scenario(run):
        with recording() as told:
            driver = run.driver
            for name in ("x", "y"):
                await run.put(name, run.sim.token(size))
            with pytest.raises(ObjectNotFound):
                await driver.get("z")
            with pytest.raises(InputError):
                await driver.put("z", b"", code="rs:4+2", tolerate=3)
            assert await driver.get("x") == run.payloads["x"]
            streamed = [piece async for piece in driver.get_stream("y", (10, 20))]
            assert b"".join(map(bytes, streamed)) == run.payloads["y"][10:20]
            assert told.all(table.OPERATIONS) == {
                ("put", "ok"): 2,
                ("put", "refused"): 1,
                ("get", "ok"): 2,
                ("get", "not_found"): 1,
            }
            assert told.all(table.OPERATION_BYTES) == {("put",): 2 * size, ("get",): size + 10}
            assert told.observed(table.OPERATION_SECONDS, "put").count == 3
            spec = codes.get("rs:4+2").spec
            assert {labels[:2] for labels in told.all(table.CODED_BYTES)} == {("encode", spec)}, (
                "sound data rows are not decoded"
            )
            layout = (await run.entry("x")).record.header.layout
            padded = sum(4 * layout.block_len(stripe, size) for stripe in (0, 1))
            assert told.value(table.CODED_BYTES, "encode", spec, engine.active()) == 2 * padded

            await counted(run)
            assert {margin: told.value(table.OBJECTS, margin) for margin in table.MARGINS} == {
                **dict.fromkeys(table.MARGINS, 0),
                "whole": 2,
            }
            assert told.value(table.OBJECT_BYTES) == 2 * size
            assert told.value(table.STORES, "here") == 7
            held = sum(told.value(table.STORE_BYTES, f"r{index}", "held") for index in range(7))
            assert held == sum(run.store(f"p{index:02}").info().used_bytes for index in range(7)) > 2 * size * 6 / 4
            assert told.value(table.STORE_FREE_RATIO) == 0.5

            lost = (await run.layout("x"))[0]
            hit = sum([lost in await run.layout(name) for name in ("x", "y")])
            run.kill(lost)
            assert await driver.get("x") == run.payloads["x"]
            assert told.value(table.CODED_BYTES, "decode", spec, engine.active()) > 0
            await counted(run)
            assert told.value(table.OBJECTS, "1") == hit
            assert told.value(table.OBJECTS, "whole") == 2 - hit
            assert told.value(table.QUEUE_DEPTH, "repair") == hit

            await run.settle(run.quiet)
            await counted(run)
            assert told.all(table.REPAIRS) == {("mended",): hit}
            assert told.value(table.REPAIRED_SHARDS) == hit
            shard_bytes = (await run.entry("x")).record.header.layout.file_bytes(size)
            assert told.value(table.REPAIRED_BYTES) == hit * shard_bytes
            assert told.value(table.OBJECTS, "whole") == 2
            assert told.value(table.STORES, "gone") == 1
            assert told.value(table.STORES, "here") == 6

    simulate(7, scenario)


def test_damage_counts_once_and_by_who_found_it():
    async def scenario(run):
        with recording() as told:
            await run.put("x", run.sim.token(40_000))
            entry, places = await run.entry("x"), await run.layout("x")
            for index in (0, 1):
                path = run.shard_file(places[index], entry.record.write_id, index)
                raw = bytearray(path.read_bytes())
                raw[len(raw) // 2] ^= 1
                path.write_bytes(raw)
            for _ in range(3):
                assert await run.driver.get("x") == run.payloads["x"]
            assert told.value(table.CORRUPTIONS, "read") == 2
            found = await run.driver.scrub(deep=True)
            assert told.value(table.CORRUPTIONS, "scrub") == found.corrupt

    simulate(7, scenario)


def test_an_object_that_is_lost_is_told():
    async def scenario(run):
        with recording() as told:
            await run.put("x", run.sim.token(1000))
            for place in (await run.layout("x"))[:3]:
                run.kill(place)
            with pytest.raises(NotEnoughShards):
                await run.driver.get("x")
            assert told.value(table.OPERATIONS, "get", "lost") == 1
            await counted(run)
            assert told.value(table.OBJECTS, "lost") == 1
            assert told.value(table.QUEUE_DEPTH, "repair") == 1

    simulate(7, scenario)


def test_who_loses_the_lease_says_that_its_gauges_are_of_old():
    async def scenario(run):
        with recording() as told:
            await run.put("x", run.sim.token(1000))
            await counted(run)
            last = told.value(table.UPKEEP_TIMESTAMP, "ranges")
            assert last > 0
            run.kill_driver()
            await run.sim.sleep(2 * LEASE_SECONDS)
            assert told.value(table.UPKEEP_TIMESTAMP, "ranges") == last, "one that died says nothing: its time is old"
            await run.start()
            await counted(run)
            assert told.value(table.UPKEEP_TIMESTAMP, "objects") > last

    simulate(7, scenario)


async def counted(run):
    """Let time pass until the objects were counted again."""
    await run.sim.sleep(METRICS_SECONDS + 2 * CARETAKER_SECONDS)
