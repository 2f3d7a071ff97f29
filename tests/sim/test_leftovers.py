"""What writes and moves that were given up leave on stores that were away then: it goes, or is told of."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from unittest import mock

import numpy as np
import pytest
from sim.object_world import lose_catalog, simulate

from faultset_ray.coordinator.objects import Intent, ShardMove
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.stores import ref_of
from faultset_ray.driver.upkeep import Upkeep
from faultset_ray.errors import BackendClosed, ClusterError, StoreFailure
from faultset_ray.failpoints import arm
from faultset_ray.limits import REPAIR_AFTER_SECONDS
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.rebuild import copy_shard
from faultset_ray.shards.digest import granule_digests


def files(run, places=None, write_id=None):
    """The shard files, sealed or not, of some stores, or of all that are there."""
    roots = [run.root_of(place) for place in places] if places else [*(run.root / "stores").rglob("store.json")]
    roots = roots if places else [path.parent for path in roots]
    found = [path for root in roots for part in ("shards", "tmp", "quarantine") for path in (root / part).rglob("*.*")]
    return sorted(path for path in found if write_id is None or write_id.hex() in path.name)


async def cut_short(run, name, point, code="rs:4+2", away=()):
    """A write whose driver ends at a point; its id."""

    def crash():
        for place in away:
            run.kill(place)
        run.kill_driver()
        raise BackendClosed

    before = {path.name.split(".")[0] for path in files(run)}
    with arm(point, crash), suppress(ClusterError):
        await run.driver.put(name, run.sim.token(100_000), code=code, stripe_bytes=32_768)
    [write] = {path.name.split(".")[0] for path in files(run)} - before
    await run.start()
    return bytes.fromhex(write)


def test_a_store_that_was_away_while_a_write_was_given_up_drops_it_when_it_is_back():
    async def scenario(run):
        await run.put("o", run.sim.token(1000))
        write_id = await cut_short(run, "a", "put.sealed", away=["p00"])
        await run.settle(run.quiet)
        left = files(run, write_id=write_id)
        assert len(left) == 1
        assert (await run.driver.status()).tally.aborting == 1, "it is remembered for as long as it takes"
        await run.sim.sleep(3600)
        run.revive("p00")
        await run.settle(run.quiet)
        assert not files(run, write_id=write_id)
        assert (await run.driver.status()).tally.aborting == 0

    simulate(7, scenario)


def test_the_same_of_one_that_was_let_go_of_meanwhile():
    async def scenario(run):
        await run.put("o", run.sim.token(1000))
        write_id = await cut_short(run, "a", "put.sealed", away=["p00"])
        await run.settle(run.quiet)
        [uuid] = [store.row.uuid for store in (await run.driver.status()).stores if not store.here]
        await run.driver.decommission(uuid, force=True)
        assert (await run.driver.status()).tally.aborting == 0
        run.revive("p07")
        await run.settle(run.quiet)

        async def back():
            return (await run.driver._authority.ask(Coordinator.stores))[uuid].state == "active"

        await run.settle(back)
        assert not files(run, write_id=write_id)

    simulate(8, scenario, absent=("p07",))


async def spare(run, name):
    """A store without a shard of an object."""
    entry = await run.entry(name)
    rows = await run.driver._authority.ask(Coordinator.stores)
    return min(rows.keys() - {*entry.layout})


async def late_copy(run, name, index, target):
    """A move that was given up, and whose driver went on with it, sealed its copy, and ended."""
    entry = await run.entry(name)
    move = ShardMove(entry.record.write_id, index, entry.layout[index], target, entry.layout_version)
    await run.driver._authority.ask(Coordinator.open_shard_moves, [move])
    await run.driver._authority.ask(Coordinator.abort_shard_moves, [move])
    await run.settle(run.quiet)
    ref = ref_of(run.driver._stores.info(target))
    fence = await run.driver._authority.ask(Coordinator.fence)
    source = ref_of(run.driver._stores.info(entry.layout[index]))
    record = entry.record
    header = run.store(run.place_of(entry.layout[index])).stat(record.write_id, index).header
    await copy_shard(run.sim, replace(header, index=0), record.size, record.sha256, index, source, ref, fence)
    await run.sim.call(ref.addr, PlaceStore.record, [record.pack()], fence)
    return run.shard_file(run.place_of(target), record.write_id, index)


def test_what_an_overtaken_move_leaves_is_dropped():
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        target = await spare(run, "a")
        path = await late_copy(run, "a", 2, target)
        assert (await run.driver.scrub()).leftovers == 1
        await run.settle(run.quiet)
        assert not path.exists()
        await run.check_objects()
        await run.check_shards()

    simulate(8, scenario)


def test_a_late_block_is_dropped():
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        target = await spare(run, "a")
        entry = await run.entry("a")
        move = ShardMove(entry.record.write_id, 0, entry.layout[0], target, entry.layout_version)
        await run.driver._authority.ask(Coordinator.open_shard_moves, [move])
        await run.driver._authority.ask(Coordinator.abort_shard_moves, [move])
        await run.settle(run.quiet)
        header = run.store(run.place_of(entry.layout[0])).stat(entry.record.write_id, 0).header
        block = np.zeros(header.layout.block_len(0, entry.record.size), np.uint8)
        store = run.store(run.place_of(target))
        store.append(header.pack(), 0, block, granule_digests(header, 0, block))
        assert files(run, [run.place_of(target)], entry.record.write_id)
        assert (await run.driver.scrub()).leftovers == 1
        await run.settle(run.quiet)
        assert not files(run, [run.place_of(target)], entry.record.write_id)
        await run.check_shards()

    simulate(8, scenario)


@pytest.mark.parametrize("kind", ["ended", "open", "encoded"])
def test_a_late_block_of_a_write_without_a_row_is_dropped_unless_it_may_be_sealed(kind):
    """One that was given up, and dropped by every store; one that goes on; one of an encode, of which no catalog knows."""

    async def scenario(run):
        await run.put("a", run.sim.token(1000))
        entry = await run.entry("a")
        write_id, record = run.sim.token(16), entry.record
        intent = Intent(
            *(write_id, "put", "b", record.spec, record.k, record.n, record.block_bytes, record.tolerate),
            *(entry.layout, "a driver"),
        )
        [ticket] = await run.driver._authority.ask(Coordinator.open_writes, [intent])
        if kind != "open":
            await run.driver._authority.ask(Coordinator.abort_writes, [write_id])
            await run.settle(run.quiet)
        place = run.place_of(entry.layout[0])
        run.kill(place)  # what it refused it has forgotten then
        run.revive(place)

        async def serves():
            return run.root_of(place) is not None

        await run.settle(serves)
        header = replace(record.header, write_id=write_id, generation=0 if kind == "encoded" else ticket.generation)
        block = np.zeros(header.layout.block_len(0, record.size), np.uint8)
        run.store(place).append(header.pack(), 0, block, granule_digests(header, 0, block))
        found = await run.driver.scrub()
        assert (found.leftovers, found.orphans) == (int(kind == "ended"), [])
        assert len(files(run, write_id=write_id)) == int(kind != "ended")

    simulate(8, scenario)


def test_a_move_whose_target_is_away_until_the_object_is_gone():
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        entry = await run.entry("a")
        [leaving, *_] = await run.layout("a")
        dead = []

        def crash():
            if not dead:
                [move] = run.driver._steward._caretaker._mover.under_way
                dead.append(run.place_of(move.target))
                run.kill(dead[0])

        async def crashed():
            return bool(dead)

        with arm("move.copied", crash):
            run.drain(leaving)
            await run.settle(crashed)
        await run.settle(run.quiet)
        await run.driver.delete("a", grace_s=0)
        run.payloads.clear()
        await run.sim.sleep(600)
        assert len(files(run, write_id=entry.record.write_id)) == 1
        run.revive(dead[0])
        await run.settle(run.quiet)
        assert not files(run, write_id=entry.record.write_id)

    simulate(8, scenario)


def test_a_rebuild_tells_of_what_was_prepared_and_it_is_dropped_on_request():
    async def scenario(run):
        await run.put("o", run.sim.token(1000))
        write_id = await cut_short(run, "a", "put.sealed")
        run.kill_driver()
        run.kill_coordinator()
        shutil.rmtree(run.root / "state")
        await run.start()
        rebuilt = await run.driver.rebuild()
        assert [orphan.write_id for orphan in rebuilt.orphans] == [write_id] * 6
        await run.settle(run.quiet)
        await run.sim.sleep(7200)
        assert len(files(run, write_id=write_id)) == 6
        assert (await run.driver.status()).orphans == 6
        found = await run.driver.scrub(drop_orphans=True)
        assert found.dropped == 6
        assert not files(run, write_id=write_id)
        await run.check_objects()
        await run.check_shards()

    simulate(6, scenario)


async def missed(run, replaced):
    """A store comes back that a rebuild missed, with a shard and a record of what is gone; the write's id, the place."""
    await run.put("o", run.sim.token(1000))
    await run.put("a", run.sim.token(50_000))
    old = (await run.entry("a")).record.write_id
    away = (await run.layout("a"))[0]
    run.kill(away)
    if replaced:
        await run.put("a", run.sim.token(50_000))
    else:
        await run.driver.delete("a", grace_s=0)
        del run.payloads["a"]
    await run.sim.sleep(REPAIR_AFTER_SECONDS + 300)
    assert len(files(run, write_id=old)) == 1
    await lose_catalog(run)
    await run.driver.rebuild()
    run.revive(away)
    await run.settle(run.quiet)
    return old, away


