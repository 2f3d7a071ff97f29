"""What the caretaker does, one thing at a time, in virtual time: order, rate, scrub, orphans, open writes, rebuild."""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from unittest import mock

import pytest
from sim.object_world import simulate
from told import told

from faultset_ray.backend.protocol import Addr
from faultset_ray.config import Config, Health, Repair
from faultset_ray.coordinator.objects import Intent, ShardMove
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.stores import ref_of
from faultset_ray.errors import (
    BackendClosed,
    CatalogLost,
    ClusterError,
    InputError,
    ObjectNotFound,
    StateFailure,
    StoreFailure,
)
from faultset_ray.failpoints import arm
from faultset_ray.limits import INTENT_SECONDS, REPAIR_AFTER_SECONDS
from faultset_ray.objects.checking import check_shard
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record, object_id


def moves_watched(order):
    """Note the names of objects in the order in which their moves begin."""
    move = Mover.move

    async def watched(self, entry, *rest):
        order.append(entry.record.name)
        return await move(self, entry, *rest)

    return mock.patch.object(Mover, "move", watched)


ONE_BY_ONE = Config(health=Health(repair=Repair(concurrent=1)))


def test_patience_is_as_the_config_says():
    """A store is away, and given up, so long after it fell silent: at once an object of no margin, later the other."""

    async def scenario(run):
        await run.put("safe", run.sim.token(1000), "rs:4+2")
        await run.put("bare", run.sim.token(1000), "rs:5+1")
        both = set(await run.layout("safe")) & set(await run.layout("bare"))
        lost = min(both)
        run.kill(lost)

        async def mended(name):
            return lost not in await run.layout(name)

        first = await run.settle(lambda: mended("bare"))
        assert not await mended("safe")
        return first, first + await run.settle(lambda: mended("safe"))

    patience = Repair(soon_s=100, after_s=2000)
    soon, later = simulate(7, scenario, config=Config(health=Health(repair=patience)))
    assert 100 <= soon < 130
    assert 2000 <= later < 2030


def test_the_least_safe_are_mended_first_and_of_those_the_oldest():
    order = []

    async def scenario(run):
        for name, code in (("wide", "rs:3+3"), ("old", "rs:4+2"), ("young", "rs:4+2")):
            await run.put(name, run.sim.token(1000), code)
            await run.sim.sleep(1)
        first = set(await run.layout("wide")) & set(await run.layout("old")) & set(await run.layout("young"))
        run.kill(min(first))
        with moves_watched(order):
            await run.settle(run.quiet)

    simulate(7, scenario, config=ONE_BY_ONE)
    assert order == ["old", "young", "wide"]


def test_repair_keeps_to_its_rate():
    """Each object of 4 + 2 shards of 100 kB costs four reads and a write."""

    async def scenario(run):
        for number in range(8):
            await run.put(f"o{number}", run.sim.token(400_000))
        layouts = [await run.layout(name) for name in run.payloads]
        lost = "p00"
        shards = sum(layout.count(lost) for layout in layouts)
        assert shards > 3
        run.kill(lost)
        took = await run.settle(run.quiet)
        return took - REPAIR_AFTER_SECONDS, shards * 5 * 100_000 / 10_000

    took, least = simulate(7, scenario, config=Config(health=Health(repair=Repair(bytes_per_s=10_000))))
    assert 0.8 * least < took < 1.5 * least + 60


def test_the_riskiest_leave_first_when_a_place_is_preempted():
    order = []

    async def scenario(run):
        for name, code in (("wide", "rs:3+3"), ("narrow", "rs:5+1"), ("middle", "rs:4+2")):
            await run.put(name, run.sim.token(1000), code)
        [place, *_] = sorted(set.intersection(*[set(await run.layout(name)) for name in run.payloads]))
        with moves_watched(order):
            run.drain(place)
            await run.settle(run.quiet)

    simulate(7, scenario, config=ONE_BY_ONE)
    assert order == ["narrow", "middle", "wide"]


