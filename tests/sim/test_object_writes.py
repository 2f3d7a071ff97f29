"""Puts, gets and deletes under crashes and losses: what was acknowledged is there, what was not is wholly there or not."""

from __future__ import annotations

import asyncio
import shutil
from unittest import mock

import numpy as np
import pytest
from sim.object_world import simulate
from sim.test_objects_crashes import once

from faultset_ray.backend.sim import SimFaults
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.errors import (
    BackendClosed,
    CallTimeout,
    CatalogLost,
    ClusterError,
    CoordinatorUnavailable,
    FaultsetError,
    NotEnoughPlaces,
    NotEnoughShards,
    ObjectNotFound,
    StoresLost,
)
from faultset_ray.failpoints import arm
from faultset_ray.limits import KIB

PUT = ["put.opened", "put.shards", "put.sealed", "put.one_record", "put.recorded", "put.committed"]
SIZES = {"small": 3_000, "large": 300_000}
STRIPE = 64 * KIB


async def is_clean(run):
    """Nothing is on the stores but what the catalog says."""
    await run.settle(run.quiet)
    await run.check_shards()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", PUT)
@pytest.mark.parametrize("victim", ["driver", "coordinator"])
def test_a_crash_in_the_middle_of_a_put(step, victim, size):
    """Before the first record it never was; after it, it is carried on; nothing else changes, and nothing is left."""

    async def scenario(run):
        old, new = run.sim.token(5_000), run.sim.token(SIZES[size])
        await run.driver.put("o", old)
        await run.driver.put("other", old)

        def crash():
            if victim == "driver":
                run.kill_driver()
                raise BackendClosed
            run.kill_coordinator()

        acknowledged = True
        with arm(step, once(crash)):
            try:
                await run.driver.put("o", new, stripe_bytes=STRIPE)
            except ClusterError:
                acknowledged = False
        assert acknowledged == (victim == "coordinator"), "another coordinator goes on where the one before ended"
        if victim == "driver":
            await run.start()
        there = acknowledged or PUT.index(step) >= PUT.index("put.one_record")
        run.payloads |= {"o": new if there else old, "other": old}
        await is_clean(run)
        for name, payload in run.payloads.items():
            assert await run.driver.get(name) == payload

    simulate(8, scenario, regions=4)