def test_a_store_that_a_rebuild_missed_drops_what_was_mended_without_it():
    async def scenario(run):
        for number in range(3):
            await run.put(f"o{number}", run.sim.token(20_000 * number))
        away = (await run.layout("o0"))[0]
        run.kill(away)
        await run.settle(run.quiet)
        there = len(files(run, write_id=None))
        await lose_catalog(run)
        assert (await run.driver.rebuild()).objects == 3
        await run.settle(run.quiet)
        run.revive(away)
        await run.settle(run.quiet)
        stale = len(files(run, [away]))
        assert (stale > 0, len(files(run))) == (True, there)
        found = await run.driver.scrub()
        assert (found.leftovers, found.orphans) == (stale, [])
        await run.settle(run.quiet)
        assert len(files(run)) == there - stale == 18
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


def test_what_nothing_newer_is_known_of_goes_when_its_store_is_let_go_of_and_returns():
    async def scenario(run):
        old, away = await missed(run, replaced=False)
        uuid = run.store(away).uuid
        await run.driver.decommission(away)
        run.kill(away)
        run.revive("p08")

        async def back():
            return (await run.driver._authority.ask(Coordinator.stores))[uuid].state == "active"

        await run.settle(back)
        assert not files(run, write_id=old)
        assert (await run.driver.scrub()).orphans == []

    simulate(9, scenario, absent=("p08",))