def test_a_scrub_finds_what_is_damaged_and_it_is_mended_in_its_place():
    async def scenario(run):
        await run.put("a", run.sim.token(100_000))
        before = await run.layout("a")
        entry = await run.entry("a")
        write_id = entry.record.write_id
        torn, gone, flipped = (run.shard_file(before[index], write_id, index) for index in range(3))
        torn.write_bytes(torn.read_bytes()[:-10])
        light = await run.driver.scrub()
        assert (light.missing, light.corrupt) == (0, 1)
        await run.settle(run.quiet)
        gone.unlink()
        with flipped.open("r+b") as file:
            file.seek(1000)
            file.write(b"\0\1\2\3")
        light = await run.driver.scrub()
        assert (light.missing, light.corrupt) == (1, 0), "a light scrub reads no blocks"
        deep = await run.driver.scrub(deep=True)
        assert (deep.missing, deep.corrupt) == (1, 1)
        await run.settle(run.quiet)
        assert await run.layout("a") == before
        await run.check_objects()
        await run.check_shards()

    simulate(6, scenario)


def test_a_shard_that_goes_while_it_is_scrubbed_ends_no_scrub():
    async def scenario(run):
        for name in "ab":
            await run.put(name, run.sim.token(100_000))
        entry = await run.entry("a")
        write_id = entry.record.write_id
        [place, *_] = await run.layout("a")
        path = run.shard_file(place, write_id, 0)

        async def check(net, store, *key_size_bucket):
            path.unlink(missing_ok=True)
            return await check_shard(net, store, *key_size_bucket)

        with mock.patch("faultset_ray.driver.scrubbing.check_shard", check):
            found = await run.driver.scrub(deep=True)
        assert (found.missing + found.corrupt, found.orphans) == (1, [])
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(7, scenario)


def test_a_damaged_header_is_mended_though_the_store_has_the_file_open():
    async def scenario(run):
        await run.put("a", run.sim.token(100_000))
        await run.check_objects()
        entry = await run.entry("a")
        path = run.shard_file((await run.layout("a"))[0], entry.record.write_id, 0)
        with path.open("r+b") as file:
            file.seek(40)
            file.write(b"\xff")
        found = await run.driver.scrub()
        assert found.corrupt == 1
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(6, scenario)


def test_a_report_that_is_wrong_moves_nothing():
    async def scenario(run):
        await run.put("a", run.sim.token(100_000))
        entry = await run.entry("a")
        from faultset_ray.coordinator.objects import Damage

        report = Damage(entry.record.write_id, 2, entry.layout[2], "it was late")
        await run.driver._authority.ask(Coordinator.report_damage, [report])
        await run.settle(run.quiet)
        assert (await run.entry("a")).layout_version == entry.layout_version

    simulate(6, scenario)


def test_orphans_are_told_of_and_dropped_on_request_alone():
    async def scenario(run):
        await run.put("a", run.sim.token(100_000))
        await run.driver.encode(run.sim.token(5000), "rs:4+2")
        found = await run.driver.scrub(deep=True)
        assert len(found.orphans) == 6
        await run.sim.sleep(2 * 3600)
        assert (await run.driver.status()).orphans == 6
        found = await run.driver.scrub(drop_orphans=True)
        assert (len(found.orphans), found.dropped) == (6, 6)
        assert found.freed_bytes == sum(orphan.file_bytes for orphan in found.orphans)
        assert (await run.driver.scrub()).orphans == []
        await run.check_shards()

    simulate(7, scenario)


def test_the_background_scrub_goes_on_where_the_driver_before_ended():
    async def scenario(run):
        for number in range(4):
            await run.put(f"o{number}", run.sim.token(10_000))
        seen = []
        while len({cursor.store for cursor in seen if cursor}) < 4:
            await run.sim.sleep(1)
            seen.append((await run.driver.status()).light)
        run.kill_driver()
        await run.start()
        after = (await run.driver.status()).light
        assert (after.began_ms, after.store) >= (seen[-1].began_ms, seen[-1].store)

        async def done():
            light = (await run.driver.status()).light
            return light.done_ms is not None

        await run.settle(done)
        assert (await run.driver.status()).light.began_ms == seen[-1].began_ms, "one pass, by two drivers"

    simulate(7, scenario)


