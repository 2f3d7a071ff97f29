"""Writes that their drivers no longer have: they end as what they are, and leave nothing."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import pytest
from sim.object_world import simulate
from sim.test_objects_crashes import once

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.coordinator.stores import keys_of
from faultset_ray.driver.put import Put
from faultset_ray.driver.writes import Writes
from faultset_ray.errors import BackendClosed, ObjectNotFound, WriteAborted
from faultset_ray.failpoints import arm
from faultset_ray.objects.record import object_id


def given_up(run):
    """What happens to a driver's open writes while it stands still, as the coordinator and the stores see it."""
    objects = run.sim._world.hosted["coordinator"].servant
    [row] = objects._objects()._catalog.all("SELECT write_id FROM intents WHERE state = 'open'")
    assert objects.abort_writes(list(row)) == [True]
    return bytes(row[0])


@pytest.mark.parametrize("nbytes", [1_000, 200_000])
@pytest.mark.parametrize("step", ["put.opened", "put.shards"])
def test_a_write_that_was_given_up_says_so(nbytes, step):
    async def scenario(run):
        def abort():
            write_id = given_up(run)
            for place in run.sim._world.alive:
                if place != "head":
                    run.store(place)._unsealed.abort(write_id)

        with arm(step, abort), pytest.raises(WriteAborted):
            await run.put("o", run.sim.token(nbytes))
        with pytest.raises(ObjectNotFound):
            await run.driver.get("o")

    simulate(7, scenario)


def test_no_record_is_written_by_a_driver_that_stood_still():
    """Its write was given up, and the stores were started again since: they don't remember it."""

    async def scenario(run):
        def stand_still():
            given_up(run)
            loop = run.sim._world.loop
            loop._virtual.now += 120.0

        with arm("put.sealed", stand_still), pytest.raises(WriteAborted):
            await run.put("o", run.sim.token(1_000))
        places = [place for place in run.sim._world.alive if place != "head"]
        assert [run.store(place).records([object_id("o")]) for place in places] == [[[]]] * len(places)

    simulate(7, scenario)


def intents(run):
    """Stores, in order, of every write that is not over."""
    objects = run.sim._world.hosted["coordinator"].servant._objects()
    rows = objects._catalog.all("SELECT layout FROM intents")
    return [[objects.stores.uuid(key) for key in keys_of(layout)] for (layout,) in rows]


@contextmanager
def long_before_elsewhere(run, lost):
    """Its driver stands still before it chooses other stores: the write is given up meanwhile, and all of it dropped.

    Yields
    ------
    list
        Of each such time, the open writes right after the driver went on.
    """
    elsewhere, after = Put._elsewhere, []

    async def late(put, shard_bytes):
        put._writes._renewing.cancel()
        run.revive(lost[0])

        async def collected():
            return not intents(run)

        await run.settle(collected)
        for place in [place for place in run.sim._world.alive if place != "head"]:
            run.kill(place)  # none of them remembers the write
            run.revive(place)
        await run.sim.sleep(30)
        try:
            await elsewhere(put, shard_bytes)
        finally:
            after.append(intents(run))

    with mock.patch.object(Put, "_elsewhere", late):
        yield after


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("how", ["small", "before the first stripe", "large"])
def test_a_write_that_was_collected_does_not_go_on_elsewhere(how, old):
    """It has headers of one generation, and would be committed as another one, if at all."""

    async def scenario(run):
        if old is not None:
            await run.put("o", old)
        lost = []

        def lose():
            [stores] = intents(run)
            lost.append(run.place_of(stores[1]))
            run.kill(lost[0])

        async def stream():
            for number in range(8):
                if number == 4:
                    lose()
                yield run.sim.token(32_768)

        step = {"small": "put.shards", "before the first stripe": "put.opened", "large": "put.committed"}[how]
        source = run.sim.token(1_000) if how == "small" else stream() if how == "large" else run.sim.token(200_000)
        refused = pytest.raises(WriteAborted, match="'o' was ended while its driver stood still")
        with long_before_elsewhere(run, lost) as after, arm(step, once(lose)), refused:
            await run.driver.put("o", source, code="rs:4+2", stripe_bytes=32_768)
        assert after == [[]], "nothing was opened anew"
        if old is None:
            with pytest.raises(ObjectNotFound):
                await run.driver.get("o")
        await run.check_objects()
        await run.put("o", b"anew")
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


def test_a_deletion_that_was_collected_deletes_nothing_newer():
    """It was carried on while its driver stood still, and the name written anew, before it asks for other stores."""

    async def scenario(run):
        await run.put("o", b"old")
        lost = (await run.layout("o"))[:4]
        opened, open_again = [], Writes.open

        async def late(writes, intent, *args):
            if intent.kind == "delete":
                opened.append(intent)
            if len(opened) == 2 and intent is opened[1]:
                writes._renewing.cancel()
                for place in lost:
                    run.revive(place)
                catalog = run.sim._world.hosted["coordinator"].servant._objects()._catalog

                async def collected():
                    return catalog.one("SELECT COUNT(*) FROM generations") == (0,) and not intents(run)

                await run.settle(collected)
                await run.put("o", b"new")
            return await open_again(writes, intent, *args)

        def lose():
            for place in lost:
                run.kill(place)

        asked_again = mock.patch.object(Writes, "open", late)
        with asked_again, arm("delete.opened", once(lose)), pytest.raises(WriteAborted):
            await run.driver.delete("o", grace_s=0)
        assert len(opened) == 2
        assert intents(run) == []
        await run.check_objects()
        await run.settle(run.quiet)
        await run.check_objects()

    simulate(9, scenario)


def test_a_small_write_soon_knows_that_a_host_is_gone():
    async def scenario(run):
        await run.put("o", b"before")
        for place in (await run.layout("o"))[:1]:
            run.sim.cut(place)
        began_s = run.sim.uptime_s()
        await run.put("o", b"after", tolerate=1)
        assert run.sim.uptime_s() - began_s < 30

    simulate(9, scenario)


@pytest.mark.parametrize("kind", ["BLOB", "TEXT"])
def test_a_damaged_record_holds_no_name(kind):
    async def scenario(run):
        await run.put("o", b"v1")
        entry = await run.entry("o")
        for uuid in entry.layout[:1]:
            rows = run.store(run.place_of(uuid))._records._db
            damaged = f"CAST(substr(body, 1, 20) || x'ff' || substr(body, 22) AS {kind})"
            rows.execute(f"UPDATE records SET body = {damaged}")

        def die():
            run.kill_driver()
            raise BackendClosed

        with arm("put.shards", die), pytest.raises(BackendClosed):
            await run.put("o", b"v2")
        await run.start()
        await run.driver.status()
        await run.sim.sleep(300)
        assert (await run.driver.status()).tally.open_writes == 0
        await run.put("o", b"v3", if_generation=entry.record.generation)

    simulate(9, scenario)


@pytest.mark.parametrize("lost", [4, 6])
def test_what_few_stores_are_left_of_can_be_deleted(lost):
    """Tombstones go to other stores; the driver's look at the stores may be older than their loss."""

    async def scenario(run):
        await run.put("o", b"x" * 1_000)
        for place in (await run.layout("o"))[:lost]:
            run.kill(place)
        await run.driver.delete("o")
        assert await run.driver.list() == []
        run.kill_driver()
        run.kill_coordinator()
        await run.start()
        with pytest.raises(ObjectNotFound):
            await run.driver.get("o")
        stones = await run.driver._authority.ask(Coordinator.list_objects, "", "", 10, deleted=True)
        assert [entry.record.name for entry in stones] == ["o"]

    simulate(9, scenario)
