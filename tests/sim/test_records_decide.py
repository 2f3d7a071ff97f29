"""What records decide once the catalog can't: writes that raised halfway, and for how long a deletion can be undone."""

import shutil

import pytest
from sim.object_world import lose_catalog, simulate

from faultset_ray.errors import FaultsetError, ObjectNotFound
from faultset_ray.failpoints import arm

DAY_S = 86_400


async def raise_halfway(run, name="o"):
    """A put that has its record on one store, which is cut off; the place of that."""
    before = await run.entry(name)
    last = 0 if before is None else before.record.generation
    stores = {hosted.place: hosted.servant for key, hosted in run.sim._world.hosted.items() if key.startswith("store/")}
    reached = []

    def sealed():
        reached.extend(
            sorted(place for place, store in stores.items() if (store.scan(b"", 99).generation > last).any())
        )
        for place in reached[1:]:
            run.sim.cut(place)

    with (
        arm("put.sealed", sealed),
        arm("put.one_record", lambda: run.sim.cut(reached[0])),
        pytest.raises(FaultsetError),
    ):
        await run.driver.put(name, b"never acknowledged")
    for place in reached[1:]:
        run.sim.heal(place)
    await run.sim.sleep(60)  # the others drop what they have
    return reached[0]


@pytest.mark.parametrize("before", [b"acknowledged", None])
def test_a_put_that_raised_hides_nothing_while_the_coordinator_is_away(before):
    async def scenario(run):
        if before is not None:
            await run.driver.put("o", before)
        back = await raise_halfway(run)
        run.sim.cut("head")
        run.sim.heal(back)
        if before is None:
            with pytest.raises(ObjectNotFound):
                await run.driver.get("o")
        else:
            assert await run.driver.get("o") == before

    simulate(9, scenario)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_put_that_raised_hides_nothing_from_a_rebuild(deleted):
    async def scenario(run):
        kept = (await run.driver.put("o", b"acknowledged")).generation
        if deleted:
            kept = (await run.driver.delete("o")).generation
        back = await raise_halfway(run)
        await lose_catalog(run)
        run.sim.heal(back)
        rebuilt = await run.driver.rebuild()
        [left] = rebuilt.unfinished
        assert (left.name, left.records, left.have, left.need, left.shown) == ("o", 1, 1, 4, kept)
        assert (rebuilt.objects, rebuilt.deleted, rebuilt.lost) == (int(not deleted), int(deleted), ())
        if not deleted:
            await run.driver.delete("o")
        await run.driver.undelete("o")
        assert await run.driver.get("o") == b"acknowledged"
        await run.driver.put("o", b"newer")
        await run.sim.sleep(100)
        assert await run.driver.get("o") == b"newer"

    simulate(9, scenario)


def test_a_rebuild_keeps_what_was_deleted_for_as_long_as_was_said():
    async def scenario(run):
        for name, grace_s in (("month", 30 * DAY_S), ("second", 1), ("kept", None)):
            await run.driver.put(name, name.encode())
            if grace_s is not None:
                await run.driver.delete(name, grace_s=grace_s)
        await run.settle(run.quiet)
        run.kill_driver()
        run.kill_coordinator()
        await run.sim.sleep(2 * DAY_S)
        shutil.rmtree(run.root / "state")
        await run.start()
        assert (await run.driver.rebuild()).deleted >= 1
        await run.sim.sleep(200)
        assert [info.name for info in await run.driver.list(deleted=True)] == ["month"]
        await run.driver.undelete("month")
        assert await run.driver.get("month") == b"month"

    simulate(6, scenario)