@pytest.mark.parametrize(
    ("point", "there"),
    [("put.opened", False), ("put.sealed", False), ("put.one_record", True), ("put.recorded", True)],
)
def test_a_write_whose_driver_is_gone_is_ended_one_way_or_the_other(point, there):
    async def scenario(run):
        def crash():
            run.kill_driver()
            raise BackendClosed

        payload = run.sim.token(50_000)
        with arm(point, crash), suppress(ClusterError):
            await run.put("a", payload)
        await run.start()
        await run.sim.sleep(INTENT_SECONDS + 30)
        await run.settle(run.quiet)
        try:
            assert await run.driver.get("a") == payload
            assert there
            run.payloads["a"] = payload
        except ObjectNotFound:
            assert not there
        await run.check_shards()
        infos = await run.driver.stores()
        if not there:
            assert sum(info.shards for info in infos) == 0

    simulate(7, scenario)


def test_a_store_that_is_silent_holds_no_name_up_for_ever():
    """The driver and one store of an open write are gone: once the store is given up, the others decide."""

    async def scenario(run):
        def crash():
            run.kill_driver()
            raise BackendClosed

        with arm("put.sealed", crash), suppress(ClusterError):
            await run.put("a", run.sim.token(50_000), if_absent=True)
        await run.start()
        run.kill("p03")
        await run.settle(run.quiet)
        await run.put("a", b"next", if_absent=True)
        run.revive("p03")
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(7, scenario)


async def one_record(run, point, doing):
    """Have the driver die when one store has a record, and no other: the place of that one."""
    keep, told = PlaceStore.record, []

    @wraps(keep)
    def keep_one(store, records, fence):
        if told and store.info().place not in told:
            raise StoreFailure(store.uuid, "keep records", "no more of this driver's")
        told.append(store.info().place)
        return keep(store, records, fence)

    def crash():
        run.kill_driver()
        raise BackendClosed

    with mock.patch.object(PlaceStore, "record", keep_one):
        with arm(point, crash), suppress(ClusterError):
            await doing
        await run.sim.sleep(10.0)  # what is on its way arrives
    return told[0]


@pytest.mark.parametrize(("code", "there"), [("copy:3", True), ("rs:2+2", False)])
def test_of_a_write_whose_other_stores_are_given_up_those_that_are_left_decide(code, there):
    """One store has a record, the others never come back: what is left can be read, and is kept, or it is given up."""

    async def scenario(run):
        payload = run.sim.token(50_000)
        told = await one_record(run, "put.one_record", run.put("a", payload, code=code))
        [[raw]] = run.store(told).records([object_id("a")])
        write_id = Record.unpack(raw).write_id
        stores = [place.id for place in run.sim._world.all_places.values() if place.id != "head"]
        others = [place for place in stores if place != told and run.store(place).held([write_id])[0].indices]
        assert len(others) >= 2
        for place in others:
            run.kill(place)
        await run.start()
        await run.settle(run.quiet)
        if there:
            run.payloads["a"] = payload
            await run.check_objects()
        else:
            with pytest.raises(ObjectNotFound):
                await run.driver.get("a")
        await run.put("a", b"next", code="copy:3", if_absent=not there)
        for place in others:
            run.revive(place)
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(7, scenario)


def test_a_deletion_is_carried_on_though_the_store_with_its_tombstone_was_away():
    """Whoever carries it on makes a tombstone of its own; the store that has the driver's comes back."""

    async def scenario(run):
        await run.put("a", run.sim.token(50_000), code="copy:3")
        homes = await run.layout("a")
        del run.payloads["a"]
        told = await one_record(run, "delete.one_record", run.driver.delete("a"))
        run.kill(told)
        await run.start()
        await run.sim.sleep(2 * INTENT_SECONDS)
        [others, _] = [len(run.store(place).records([object_id("a")])[0]) for place in homes if place != told]
        assert others == 2, "the put and a tombstone"
        run.revive(told)
        await run.settle(run.quiet)
        with pytest.raises(ObjectNotFound):
            await run.driver.get("a")

    simulate(7, scenario)


