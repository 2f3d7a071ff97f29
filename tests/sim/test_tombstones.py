"""What was deleted stays deleted, whatever becomes of the stores that were told first."""

import shutil

import pytest
from sim.object_world import lose_catalog, simulate

from faultset_ray.errors import ObjectNotFound
from faultset_ray.limits import REPAIR_AFTER_SECONDS
from faultset_ray.objects.record import Record, object_id

MONTH_S = 30 * 86_400


def records(run, place, name="o"):
    """The kinds of the records of an object at a place."""
    found = [Record.unpack(raw) for raw in run.store(place).scan_records(b"", 1000)[0]]
    return {record.kind for record in found if record.name == name}


async def with_tombstone(run):
    """The places of the stores that have the tombstone."""
    here = [store.row.place for store in (await run.driver.status()).stores if store.here]
    return [place for place in here if "delete" in records(run, place)]


async def stays_deleted(run):
    """The coordinator is away, then its directory is lost."""
    run.sim.cut("head")
    with pytest.raises(ObjectNotFound):
        await run.driver.get("o")
    run.sim.heal("head")
    await lose_catalog(run)
    rebuilt = await run.driver.rebuild()
    assert [info.name for info in await run.driver.list()] == ["other"]
    with pytest.raises(ObjectNotFound):
        await run.driver.get("o")
    return rebuilt


@pytest.mark.parametrize("restarted", [False, True])
def test_stores_are_replaced_one_after_the_other(restarted):
    """The new driver, if any, never met the stores that were let go of."""

    async def scenario(run):
        await run.driver.put("o", b"secret", code="copy:3")
        await run.driver.put("other", b"", code="copy:3")
        await run.driver.delete("o", grace_s=MONTH_S)
        for _ in range(2):
            for place in await with_tombstone(run):
                await run.driver.decommission(place)
                run.kill(place)
            assert len(await with_tombstone(run)) >= 3
        if restarted:
            run.kill_driver()
            await run.start()
            await run.driver.get("other")
        assert (await stays_deleted(run)).deleted == 1
        await run.driver.undelete("o")
        assert await run.driver.get("o") == b"secret"

    simulate(12, scenario)


def test_stores_die_one_after_the_other():
    async def scenario(run):
        await run.driver.put("o", b"secret", code="copy:2")
        await run.driver.put("other", b"", code="copy:2")
        await run.driver.delete("o", grace_s=MONTH_S)
        for place in await with_tombstone(run):
            run.kill(place)
            await run.sim.sleep(REPAIR_AFTER_SECONDS + 60)
        assert len(await with_tombstone(run)) == 2
        for store in (await run.driver.status()).stores:
            if not store.here:
                await run.driver.decommission(store.row.uuid, force=True)
        assert (await stays_deleted(run)).deleted == 1

    simulate(6, scenario)


def test_it_outlives_the_shards_where_a_store_may_come_back_with_an_old_one():
    """A store is away with a whole copy; the grace ends, and all stores with the tombstone are replaced."""

    async def scenario(run):
        await run.driver.put("o", b"secret", code="copy:2")
        await run.driver.put("other", b"", code="copy:3")
        away = run.place_of((await run.entry("o")).layout[0])
        run.kill(away)
        await run.driver.put("o", b"", code="copy:3", if_generation=(await run.entry("o")).record.generation)
        await run.driver.delete("o", grace_s=0)
        await run.sim.sleep(300)
        for place in await with_tombstone(run):
            assert records(run, place) == {"delete"}
            await run.driver.decommission(place)
            run.kill(place)
        assert len(await with_tombstone(run)) >= 3
        run.kill_driver()
        run.kill_coordinator()
        run.revive(away)
        shutil.rmtree(run.root / "state")
        await run.start()
        await run.driver.rebuild()
        assert [info.name for info in await run.driver.list()] == ["other"]

    simulate(10, scenario)


def test_a_scrub_makes_them_anew_and_they_are_forgotten_everywhere():
    async def scenario(run):
        await run.driver.put("o", b"secret", code="copy:3")
        gone = await run.driver.delete("o", grace_s=120)
        for place in (await with_tombstone(run))[1:]:
            run.store(place)._records.remove([(object_id("o"), gone.generation)])
        assert len(await with_tombstone(run)) == 1
        await run.driver.scrub()
        assert len(await with_tombstone(run)) == 3
        await run.driver.decommission((await with_tombstone(run))[0])
        await run.sim.sleep(200)
        assert not await with_tombstone(run)

    simulate(6, scenario)
