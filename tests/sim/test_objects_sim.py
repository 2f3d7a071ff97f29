"""Objects looked after in virtual time: repair, evacuation, decommission, scrub, garbage, and crashes in between."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest
from sim.object_world import simulate

from faultset_ray.errors import InputError, NotEnoughPlaces
from faultset_ray.limits import REPAIR_AFTER_SECONDS, REPAIR_SOON_SECONDS, SPREAD_AFTER_SECONDS


async def some(run, count=6, code="rs:4+2", **options):
    for number in range(count):
        await run.put(f"o{number}", run.sim.token(9_000 * number), code, **options)


def test_a_store_that_stays_away_is_repaired_around_and_no_sooner():
    async def scenario(run):
        await some(run)
        lost = (await run.layout("o3"))[0]
        run.kill(lost)
        took = await run.settle(run.quiet)
        assert REPAIR_AFTER_SECONDS <= took < REPAIR_AFTER_SECONDS + 60
        for name in run.payloads:
            assert lost not in await run.layout(name)
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


def test_a_store_that_comes_back_in_time_is_left_as_it_is():
    async def scenario(run):
        await some(run)
        before = [await run.layout(name) for name in run.payloads]
        lost = before[3][0]
        run.kill(lost)
        await run.sim.sleep(REPAIR_AFTER_SECONDS - 60)
        run.revive(lost)
        await run.sim.sleep(REPAIR_AFTER_SECONDS + 60)
        assert [await run.layout(name) for name in run.payloads] == before
        await run.check_shards()

    simulate(9, scenario)


def test_an_object_that_bears_no_further_loss_is_not_kept_waiting():
    async def scenario(run):
        await some(run, 3, "rs:4+1")
        run.kill((await run.layout("o2"))[1])
        assert REPAIR_SOON_SECONDS <= await run.settle(run.quiet) < REPAIR_SOON_SECONDS + 30
        await run.check_objects()

    simulate(7, scenario)


def test_what_comes_back_after_its_repair_is_dropped():
    async def scenario(run):
        await some(run)
        lost = (await run.layout("o3"))[0]
        run.kill(lost)
        await run.settle(run.quiet)
        run.revive(lost)
        await run.settle(run.quiet)
        assert (await run.driver.status()).tally.garbage == 0
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


def test_a_place_that_is_about_to_leave_is_evacuated_by_copies():
    async def scenario(run):
        await some(run)
        leaving = (await run.layout("o3"))[0]
        run.drain(leaving)

        async def empty():
            return run.store(leaving).info().shards == 0

        assert await run.settle(empty) < 60, "nobody waits until it is gone"
        run.kill(leaving)
        await run.check_objects()
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(9, scenario)


def test_a_decommissioned_store_is_empty_and_ended_and_not_started_again():
    async def scenario(run):
        await some(run)
        leaving = (await run.layout("o3"))[0]
        store = run.store(leaving)
        done = await run.driver.decommission(leaving)
        assert done.stores == (store.uuid,)
        assert done.shards >= 1
        assert f"store/{leaving}" not in run.sim._world.hosted
        await run.driver.stores()
        await run.sim.sleep(60)
        assert f"store/{leaving}" not in run.sim._world.hosted
        for name in run.payloads:
            assert len(set(await run.layout(name)) - {leaving}) == 6
        await run.check_objects()
        await run.check_shards()

    simulate(8, scenario)


def test_what_was_mended_onto_fewer_stores_is_spread_again_when_the_same_ones_are_back():
    async def scenario(run):
        await some(run, code="rs:3+2")
        away = (await run.layout("o3"))[:2]
        for place in away:
            run.kill(place)
        await run.sim.sleep(10.0)
        await run.driver.repair()
        assert {len(set(layout)) for layout in [await run.layout(name) for name in run.payloads]} == {3}
        for place in away:
            run.revive(place)

        async def apart():
            stats = [await run.driver.stat(name) for name in run.payloads]
            return {stat.survivable for stat in stats} == {2}

        await run.settle(apart, 2 * SPREAD_AFTER_SECONDS)
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(5, scenario)


def test_a_decommission_empties_onto_a_store_that_has_something_to_drop_of_the_same_object():
    """Its driver alone is there: no steward clears the store that came back."""

    async def scenario(run):
        await run.driver._steward.close(save=False)
        await run.put("a", run.sim.token(50_000), code="rs:2+1")
        back, leaving, _ = await run.layout("a")
        run.kill(back)
        assert (await run.driver.repair()).shards == 1
        run.revive(back)
        emptying = asyncio.ensure_future(run.driver.decommission(leaving))

        async def emptied():
            return emptying.done()

        await run.settle(emptied, 60.0)
        assert (await emptying).shards == 1
        assert (await run.layout("a"))[1] == back
        await run.check_objects()
        await run.check_shards()

    simulate(4, scenario)


def test_a_decommission_that_would_break_the_promise_is_refused():
    async def scenario(run):
        await some(run, 3)
        place = (await run.layout("o1"))[0]
        with pytest.raises(NotEnoughPlaces) as caught:
            await run.driver.decommission(place)
        assert (caught.value.have, caught.value.need) == (5, 6)
        assert {store.row.state for store in (await run.driver.status()).stores} == {"active"}
        with pytest.raises(InputError, match="nowhere"):
            await run.driver.decommission("nowhere")
        await run.check_shards()

    simulate(6, scenario)


def test_objects_are_spread_over_stores_that_join_and_no_more_than_that_takes():
    """Page by page, as a large catalog is."""

    async def scenario(run):
        await run.sim.sleep(30)
        await some(run, 40)
        before = {name: await run.layout(name) for name in run.payloads}
        run.revive("p07")
        run.revive("p08")
        await run.sim.sleep(1800)
        await run.settle(run.quiet)
        after = {name: await run.layout(name) for name in run.payloads}
        moved = sum(old != new for name in before for old, new in zip(before[name], after[name], strict=True))
        used = {place: run.store(place).info().used_bytes for place in (f"p{number:02}" for number in range(9))}
        mean = sum(used.values()) / 9
        largest = max(len(payload) for payload in run.payloads.values()) / 4 + 1000
        assert all(abs(each - mean) < 0.05 * mean + largest for each in used.values()), used
        assert moved <= 1.3 * 240 * 2 / 9, "what two of nine stores are to have, and a little for unequal sizes"
        await run.check_objects()
        await run.check_shards()

    with mock.patch("faultset_ray.driver.spreading.UPKEEP_PAGE", 7):
        simulate(9, scenario, absent=("p07", "p08"))


def test_stores_are_not_taken_for_lost_when_the_coordinator_starts_anew():
    async def scenario(run):
        await some(run, 3)
        before = [await run.layout(name) for name in run.payloads]
        run.kill_coordinator()
        await run.sim.sleep(2 * REPAIR_AFTER_SECONDS)
        status = await run.driver.status()
        assert all(store.here for store in status.stores)
        assert status.healthy == 3
        assert [await run.layout(name) for name in run.payloads] == before

    simulate(9, scenario)
