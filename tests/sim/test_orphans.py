"""Orphans are dropped on request, and only where it can be known that nobody was told that they are kept."""

from __future__ import annotations

from functools import wraps
from unittest import mock

import pytest
from sim.object_world import simulate

from faultset_ray.errors import StoreFailure
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.telemetry.events import ORPHANS_KEPT


def holders(found):
    return {orphan.store for orphan in found.orphans}


def test_no_orphan_is_dropped_while_more_stores_are_silent_than_objects_tolerate(caplog):
    """All records of a write that was acknowledged may be on those."""

    async def scenario(run):
        await run.put("a", run.sim.token(100_000))
        await run.driver.encode(run.sim.token(5000), "rs:4+2")
        away = [run.place_of(uuid) for uuid in sorted(holders(await run.driver.scrub()))][:3]
        for place in away:
            run.kill(place)
        found = await run.driver.scrub(drop_orphans=True)
        assert (len(holders(found)), len({*found.silent}), found.dropped) == (3, 3, 0)
        [said] = [record for record in caplog.records if getattr(record, "event", "") == ORPHANS_KEPT.name]
        assert (said.count, said.stores, said.tolerate) == (3, 3, 2)
        run.revive(away[0])
        found = await run.driver.scrub(drop_orphans=True)
        assert (len({*found.silent}), found.dropped) == (2, 4)
        for place in away[1:]:
            run.revive(place)
        assert (await run.driver.scrub(drop_orphans=True)).dropped == 2
        assert (await run.driver.scrub()).orphans == []
        await run.check_objects()

    simulate(8, scenario)


@pytest.mark.parametrize("method", ["drop", "held"])
def test_a_store_that_fails_keeps_its_orphans_and_the_others_drop_theirs(method):
    async def scenario(run):
        await run.driver.encode(run.sim.token(5000), "rs:4+2")
        failing = min(holders(await run.driver.scrub()))
        real = getattr(PlaceStore, method)

        @wraps(real)
        def fail(store, write_ids, *arguments):
            if store.uuid == failing and write_ids:
                raise StoreFailure(store.uuid, method, "EIO")
            return real(store, write_ids, *arguments)

        with mock.patch.object(PlaceStore, method, fail):
            found = await run.driver.scrub(drop_orphans=True)
        assert (len(found.orphans), found.dropped, found.silent) == (6, 5, [failing])
        assert holders(await run.driver.scrub(drop_orphans=True)) == {failing}
        assert (await run.driver.scrub()).orphans == []

    simulate(7, scenario)
