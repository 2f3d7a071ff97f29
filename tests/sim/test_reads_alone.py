"""What reads tell while the coordinator is away: never what was overwritten or deleted, and was acknowledged so."""

import pytest
from sim.object_world import lose_catalog, simulate

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import CoordinatorUnavailable, NotEnoughPlaces
from faultset_ray.limits import SILENT_MAX


async def new_driver(run):
    """Another driver of the system, in the place of the one there was."""
    run.kill_driver()
    await run.start()
    await run.driver.status()


@pytest.mark.parametrize(
    "newer", [{"code": "copy:2"}, {"code": "rs:4+2", "tolerate": 1}, {"code": "copy:2", "tolerate": 0}]
)
def test_an_overwrite_that_bears_less_is_not_missed_while_its_stores_are_silent(newer):
    async def scenario(run):
        await run.driver.put("o", b"old", code="rs:10+4")
        await run.driver.put("o", b"new", **newer)
        silent = {run.place_of(uuid) for uuid in (await run.entry("o")).layout}
        await new_driver(run)
        assert await run.driver.get("o") == b"new"
        for place in silent:
            run.sim.cut(place)
        run.sim.cut("head")
        with pytest.raises(CoordinatorUnavailable, match=f"{len(silent)} of 14 stores are silent"):
            await run.driver.get("o")

    simulate(14, scenario)


def test_two_may_be_silent_where_every_write_bears_that():
    async def scenario(run):
        await run.driver.put("o", b"old", code="rs:10+4")
        await run.driver.put("o", b"new", code="copy:3")
        silent = [run.place_of(uuid) for uuid in (await run.entry("o")).layout]
        for place in silent[:SILENT_MAX]:
            run.sim.cut(place)
        run.sim.cut("head")
        assert await run.driver.get("o") == b"new"
        run.sim.cut(silent[2])
        with pytest.raises(CoordinatorUnavailable):
            await run.driver.get("o")

    simulate(14, scenario)


def test_stores_that_a_driver_never_met_are_silent():
    async def scenario(run):
        await run.driver.put("o", b"old", code="copy:2")
        before = [run.place_of(uuid) for uuid in (await run.entry("o")).layout]
        for place in before:
            run.kill(place)
        await run.sim.sleep(3)
        await run.driver.put("o", b"new", code="copy:2")
        after = [run.place_of(uuid) for uuid in (await run.entry("o")).layout]
        assert not set(before) & set(after)
        run.kill_driver()
        for place in after:
            run.kill(place)
        for place in before:
            run.revive(place)
        await run.start()
        await run.driver.put("another", b"", code="copy:2")
        run.sim.cut("head")
        with pytest.raises(CoordinatorUnavailable, match="2 of 6 stores are silent"):
            await run.driver.get("o")
        run.sim.heal("head")
        run.kill_driver()
        await run.start()
        run.sim.cut("head")
        with pytest.raises(CoordinatorUnavailable, match="0 of 0 stores"):
            await run.driver.get("o")

    simulate(6, scenario)


def test_a_driver_takes_nothing_older_than_what_it_wrote():
    async def scenario(run):
        await run.driver.put("o", b"old")
        before = await run.entry("o")
        await run.driver.put("o", b"new")
        after = await run.entry("o")
        key = after.record.object_id, after.record.generation
        for uuid in after.layout:  # as if those stores had lost it
            run.store(run.place_of(uuid))._records.remove([key])
        assert before.record.generation < after.record.generation
        run.sim.cut("head")
        with pytest.raises(CoordinatorUnavailable, match="that this driver wrote last"):
            await run.driver.get("o")

    simulate(9, scenario)


def test_how_little_writes_bear_is_remembered_by_enough_stores_first():
    async def scenario(run):
        places = [f"p{index:02}" for index in range(6)]
        for place in places[2:]:
            run.kill(place)
        with pytest.raises(NotEnoughPlaces, match="have 2 places, need 3"):
            await run.driver.put("o", b"", code="copy:2")
        run.revive(places[2])
        await run.driver.put("o", b"new", code="copy:2")
        assert [run.store(place).info().least for place in places[:3]] == [1, 1, 1]
        for place in places[3:]:
            run.revive(place)
        await run.sim.sleep(60)
        assert [run.store(place).info().least for place in places] == [1] * 6, "whoever looks after them told them"
        run.kill_coordinator()
        assert (await run.driver._authority.ask(Coordinator.fence)).least == 1

    simulate(6, scenario)


def test_a_rebuilt_catalog_knows_how_little_writes_bear():
    async def scenario(run):
        await run.driver.put("o", b"new", code="copy:2")
        await lose_catalog(run)
        await run.driver.rebuild()
        assert (await run.driver._authority.ask(Coordinator.fence)).least == 1

    simulate(6, scenario)