def test_a_catalog_that_was_lost_is_made_again_from_the_stores():
    async def scenario(run):
        for number in range(6):
            await run.put(f"o{number}", run.sim.token(9_000 * number))
        await run.driver.delete("o5")
        payload = run.payloads.pop("o5")
        layouts = {name: await run.layout(name) for name in run.payloads}
        with pytest.raises(InputError):
            await run.driver.rebuild()
        run.kill_driver()
        run.kill_coordinator()
        for path in (run.root / "state" / "objects").glob("coordinator.db*"):
            path.unlink()
        other = await run.start()
        with pytest.raises(CatalogLost):
            await other.get("o1")
        await run.start()
        rebuilt = await run.driver.rebuild()
        assert (rebuilt.objects, rebuilt.deleted, rebuilt.lost, rebuilt.orphans) == (5, 1, (), ())
        assert {name: await run.layout(name) for name in run.payloads} == layouts
        await run.check_objects()
        assert await other.get("o3") == run.payloads["o3"], "a driver that was there before finds its way"
        await run.driver.undelete("o5")
        run.payloads["o5"] = payload
        await run.check_objects()
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(7, scenario)


def test_a_store_that_died_for_good_can_be_let_go():
    async def scenario(run):
        await run.put("a", run.sim.token(30_000))
        lost = (await run.layout("a"))[0]
        uuid = run.store(lost).uuid
        run.kill(lost)
        done = await run.driver.decommission(uuid)
        assert (done.stores, done.shards) == ((uuid,), 1)
        status = await run.driver.status()
        assert not status.margins
        assert status.tally.garbage == 0
        await run.check_objects()
        found = [info for info in await run.driver.stores() if info.uuid != uuid]
        assert len(found) == 6
        assert await run.sim.call(ref_of(found[0]).addr, PlaceStore.info)
        assert Addr(f"store/{lost}")

    simulate(7, scenario)


def test_a_chore_that_fails_does_not_keep_the_others_from_being_done(caplog):
    caplog.set_level("INFO", "faultset_ray.events")

    def abort_shard_moves(self, *args):
        raise StateFailure("coordinator.db", "be written", "disk I/O error")

    async def scenario(run):
        await run.put("a", run.sim.token(3_000))
        write_id = run.sim.token(16)
        entry = await run.entry("a")
        record = entry.record
        intent = Intent(
            *(write_id, "put", "b", record.spec, record.k, record.n, record.block_bytes, record.tolerate),
            *(entry.layout, "a driver that is gone"),
        )
        await run.driver._authority.ask(Coordinator.open_writes, [intent])
        move = ShardMove(record.write_id, 0, entry.layout[0], min(set(run.driver._stores.known()) - {*entry.layout}))
        await run.driver._authority.ask(Coordinator.open_shard_moves, [move])

        async def ended():
            tally = (await run.driver.status()).tally
            return not (tally.open_writes or tally.aborting)

        with mock.patch.object(Coordinator, "abort_shard_moves", abort_shard_moves):
            run.kill_driver()
            await run.start()
            await run.settle(ended)
            assert (await run.driver.status()).tally.moves == 1
        await run.settle(run.quiet)

    simulate(7, scenario)
    cut_short = {(each["what"], each["error_code"]) for each in told(caplog, "upkeep_cut_short")}
    assert ("giving moves up", "coordinator_unavailable") in cut_short


def test_a_scrub_right_after_a_heal_reaches_the_store_that_was_cut_off():
    """Nobody trusts its place yet, and it is asked all the same; one that stays away is told."""

    async def scenario(run):
        await run.put("a", run.sim.token(20_000))
        back, away = (await run.layout("a"))[:2]
        uuids = [run.store(place).uuid for place in (back, away)]
        for place in (back, away):
            run.sim.cut(place)
        await run.sim.sleep(60)
        assert {*(await run.driver.scrub()).silent} == {*uuids}
        run.sim.heal(back)
        found = await run.driver.scrub()
        assert found.silent == uuids[1:]
        run.sim.heal(away)
        found = await run.driver.scrub()
        assert (found.silent, found.missing, found.corrupt) == ([], 0, 0)

    simulate(7, scenario)
