"""What a repair does with shards that are damaged and not gone: nothing is worse for it, at any step of it."""

from __future__ import annotations

import asyncio
from functools import wraps
from unittest import mock

import pytest
from damaging import flip
from sim.object_world import SYSTEM, Client, simulate

from faultset_ray.config import Config, Health, Scrub
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import BackendClosed, NotEnoughShards, StoreFailure, WriteInProgress
from faultset_ray.failpoints import arm
from faultset_ray.limits import REPAIR_AFTER_SECONDS
from faultset_ray.objects.checking import check_shard
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.shards.layout import HEADER_BYTES

STRIPE = 32_768


async def damage(run, stripes, name="o"):
    """Damage one block of each of some shards of an object: the stripe by the shard's index."""
    entry = await run.entry(name)
    block = entry.record.block_bytes + 4
    paths = {}
    for index, stripe in stripes.items():
        paths[index] = run.shard_file(run.place_of(entry.layout[index]), entry.record.write_id, index)
        flip(paths[index], HEADER_BYTES + stripe * block + 100)
    return paths


async def lose(run, index, name="o"):
    """Kill the place of a shard; it is known, and too early to be mended before the verb says so."""
    entry = await run.entry(name)
    run.kill(run.place_of(entry.layout[index]))
    await run.settle(lambda: _degraded(run, name))


async def _degraded(run, name):
    return (await run.driver.stat(name)).health == "degraded"


async def look(run):
    """Have a deep scrub see what there is, while the caretaker mends nothing."""
    found = await run.driver.scrub(deep=True)
    return found.missing, found.corrupt


def test_shards_that_are_damaged_in_different_places_mend_each_other():
    """Three of 4 + 2, each in another stripe: no plan has enough whole shards, and each stripe has."""

    async def scenario(run):
        await run.put("o", run.sim.token(4 * STRIPE))
        before = await run.layout("o")
        await damage(run, {0: 0, 1: 1, 2: 2})
        assert await look(run) == (0, 3)
        done = await run.driver.repair()
        assert (done.shards, done.failed, done.lost) == (3, {}, {})
        assert await look(run) == (0, 0)
        assert await run.layout("o") == before, "made again where they were"
        for place in before[4:]:
            run.kill(place)
        await run.check_objects()

    simulate(6, scenario)


def test_all_shards_may_be_damaged_and_go_to_other_stores():
    async def scenario(run):
        await run.put("o", run.sim.token(6 * STRIPE))
        paths = await damage(run, {index: index for index in range(6)})
        leaving = (await run.layout("o"))[3]
        run.drain(leaving)
        await run.driver.scrub(deep=True)
        await run.settle(run.quiet)
        assert leaving not in await run.layout("o")
        assert not paths[3].exists()
        await run.check_objects()
        await run.check_shards()

    simulate(8, scenario)


def test_what_can_not_be_mended_stays_as_it_is():
    """Three of 4 + 2 are damaged in one stripe: that one is lost, and no repair takes the others away."""

    async def scenario(run):
        payload = run.sim.token(4 * STRIPE)
        await run.put("o", payload)
        paths = await damage(run, {0: 1, 1: 1, 2: 1})
        bytes_before = [path.read_bytes() for path in paths.values()]
        await run.driver.scrub(deep=True)
        for _ in range(2):
            done = await run.driver.repair()
            assert set(done.lost) == {"o"}
        assert [path.read_bytes() for path in paths.values()] == bytes_before
        with pytest.raises(NotEnoughShards):
            await run.driver.get("o")
        assert await run.driver.get("o", (2 * STRIPE, 4 * STRIPE)) == payload[2 * STRIPE :]
        await run.driver.close()
        for path in paths.values():
            assert not list((path.parents[2] / "tmp").iterdir()), "what was made of it is dropped"

    simulate(6, scenario)


@pytest.mark.parametrize("step", ["begin", "append", "seal", "check", "swap", "record"])
def test_a_damaged_shard_stays_until_the_new_one_is_whole(step):
    """The store fails at each step of a repair in place: what could be read can be read, and the next repair mends."""
    call, failures = getattr(PlaceStore, step), []

    @wraps(call)
    def fail(store, *args, **kwargs):
        if step != "check" or args[-1] is True:  # of the new shard alone
            failures.append(step)
            raise StoreFailure(store.uuid, step, "EIO")
        return call(store, *args, **kwargs)

    async def scenario(run):
        await run.put("o", run.sim.token(0 if step == "begin" else 4 * STRIPE))
        entry = await run.entry("o")
        path = run.shard_file(run.place_of(entry.layout[1]), entry.record.write_id, 1)
        if step == "begin":
            flip(path, 40)
        else:
            await damage(run, {1: 2, 2: 1, 4: 0})
        with mock.patch.object(PlaceStore, step, fail):
            await run.driver.scrub(deep=True)
            done = await run.driver.repair()
        assert failures
        assert set(done.failed) == {"o"}
        assert not done.lost
        assert path.exists()
        await run.check_objects()
        await run.driver.repair()
        assert await look(run) == (0, 0)
        assert not list((path.parents[2] / "tmp").iterdir())
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(6, scenario)


@pytest.mark.parametrize("point", ["move.opened", "move.copied", "move.recorded", "move.committed"])
@pytest.mark.parametrize("victim", ["driver", "stores"])
def test_a_crash_while_damage_is_mended_in_its_place(point, victim):
    async def scenario(run):
        await run.put("o", run.sim.token(4 * STRIPE))
        await damage(run, {0: 0, 1: 1, 2: 2})
        places = await run.layout("o")
        await run.driver.scrub(deep=True)

        def crash():
            if victim == "driver":
                run.kill_driver()
                raise BackendClosed
            for place in places[:2]:
                run.kill(place)

        with arm(point, crash):
            await asyncio.gather(run.driver.repair(), return_exceptions=True)
        if victim == "driver":
            await run.start()
        for place in places[:2]:
            run.revive(place)
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(6, scenario)