@pytest.mark.parametrize("away", [True, False])
def test_the_copy_of_an_overtaken_move_stays_where_the_shard_itself_is_not_sound(away):
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        path = await late_copy(run, "a", 2, await spare(run, "a"))
        home = (await run.layout("a"))[2]
        if away:
            run.kill(home)
        else:
            its = run.shard_file(home, (await run.entry("a")).record.write_id, 2)
            whole = its.read_bytes()
            its.write_bytes(whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:])
        await run.driver.scrub()
        assert path.exists()
        assert (await run.driver._authority.ask(Coordinator.garbage, 100)) == []
        await run.driver.scrub(deep=True)
        await run.driver.repair()
        if away:
            run.revive(home)
        await run.driver.scrub()
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()
        assert len(files(run, write_id=(await run.entry("a")).record.write_id)) == 6 + 2 * (not away), (
            "one is in quarantine, with the reason"
        )

    simulate(8, scenario)


@pytest.mark.parametrize("replaced", [True, False])
def test_what_has_a_record_and_no_row_stays_whatever_is_newer(replaced):
    """It was overwritten, or deleted, before a rebuild that missed its store; another store may say that it is back."""

    async def scenario(run):
        old, _ = await missed(run, replaced)
        for _ in range(2):
            found = await run.driver.scrub(drop_orphans=True)
            assert ([orphan.write_id for orphan in found.orphans], found.dropped) == ([old], 0)
        await run.settle(run.quiet)
        assert len(files(run, write_id=old)) == 1
        await run.check_objects()

    simulate(8, scenario)


