"""Stores that are emptied and let go of: all their garbage goes too, what can't be moved is told, and it can be stopped."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from unittest import mock

import pytest
from sim.object_world import World, simulate

from faultset_ray.config import Health, Repair
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver import emptying
from faultset_ray.errors import InputError, NotEnoughPlaces, NotEnoughShards, StoreNotEmptied


async def states(run: World) -> dict[str, str]:
    rows = await run.driver._authority.ask(Coordinator.stores)
    return {row.place: row.state for row in rows.values()}


async def with_objects(run: World, count: int = 6, code: str = "rs:4+2") -> str:
    """The place of a store with shards of all of them."""
    for number in range(count):
        await run.put(f"o{number}", run.sim.token(20_000), code)
    return (await run.layout("o0"))[0]


async def with_one_beyond_reach(run: World) -> tuple[str, str]:
    """A place that is gone for good, and the name of the object that is lost with it."""
    gone = await with_objects(run)
    entry = await run.entry("o0")
    places = await run.layout("o0")
    for index in (1, 2):
        run.shard_file(places[index], entry.record.write_id, index).unlink()
    run.kill(gone)
    return gone, "o0"


def test_objects_that_can_not_be_moved_are_told_and_the_store_stays():
    async def scenario(run):
        gone, name = await with_one_beyond_reach(run)
        [uuid] = [
            row.uuid for row in (await run.driver._authority.ask(Coordinator.stores)).values() if row.place == gone
        ]
        with pytest.raises(StoreNotEmptied, match="force=True") as caught:
            await run.driver.decommission(uuid)
        assert caught.value.stores == [uuid]
        assert list(caught.value.objects) == [name]
        assert (await states(run))[gone] == "active"
        assert (await run.driver.status()).lost == (name,)
        for other in set(run.payloads) - {name}:
            assert gone not in await run.layout(other), "what could be moved was"

    simulate(9, scenario)


def test_by_force_a_store_is_let_go_and_what_is_lost_stays_known_until_it_is_back():
    async def scenario(run):
        gone, name = await with_one_beyond_reach(run)
        done = await run.driver.decommission(gone, force=True)
        assert done.lost == (name,)
        assert (await states(run))[gone] == "retired"
        await run.sim.sleep(600)
        status = await run.driver.status()
        assert (status.lost, status.margins[-1]) == ((name,), 1)
        with pytest.raises(NotEnoughShards):
            await run.driver.get(name)
        lost = {name: run.payloads.pop(name)}
        await run.check_objects()
        run.revive("p09")  # with the directory
        run.payloads |= lost
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()
        assert (await states(run))["p09"] == "active"

    simulate(10, scenario, absent=("p09",))


def test_by_force_only_what_is_gone_is_let_go():
    async def scenario(run):
        place = await with_objects(run, 1)
        with pytest.raises(InputError, match="answers"):
            await run.driver.decommission(place, force=True)
        assert set((await states(run)).values()) == {"active"}

    simulate(7, scenario)


def test_by_force_too_few_other_stores_are_made_do_with():
    async def scenario(run):
        gone = await with_objects(run, 2)
        run.kill(gone)
        with pytest.raises(NotEnoughPlaces):
            await run.driver.decommission(gone)
        done = await run.driver.decommission(gone, force=True)
        assert (done.objects, done.lost) == (0, ())
        await run.check_objects()
        assert (await run.driver.status()).margins == {1: 2}
        run.revive("p06")
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(7, scenario, absent=("p06",))


def test_what_is_not_done_in_time_is_given_up_and_the_store_takes_part_as_before():
    async def scenario(run):
        place = await with_objects(run, 12)
        seen = []
        itself = run.driver._steward._caretaker  # it empties the store too
        slow = mock.patch.object(itself, "_health", Health(repair=Repair(bytes_per_s=100)))
        with slow, pytest.raises(StoreNotEmptied, match=r"2 s have passed") as caught:
            await run.driver.decommission(
                place, bytes_per_s=1_000, timeout_s=2, progress=lambda done, all_of_it: seen.append((done, all_of_it))
            )
        assert set(caught.value.objects.values()) == {"not moved yet"}
        assert (await states(run))[place] == "active"
        assert seen == sorted(seen)
        assert 0 < seen[-1][0] < seen[-1][1]
        with pytest.raises(InputError, match="timeout_s"):
            await run.driver.decommission(place, timeout_s=0)
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(9, scenario)


def test_one_that_is_cancelled_leaves_the_store_as_it_was():
    async def scenario(run):
        place = await with_objects(run, 12)
        task = asyncio.ensure_future(run.driver.decommission(place, bytes_per_s=4_000))
        await run.sim.sleep(2)
        assert (await states(run))[place] == "draining"
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert (await states(run))[place] == "active"
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(9, scenario)


async def killed_at_it(run: World, place: str) -> None:
    """What a driver leaves that is killed while it empties the stores of a place: nobody has them take part again."""
    with mock.patch.object(emptying.Emptying, "_restored", new=mock.AsyncMock()):
        task = asyncio.ensure_future(run.driver.decommission(place, bytes_per_s=4_000))
        await run.sim.sleep(2)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert (await states(run))[place] == "draining"


def test_one_whose_driver_was_killed_is_carried_on():
    async def scenario(run):
        place = await with_objects(run, 12)
        await killed_at_it(run, place)
        done = await run.driver.decommission(place)
        assert (await states(run))[place] == "retired"
        assert len(done.stores) == 1
        await run.settle(run.quiet)
        await run.check_objects()
        for name in run.payloads:
            assert place not in await run.layout(name)

    simulate(9, scenario)


def test_one_whose_driver_was_killed_is_undone():
    async def scenario(run):
        place = await with_objects(run, 12)
        await killed_at_it(run, place)
        [uuid] = await run.driver.cancel_decommission(place)
        assert (await states(run))[place] == "active"
        assert await run.driver.cancel_decommission(uuid) == (), "it takes part already"
        with pytest.raises(InputError, match="no store"):
            await run.driver.cancel_decommission("nowhere")
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


def test_one_that_is_cancelled_by_another_driver_ends_and_is_not_taken_up_again():
    async def scenario(run):
        place = await with_objects(run, 12)
        task = asyncio.ensure_future(run.driver.decommission(place, bytes_per_s=4_000))
        await run.sim.sleep(2)
        await run.driver.cancel_decommission(place)
        with pytest.raises(StoreNotEmptied, match="cancelled"):
            await task
        assert (await states(run))[place] == "active"

    simulate(9, scenario)


def test_all_garbage_goes_before_the_store_does_however_much_it_is():
    async def scenario(run):
        place = await with_objects(run)
        store = run.store(place)
        directory = run.root_of(place)
        for name in list(run.payloads):
            await run.driver.delete(name, grace_s=0)
        with mock.patch("faultset_ray.driver.collecting.UPKEEP_PAGE", 2):
            await run.sim.sleep(1)
            await run.driver.decommission(place)
        assert not list(directory.glob("shards/*/*")), store.uuid

    simulate(9, scenario)


def test_a_store_whose_garbage_can_not_be_dropped_is_waited_for_no_longer_than_asked():
    async def scenario(run):
        place = await with_objects(run)
        broken = mock.patch.object(emptying.Collector, "collect", new=nothing)
        with broken, pytest.raises(StoreNotEmptied, match="5 s have passed"):
            await run.driver.decommission(place, timeout_s=5)
        assert (await states(run))[place] == "active"
        await run.check_objects()

    simulate(9, scenario)


async def nothing(self, inventory):
    return 0