def test_a_slow_second_mover_takes_nothing_away():
    """It opened its move before another driver had mended the shard, goes on then, and its process ends."""

    async def scenario(run):
        await run.put("o", run.sim.token(4 * STRIPE))
        await damage(run, {1: 0})
        await run.driver.scrub(deep=True)
        client = Client(run.sim)
        late = await AsyncDriver.start(client, SYSTEM, durable=True, state_dir=run.root / "state")
        mover = late._upkeep._repairs._mover
        refs, mended = mover._stores.refs, asyncio.Event()

        async def slow(uuids):
            await mended.wait()
            return await refs(uuids)

        async def end(*_args):
            client.kill()
            raise BackendClosed

        with mock.patch.object(mover._stores, "refs", slow), mock.patch.object(mover, "_make", end):
            repair = asyncio.ensure_future(late.repair())
            await run.settle(run.quiet)
            mended.set()
            await asyncio.gather(repair, return_exceptions=True)
        assert await look(run) == (0, 0)

    simulate(6, scenario)


def test_a_repair_whose_moves_a_new_caretaker_gave_up_begins_them_anew():
    async def scenario(run):
        await run.put("o", run.sim.token(4 * STRIPE))
        await lose(run, 1)
        upkeep, mover = run.driver._upkeep, run.driver._upkeep._repairs._mover
        make, given_up = mover._make, []

        async def overtaken(*args):
            if not given_up:
                given_up.extend(await upkeep._authority.ask(Coordinator.shard_moves, None))
                await upkeep._authority.ask(Coordinator.abort_shard_moves, given_up)
            return await make(*args)

        with mock.patch.object(mover, "_make", overtaken):
            done = await run.driver.repair()
        assert [move.index for move in given_up] == [1]
        assert (done.failed, done.shards) == ({}, 1)
        await run.check_shards()

    simulate(7, scenario)


@pytest.mark.parametrize("seconds", [3, 60])
def test_a_repair_waits_for_who_mends_the_shard_already_but_not_for_ever(seconds):
    async def scenario(run):
        await run.put("o", run.sim.token(4 * STRIPE))
        await lose(run, 1)
        mover = run.driver._upkeep._repairs._mover
        move, free_s = mover.move, run.sim.uptime_s() + seconds

        async def busy(entry, *args):
            if run.sim.uptime_s() < free_s:
                raise WriteInProgress(entry.record.name)
            return await move(entry, *args)

        with mock.patch.object(mover, "move", busy):
            done = await run.driver.repair()
        assert (list(done.failed), done.shards) == (([], 1) if seconds == 3 else (["o"], 0))

    simulate(7, scenario)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_riskiest_come_first_however_many_there_are(damaged):
    """More objects lack shards than a queue holds: a status counts all, and what is mended first is what bears least."""

    async def scenario(run):
        for number in range(24):
            await run.put(f"o{number:02}", run.sim.token(100), code="rs:2+3" if number % 4 else "rs:4+1")
        if damaged:
            for name in run.payloads:
                await damage(run, {0: 0}, name)
            await look(run)
        else:
            for place in ("p00", "p01"):
                run.kill(place)
            await run.sim.sleep(8.0)
        upkeep = run.driver._upkeep
        inventory = await upkeep._lookout.look()
        whole = await run.driver.status()
        every = (await upkeep._repairs.needs(inventory, at_once=True)).first
        assert len(every) == sum(whole.margins.values()) > 10
        with mock.patch("faultset_ray.driver.repairs.REPAIR_QUEUE_MAX", 5):
            status = await run.driver.status()
            first = (await upkeep._repairs.needs(inventory, at_once=True)).first
        assert (status.margins, status.healthy, status.lost) == (whole.margins, whole.healthy, whole.lost)
        others = [need for need in every if need.margin >= 0]
        assert [need for need in first if need.margin >= 0] == others[:5]
        assert len({need.margin for need in others}) > 1
        done = await run.driver.repair()
        assert not done.failed or done.lost
        await run.driver.close()

    simulate(9, scenario)


def test_a_deep_scrub_holds_no_repair_up_and_is_carried_on_by_the_shard():
    """At 1 kB a second a page takes hours: a lost store is mended as ever, and the next driver goes on in the page."""
    checked = []

    async def scenario(run):
        for number in range(12):
            await run.put(f"o{number}", run.sim.token(200_000))

        async def check(net, store, *key_size_bucket):
            checked.append((store.uuid, *key_size_bucket[:2]))
            return await check_shard(net, store, *key_size_bucket)

        with mock.patch("faultset_ray.driver.scrubbing.check_shard", check):
            await run.settle(lambda: _more_than(checked, 2))
            run.kill_driver()
            await run.start()
            before = len(checked)
            await run.settle(lambda: _more_than(checked, before + 2))
            lost = next(place for place in await run.layout("o0") if run.store(place).uuid != checked[0][0])
            run.kill(lost)

            async def mended():
                return all([lost not in await run.layout(name) for name in run.payloads])

            assert await run.settle(mended) < REPAIR_AFTER_SECONDS + 60
        assert len(set(checked)) >= len(checked) - 1, "but for the shard that was being read when the driver ended"

    simulate(9, scenario, config=Config(health=Health(scrub=Scrub(bytes_per_s=1000))))


async def _more_than(items, count):
    return len(items) > count
