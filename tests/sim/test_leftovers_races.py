"""Leftovers that a scrub comes upon too late, or while a move or another scrub is at work."""

from __future__ import annotations

import asyncio
from functools import wraps
from unittest import mock

import pytest
from sim.object_world import simulate
from sim.test_leftovers import files, late_copy, spare

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.leftovers import Leftovers
from faultset_ray.driver.moving import Mover
from faultset_ray.errors import ObjectNotFound
from faultset_ray.objects.place_store import PlaceStore


@pytest.mark.parametrize("how", ["deleted", "overwritten"])
def test_a_recorded_copy_whose_object_went_before_a_scrub_came_stays_and_is_told_of(how):
    async def scenario(run):
        await run.put("o", run.sim.token(1000))
        await run.put("a", run.sim.token(50_000))
        write_id = (await run.entry("a")).record.write_id
        path = await late_copy(run, "a", 2, await spare(run, "a"))
        if how == "deleted":
            await run.driver.delete("a", grace_s=0)
            del run.payloads["a"]
        else:
            await run.put("a", run.sim.token(50_000))

        async def collected():
            return files(run, write_id=write_id) == [path]

        await run.settle(collected)
        found = await run.driver.scrub(drop_orphans=True)
        told = [(orphan.write_id, orphan.index) for orphan in found.orphans]
        assert (found.leftovers, told, found.dropped) == (0, [(write_id, 2)], 0)
        assert path.exists()

    simulate(8, scenario)


def test_two_scrubs_at_once_count_and_drop_once():
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        path = await late_copy(run, "a", 2, await spare(run, "a"))
        one, two = await asyncio.gather(run.driver.scrub(), run.driver.scrub(deep=True))
        assert one.leftovers + two.leftovers == 1
        await run.settle(run.quiet)
        assert not path.exists()
        await run.check_shards()

    simulate(8, scenario)


def test_the_move_of_the_same_shard_begins_between_the_reading_and_the_drop():
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        target = await spare(run, "a")
        path = await late_copy(run, "a", 2, target)
        entry, drop = await run.entry("a"), Leftovers.drop
        moves = []

        async def late(self, uuid, keys):
            if keys and not moves:
                moves.append(1)
                await run.driver._steward._caretaker._mover.move(entry, {2: target})
            return await drop(self, uuid, keys)

        with mock.patch.object(Leftovers, "drop", late):
            found = await run.driver.scrub()
        assert (moves, found.leftovers) == ([1], 0)
        await run.settle(run.quiet)
        assert path.exists()
        await run.check_objects()
        await run.check_shards()

    simulate(8, scenario)


@pytest.mark.parametrize("aborts", [False, True])
def test_the_record_goes_in_the_end_when_the_move_that_kept_it_is_given_up(aborts):
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        target = await spare(run, "a")
        path = await late_copy(run, "a", 2, target)
        entry, recorded = await run.entry("a"), Mover._record

        async def record(self, *arguments):
            await recorded(self, *arguments)
            await run.driver.scrub()
            while path.exists():
                await run.sim.sleep(1)
            if aborts:
                raise ObjectNotFound("a")

        with mock.patch.object(Mover, "_record", record):
            moving = run.driver._steward._caretaker._mover.move(entry, {3: target})
            if aborts:
                with pytest.raises(ObjectNotFound):
                    await moving
            else:
                await moving
        await run.settle(run.quiet)
        [held] = run.store(run.place_of(target)).held([entry.record.write_id])
        assert (held.indices, held.recorded) == (((), False) if aborts else ((3,), True))
        assert await run.driver._authority.ask(Coordinator.garbage, 100) == []
        await run.check_shards()

    simulate(8, scenario)


@pytest.mark.parametrize("home", ["away", "corrupt"])
def test_a_copy_that_is_sealed_just_after_the_store_was_asked_stays_while_the_shard_is_not_sound(home):
    """The list of unsealed shards is of a moment before: its mover sealed it since, and nobody read the shard's own."""

    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        target = await spare(run, "a")
        path = await late_copy(run, "a", 2, target)
        entry = await run.entry("a")
        write_id, place = entry.record.write_id, run.place_of(entry.layout[2])
        if home == "away":
            run.kill(place)
        else:
            its = run.shard_file(place, write_id, 2)
            whole = its.read_bytes()
            its.write_bytes(whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:])

        @wraps(PlaceStore.unsealed)
        def before(store):
            return [(write_id, 2)] if store.uuid == target else []

        with mock.patch.object(PlaceStore, "unsealed", before):
            found = await run.driver.scrub()
        await run.sim.sleep(30)
        assert (found.leftovers, path.exists()) == (0, True)

    simulate(8, scenario)
