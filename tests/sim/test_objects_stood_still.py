"""Writes that their drivers no longer have: they end as what they are, and leave nothing."""

from __future__ import annotations

import pytest
from sim.object_world import simulate

from faultset_ray.coordinator.servant import Coordinator
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