@pytest.mark.parametrize("operation", ["delete", "undelete"])
@pytest.mark.parametrize("step", ["opened", "one_record", "recorded", "committed"])
@pytest.mark.parametrize("victim", ["driver", "coordinator"])
def test_a_crash_in_the_middle_of_a_deletion(operation, step, victim):
    """A deletion that was begun is carried on if a store knows of it; likewise what takes it back."""

    async def scenario(run):
        data = run.sim.token(20_000)
        await run.driver.put("o", data)
        if operation == "undelete":
            await run.driver.delete("o", grace_s=1e6)

        def crash():
            if victim == "driver":
                run.kill_driver()
                raise BackendClosed
            run.kill_coordinator()

        with arm(f"{operation}.{step}", once(crash)):
            try:
                await getattr(run.driver, operation)("o")
            except ClusterError:
                assert victim == "driver"
        if victim == "driver":
            await run.start()

        async def ended():
            status = await run.driver.status()
            return not status.tally.open_writes

        await run.settle(ended)
        try:
            found = await run.driver.get("o")
        except ObjectNotFound:
            found = None
        assert found in {None, data}
        if step != "opened" or victim == "coordinator":
            assert (found is None) == (operation == "delete")

    simulate(8, scenario, regions=4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", PUT[:4])
@pytest.mark.parametrize("how", ["kill", "cut"])
def test_stores_that_are_lost_while_they_are_written_to(step, size, how):
    """The write goes on elsewhere, and keeps its promise."""

    async def scenario(run):
        data = run.sim.token(SIZES[size])
        await run.driver.put("o", data)
        lost = (await run.layout("o"))[1:3]

        def lose():
            for place in lost:
                (run.kill if how == "kill" else run.sim.cut)(place)

        with arm(step, once(lose)):
            receipt = await run.driver.put("o", data[::-1], stripe_bytes=STRIPE)
        assert receipt.survivable == 2
        assert await run.driver.get("o") == data[::-1]
        if step in PUT[:2] and (step == "put.opened" or size == "small"):
            assert not set(await run.layout("o")) & set(lost)

    simulate(9, scenario, regions=4)


def test_too_many_stores_are_lost_while_they_are_written_to():
    async def scenario(run):
        data = run.sim.token(300_000)
        await run.driver.put("o", data)

        def lose():
            for place in (f"p{index:02}" for index in range(4)):
                run.kill(place)

        for size in SIZES.values():
            with arm("put.opened", once(lose)), pytest.raises((NotEnoughPlaces, StoresLost)):
                await run.driver.put("o", data[:size], stripe_bytes=STRIPE)
            for place in (f"p{index:02}" for index in range(4)):
                run.revive(place)
            await run.driver.stores()
        run.payloads["o"] = data
        assert await run.driver.get("o") == data
        await is_clean(run)

    simulate(8, scenario, regions=4)


def test_a_reader_that_fails_leaves_nothing():
    async def scenario(run):
        def chunks():
            yield run.sim.token(200_000)
            raise OSError("unplugged")

        with pytest.raises(OSError, match="unplugged"):
            await run.driver.put("o", chunks(), stripe_bytes=STRIPE)
        with pytest.raises(ObjectNotFound):
            await run.driver.get("o")
        await is_clean(run)

    simulate(8, scenario)


def test_a_put_that_is_cancelled_leaves_nothing():
    async def scenario(run):
        async def chunks():
            for _ in range(20):
                yield run.sim.token(20_000)
                await run.sim.sleep(1.0)

        put = asyncio.ensure_future(run.driver.put("o", chunks(), stripe_bytes=STRIPE))
        await run.sim.sleep(8.0)
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        with pytest.raises(ObjectNotFound):
            await run.driver.get("o")
        await is_clean(run)

    simulate(8, scenario)


def test_while_the_coordinator_is_away_the_stores_tell():
    async def scenario(run):
        old, new = run.sim.token(5_000), run.sim.token(200_000)
        await run.driver.put("o", old)
        await run.driver.put("o", new, stripe_bytes=STRIPE)
        await run.driver.put("gone", old)
        await run.driver.delete("gone")
        lost = (await run.layout("o"))[:3]
        run.sim.kill("head")
        assert await run.driver.get("o") == new, "read-your-writes"
        assert await run.driver.get("o", (70_000, 70_010)) == new[70_000:70_010]
        assert (await run.driver.stat("o")).health == "healthy"
        for name in ("gone", "never"):
            with pytest.raises(ObjectNotFound):
                await run.driver.get(name)
        with pytest.raises(CoordinatorUnavailable):
            await run.driver.put("o", old)
        for place in lost[:2]:
            run.kill(place)
        assert await run.driver.get("o") == new, "two stores more than are told of were told"
        run.kill(lost[2])
        with pytest.raises((CoordinatorUnavailable, NotEnoughShards)):
            await run.driver.get("o")
        with pytest.raises(CoordinatorUnavailable):
            await run.driver.get("never")

    simulate(9, scenario, regions=4)


def test_one_generation_is_read_while_others_are_written():
    async def scenario(run):
        generations = [bytes([number]) * 200_000 for number in range(12)]
        await run.driver.put("o", generations[0], stripe_bytes=STRIPE)
        done = False

        async def read():
            seen = []
            while not done:
                data = await run.driver.get("o")
                assert len(set(data)) == 1
                assert len(data) == 200_000
                seen.append(data[0])
            assert seen == sorted(seen), "never an older one after a newer"
            return seen

        readers = [asyncio.ensure_future(read()) for _ in range(3)]
        async with await run.driver.open("o") as file:
            for number, data in enumerate(generations):
                await run.driver.put("o", data, stripe_bytes=STRIPE)
                assert (await run.driver.get("o"))[:1] == bytes([number])
            done = True
            assert len({value for seen in await asyncio.gather(*readers) for value in seen}) > 1
            assert await file.read() == generations[0]

    simulate(8, scenario, regions=4)


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_with_losses(seed):
    """Puts, overwrites, deletes and gets by two drivers; messages are lost, and stores and coordinators killed."""

    async def scenario(run):
        dice = np.random.default_rng(seed)
        names = [f"o{number}" for number in range(5)]
        possible = {name: {None} for name in names}
        """What may be there: what was acknowledged last, and what was tried since."""
        down: list[str] = []
        for _ in range(60):
            name = names[int(dice.integers(5))]
            action = dice.choice(["put", "put", "get", "get", "delete", "fault", "heal"])
            if action == "put":
                data = run.sim.token(int(dice.choice([0, 10, 5_000, 150_000])))
                try:
                    await run.driver.put(name, data, code="rs:3+2", stripe_bytes=STRIPE)
                    possible[name] = {data}
                except (ClusterError, NotEnoughShards):
                    possible[name].add(data)
            elif action == "delete":
                try:
                    await run.driver.delete(name)
                    possible[name] = {None}
                except ObjectNotFound:
                    assert None in possible[name]
                    possible[name] = {None}
                except ClusterError:
                    possible[name].add(None)
            elif action == "get":
                await check(run, name, possible)
            elif action == "fault" and len(down) < 2:
                place = f"p{int(dice.integers(8)):02}"
                if place not in down:
                    run.kill(place)
                    down.append(place)
                if dice.random() < 0.3 and "coordinator" in run.sim._world.hosted:
                    run.kill_coordinator()
                run.sim.set_faults(SimFaults(drop=float(dice.choice([0.0, 0.005])), delay_ms=(0.1, 20.0)))
            elif action == "heal" and down:
                run.revive(down.pop())
                run.sim.set_faults(SimFaults())
        run.sim.set_faults(SimFaults())
        for place in down:
            run.revive(place)
        await run.settle(run.quiet)
        for name in names:
            await check(run, name, possible)
            if None not in possible[name]:
                run.payloads[name] = await run.driver.get(name)
        await run.check_shards()

    async def check(run, name, possible):
        try:
            found = await run.driver.get(name)
        except ObjectNotFound:
            found = None
        except FaultsetError:
            return  # said, not guessed
        assert found in possible[name], f"{name}: {None if found is None else len(found)} bytes"

    simulate(8, scenario, seed=seed, regions=4)


def test_a_lost_catalog_is_told_and_not_taken_for_an_empty_one():
    async def scenario(run):
        await run.driver.put("o", b"here")
        run.kill_driver()
        run.kill_coordinator()
        shutil.rmtree(run.root / "state")
        driver = await run.start()
        for verb in (driver.get("o"), driver.put("o", b"new"), driver.list(), driver.delete("o"), driver.undelete("o")):
            with pytest.raises(CatalogLost) as caught:
                await verb
            assert caught.value.stores

    simulate(8, scenario)


@pytest.mark.parametrize(("starts_s", "works"), [(4.0, True), (60.0, False)])
def test_a_write_waits_a_while_for_stores_that_are_starting(starts_s, works):
    asked = StoreDirectory._store

    async def scenario(run):
        begun_s = run.sim.uptime_s()

        async def _store(self, place):
            if run.sim.uptime_s() - begun_s < starts_s:
                raise CallTimeout(f"store/{place.id}", "info", 5.0)
            return await asked(self, place)

        run.driver._stores.doubt()
        with mock.patch.object(StoreDirectory, "_store", _store):
            if works:
                await run.put("a", run.sim.token(5_000), durability="fsync")
                await run.check_objects()
            else:
                with pytest.raises(NotEnoughPlaces):
                    await run.driver.put("a", b"x")
        took_s = run.sim.uptime_s() - begun_s
        assert starts_s <= took_s < starts_s + 2 if works else 10 <= took_s < 12

    simulate(6, scenario)


def test_a_write_waits_for_no_store_that_is_not_there():
    async def scenario(run):
        run.kill("p00")
        await run.driver.status()
        begun_s = run.sim.uptime_s()
        with pytest.raises(NotEnoughPlaces):
            await run.driver.put("a", b"x")
        assert run.sim.uptime_s() - begun_s < 1

    simulate(6, scenario)


@pytest.mark.parametrize("size", SIZES)
def test_a_store_that_comes_back_counts_although_it_was_gone_when_the_write_began(size):
    """Two stores of eight are gone, a third one's place has just returned: the six that rs:4+2 needs are there."""

    async def scenario(run):
        data = run.sim.token(SIZES[size])
        await run.driver.put("o", data, stripe_bytes=STRIPE)
        run.kill("p00")
        run.kill("p01")
        run.kill("p02")
        run.revive("p02")
        receipt = await run.driver.put("o", data, stripe_bytes=STRIPE)
        assert (receipt.n_durable, receipt.survivable) == (6, 2)
        assert await run.driver.get("o") == data

    simulate(8, scenario)
