"""Runbooks for what a real cluster can't be made to show at will: their commands, as they stand in the documentation."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest import mock

from runbooks import commands_by_heading
from sim.object_world import simulate
from told import told

RUNBOOKS = commands_by_heading()


async def follow(run, heading, **words):
    """What each command of a runbook told, by the verb of the driver that it is."""
    told = []
    for verb, *arguments in RUNBOOKS[heading]:
        if verb == "decommission":
            told.append(await run.driver.decommission(*(words[each] for each in arguments)))
        elif verb == "scrub":
            told.append(await run.driver.scrub(deep="--deep" in arguments))
        else:
            assert not arguments
            told.append(await getattr(run.driver, verb)())
    return told


async def prepared(run):
    """Some objects, and a store that has shards of one."""
    for number in range(4):
        await run.put(f"o{number}", run.sim.token(20_000 * number + 100))
    [place, *_] = await run.layout("o1")
    return place, next(uuid for uuid in (await run.entry("o1")).layout if run.place_of(uuid) == place)


def fsync_failing_below(root):
    real = os.fsync

    def fsync(fd):
        if Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(root):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    return mock.patch.object(os, "fsync", fsync)


def test_a_disk_fails(caplog):
    async def scenario(run):
        place, store = await prepared(run)
        with fsync_failing_below(run.root_of(place)):
            for number in range(6):
                await run.put(f"new{number}", run.sim.token(50_000))
                assert place not in await run.layout(f"new{number}")
            await run.check_objects()
        assert {each["stores"] for each in told(caplog, "write_without_stores")} == {1}
        assert "EIO" in {each["error"] for each in told(caplog, "store_failed")}
        emptied, status = await follow(run, "A disk fails", UUID=store)
        assert emptied.stores == (store,)
        assert not status.margins
        await run.check_objects()

    simulate(8, scenario)


def test_hosts_were_cut_off():
    async def scenario(run):
        place, _ = await prepared(run)
        run.sim.cut(place)
        await run.put("o1", run.sim.token(70_000))
        await run.driver.delete("o2")
        del run.payloads["o2"]
        await run.check_objects()
        run.sim.heal(place)

        async def back():
            return all(store.here for store in (await run.driver.status()).stores)

        await run.settle(back, 60)
        scrubbed, _, status = await follow(run, "Hosts were cut off, and are back")
        assert scrubbed.silent == []
        assert status.tally.objects == len(run.payloads)
        await run.settle(run.quiet)
        await run.check_shards()

    simulate(8, scenario)


def test_a_clock_is_wrong():
    async def scenario(run):
        await prepared(run)
        before = (await run.driver.stat("o1")).generation
        run.client.life["ahead_ms"] = -400 * 86_400_000
        await run.put("o1", run.sim.token(100))
        await run.sim.sleep(600)
        await run.check_objects()
        run.client.life["ahead_ms"] = 0
        assert (await run.driver.stat("o1")).generation > before, "generations don't go by clocks"
        [status] = await follow(run, "A clock is wrong")
        assert not status.margins

    simulate(8, scenario)


def test_a_store_hangs():
    async def scenario(run):
        place, store = await prepared(run)
        run.sim.cut(place)
        begun = run.sim.uptime_s()
        await run.check_objects()
        assert run.sim.uptime_s() - begun < 2.0, "nobody waits for it"
        await run.put("new", run.sim.token(50_000))
        assert place not in await run.layout("new")
        emptied, status = await follow(run, "A store is slow, or hangs", UUID=store)
        assert emptied.stores == (store,)
        assert not status.margins
        await run.check_objects()

    simulate(8, scenario)