def test_another_store_that_fails_keeps_leftovers_and_not_the_scrub():
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        path = await late_copy(run, "a", 2, await spare(run, "a"))

        @wraps(PlaceStore.check)
        def fail(store, *_):
            raise StoreFailure(store.uuid, "check", "EIO")

        with mock.patch.object(PlaceStore, "check", fail):
            found = await run.driver.scrub()
        assert (found.silent, found.leftovers, path.exists()) == ([], 0, True)
        assert (await run.driver.scrub()).leftovers == 1
        await run.settle(run.quiet)
        assert not path.exists()
        await run.check_shards()

    simulate(8, scenario)


def test_a_store_that_can_not_drop_its_leftovers_is_looked_at_all_the_same():
    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        entry = await run.entry("a")
        lacking = run.place_of(entry.layout[0])
        run.shard_file(lacking, entry.record.write_id, 0).unlink()

        @wraps(PlaceStore.unsealed)
        def fail(store):
            raise StoreFailure(store.uuid, "list unsealed shards", "EIO")

        with mock.patch.object(PlaceStore, "unsealed", fail):
            found = await run.driver.scrub()
        assert (found.silent, found.stores, found.missing) == ([], len(run.sim._world.alive) - 1, 1)

    simulate(8, scenario)


def test_a_store_that_comes_late_has_its_leftovers_looked_at_too():
    """What is elsewhere is elsewhere, though only the late store is looked at."""

    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        target = await spare(run, "a")
        path = await late_copy(run, "a", 2, target)
        place = run.place_of(target)
        run.kill(place)
        scrub_late = Upkeep._scrub_late

        async def late(*arguments):
            run.revive(place)
            return await scrub_late(*arguments)

        with mock.patch.object(Upkeep, "_scrub_late", late):
            found = await run.driver.scrub()
        assert (found.silent, found.leftovers) == ([], 1)
        await run.settle(run.quiet)
        assert not path.exists()
        await run.check_shards()

    simulate(8, scenario)


def test_a_copy_goes_without_the_record_of_another_shard_that_is_on_its_way_there():
    """The store has the record for both; its garbage must not take it from the one that comes to stay."""

    async def scenario(run):
        await run.put("a", run.sim.token(50_000))
        target = await spare(run, "a")
        path = await late_copy(run, "a", 2, target)
        entry = await run.entry("a")
        recorded = Mover._record

        async def record(self, *arguments):
            await recorded(self, *arguments)
            assert (await run.driver.scrub()).leftovers == 1
            await run.settle(lambda: gone(path))

        with mock.patch.object(Mover, "_record", record):
            await run.driver._steward._caretaker._mover.move(entry, {3: target})
        [held] = run.store(run.place_of(target)).held([entry.record.write_id])
        assert (held.indices, held.recorded) == ((3,), True)
        await run.check_objects()
        await run.check_shards()

    simulate(8, scenario)


async def gone(path):
    return not path.exists()
