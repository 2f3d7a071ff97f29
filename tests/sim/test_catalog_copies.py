"""An older copy of the coordinator's directory is put back: it is never taken for the catalog."""

import shutil

import pytest
from sim.object_world import simulate

from faultset_ray.coordinator.objects import Orphan
from faultset_ray.errors import CatalogLost


async def restart(run, directory=None):
    """A new driver and coordinator, on a copy of the directory where one is named."""
    run.kill_driver()
    run.kill_coordinator()
    if directory is not None:
        shutil.rmtree(run.root / "state")
        shutil.copytree(directory, run.root / "state")
    await run.start()


@pytest.mark.parametrize("lives", [1, 3])
def test_it_is_told_before_anything_is_read_or_written(lives):
    """In the same epoch as one that gave generations, and in a lower one."""

    async def scenario(run):
        await run.driver.put("o", b"before")
        run.kill_driver()
        run.kill_coordinator()
        shutil.copytree(run.root / "state", run.root / "copy")
        await run.start()
        await run.driver.put("o", b"after")
        receipt = await run.driver.put("new", b"acknowledged")
        for _ in range(lives - 1):
            await restart(run)
            await run.driver.get("o")
        await restart(run, run.root / "copy")
        for verb in (run.driver.get("new"), run.driver.get("o"), run.driver.put("later", b""), run.driver.scrub()):
            with pytest.raises(CatalogLost, match="is older than its stores") as caught:
                await verb
        assert caught.value.newest >= receipt.generation > caught.value.given
        run.kill_driver()
        run.kill_coordinator()
        shutil.rmtree(run.root / "state")
        await run.start()
        rebuilt = await run.driver.rebuild()
        assert (rebuilt.objects, rebuilt.lost, rebuilt.twice) == (2, (), ())
        assert (await run.driver.get("o"), await run.driver.get("new")) == (b"after", b"acknowledged")
        assert (await run.driver.put("o", b"")).generation > receipt.generation

    simulate(9, scenario)


def test_an_orphan_with_a_record_is_not_dropped():
    async def scenario(run):
        await run.driver.put("o", b"acknowledged")
        entry = await run.entry("o")
        ledger = run.sim._world.hosted["coordinator"].servant._ledger
        with ledger.catalog.transaction():  # as if the catalog had never heard of it
            for table in ("generations", "shards"):
                ledger.catalog.do(f"DELETE FROM {table}")
        found = await run.driver.scrub(drop_orphans=True)
        assert {orphan.write_id for orphan in found.orphans if isinstance(orphan, Orphan)} == {entry.record.write_id}
        for uuid in entry.layout:
            assert run.store(run.place_of(uuid)).held([entry.record.write_id])[0].indices
        for uuid in entry.layout:
            key = entry.record.object_id, entry.record.generation
            run.store(run.place_of(uuid))._records.remove([key])
        await run.driver.scrub(drop_orphans=True)
        for uuid in entry.layout:
            assert not run.store(run.place_of(uuid)).held([entry.record.write_id])[0].indices

    simulate(6, scenario)
