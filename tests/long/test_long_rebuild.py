"""Ten thousand objects' catalog is deleted, and made again from the stores alone: equal to what it was, in a minute."""

import asyncio
import shutil
import time

import pytest
from sim.object_world import simulate

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import CatalogLost

pytestmark = [pytest.mark.long, pytest.mark.timeout(3_600)]

SECONDS = 60.0
TOGETHER = 250


def test_long_rebuild(large):
    count = large.count(10_000)

    async def scenario(run):
        names = [f"o/{number:06}" for number in range(count)]
        for first in range(0, count, TOGETHER):
            some = names[first : first + TOGETHER]
            await asyncio.gather(*(run.put(name, run.sim.token(len(name) * 7), "rs:3+2") for name in some))
        for name in names[::10]:
            await run.put(name, b"newer " + name.encode(), "copy:3")
        for name in names[5::50]:
            await run.driver.delete(name)
            del run.payloads[name]
        before = [await catalog(run, deleted=deleted) for deleted in (False, True)]
        run.kill_driver()
        run.kill_coordinator()
        shutil.rmtree(run.root / "state")
        await run.start()
        with pytest.raises(CatalogLost):
            await run.driver.get(names[0])
        begun = time.monotonic()
        rebuilt = await run.driver.rebuild()
        seconds = time.monotonic() - begun
        large.notes.append(f"rebuilt in {seconds:.1f} s, {rebuilt.objects:,} objects, {rebuilt.deleted:,} deleted")
        assert (rebuilt.objects, rebuilt.lost, rebuilt.orphans) == (len(run.payloads), (), ())
        assert [await catalog(run, deleted=deleted) for deleted in (False, True)] == before
        for name in names[:: max(count // 100, 1)]:
            if name in run.payloads:
                assert await run.driver.get(name) == run.payloads[name]
        assert seconds <= SECONDS * max(count / 10_000, 1.0)

    simulate(9, scenario, seed=large.seed)


async def catalog(run, *, deleted):
    """What it says of every object; layout versions count changes and are not kept by stores."""
    found, after = [], ""
    while page := await run.driver._authority.ask(Coordinator.list_objects, "", after, 1_000, deleted=deleted):
        found += [(entry.record, entry.layout) for entry in page]
        after = page[-1].record.name
    return found
