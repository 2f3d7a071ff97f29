"""Stores that were let go of and come back, after much was deleted and overwritten: nothing of that comes back."""

from __future__ import annotations

import pytest
from sim.object_world import World, lose_catalog, simulate

from faultset_ray import failpoints
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import ObjectNotFound, StoreFailure
from faultset_ray.objects.record import Record


class Stage:
    """A system in which one store was given up, and let go of, before objects that it has shards of were deleted."""

    def __init__(self, run: World) -> None:
        self.run = run

    async def set(self) -> None:
        """Objects that stay, and others that go, all with a shard on the store that leaves."""
        run = self.run
        for number in range(12):
            await run.put(f"o{number}", run.sim.token(3_000))
        self.old = next(iter(set(await run.layout("o0")) & set(await run.layout("o1")) & set(await run.layout("o2"))))
        self.uuid = run.store(self.old).uuid
        run.kill(self.old)
        await run.settle(run.quiet)
        await run.driver.decommission(self.uuid)
        await run.driver.delete("o0", grace_s=0)
        del run.payloads["o0"]
        await run.put("o1", run.sim.token(3_000))
        await run.sim.sleep(300)
        await run.settle(run.quiet)
        assert (await run.driver.status()).tally.garbage == 0, "nothing is remembered of what is gone"

    async def row(self):
        return (await self.run.driver._authority.ask(Coordinator.stores))[self.uuid]

    async def is_active(self) -> bool:
        return (await self.row()).state == "active"

    async def check(self) -> None:
        """The store has nothing that the catalog does not name, and takes part."""
        run = self.run
        with pytest.raises(ObjectNotFound):
            await run.driver.get("o0")
        assert [info.name for info in await run.driver.list()] == sorted(run.payloads)
        await run.check_objects()
        await run.check_shards()
        store = run.store("p08")
        assert store.uuid == self.uuid
        known = {(await run.entry(name)).record.generation for name in run.payloads}
        assert {Record.unpack(raw).generation for raw in store.scan_records(b"", 1000)[0]} <= known


def test_what_was_deleted_meanwhile_is_dropped_before_the_store_takes_part_again():
    async def scenario(run):
        stage = Stage(run)
        await stage.set()
        run.revive("p08")
        await run.settle(stage.is_active)
        await run.settle(run.quiet)
        await stage.check()
        assert (await run.driver._authority.ask(Coordinator.retired_stores)).stores == {}

    simulate(9, scenario, absent=("p08",))


def test_a_rebuild_with_a_store_that_was_let_go_of_brings_nothing_back():
    async def scenario(run):
        stage = Stage(run)
        await stage.set()
        await lose_catalog(run)
        run.revive("p08")
        rebuilt = await run.driver.rebuild()
        assert (rebuilt.objects, rebuilt.deleted, rebuilt.lost) == (len(run.payloads), 0, ())
        assert (await stage.row()).state == "returning"
        await run.settle(stage.is_active)
        await run.settle(run.quiet)
        await stage.check()

    simulate(9, scenario, absent=("p08",))


def test_a_rebuild_without_it_remembers_that_it_was_let_go_of():
    async def scenario(run):
        stage = Stage(run)
        await stage.set()
        await lose_catalog(run)
        assert (await run.driver.rebuild()).objects == len(run.payloads)
        assert (await stage.row()).state == "retired"
        run.revive("p08")
        await run.settle(stage.is_active)
        await run.settle(run.quiet)
        await stage.check()

    simulate(9, scenario, absent=("p08",))


@pytest.mark.parametrize("victim", ["store", "coordinator"])
@pytest.mark.parametrize("point", sorted(name for name in failpoints.NAMES if name.startswith("return.")))
def test_what_is_cut_short_is_done_anew(point, victim):
    async def scenario(run):
        stage = Stage(run)
        await stage.set()
        happened = []

        def fail():
            if len(happened) < 2:
                happened.append(point)
                if victim == "coordinator":
                    run.kill_coordinator()
                    return
                raise StoreFailure(stage.uuid, "drop shards", "EIO")

        with failpoints.arm(point, fail):
            run.revive("p08")
            await run.settle(stage.is_active)
        assert len(happened) == (1 if victim == "coordinator" else 2)
        await run.settle(run.quiet)
        await stage.check()

    simulate(9, scenario, absent=("p08",))


def test_shards_that_no_catalog_knows_stay_on_a_store_that_comes_back():
    async def scenario(run):
        shards = await run.driver.encode(b"x" * 1000, "rs:4+2")
        place = shards.shards[0].place
        uuid = run.store(place).uuid
        run.kill(place)
        await run.settle(run.quiet)
        await run.driver.decommission(uuid)
        run.revive("p08")

        async def back():
            return (await run.driver._authority.ask(Coordinator.stores))[uuid].state == "active"

        await run.settle(back)
        assert run.store("p08").held([shards.header.write_id])[0].indices == (0,)

    simulate(9, scenario, absent=("p08",))
