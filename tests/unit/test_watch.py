"""A watch in many hands, and where it may go on."""

import asyncio
import copy
import json
import pickle
import threading
from contextlib import suppress

import pytest

import faultset_ray as fs
from faultset_ray.control.versions import Versions, check_since

NODES = [(f"n{index}", index % 50 - 20.0, index * 7 % 300 - 150.0, 5.0) for index in range(60)]
SLOW = 900.0


def outage(driver):
    """All nodes go, and come back; the versions before."""
    handles = driver.register(NODES, 3).handles
    before = driver.survivors()
    for later_ms, latency in enumerate((SLOW, 5.0, SLOW), 1):
        driver.observe(handles, [latency] * len(NODES), at_ms=before.at_ms + later_ms)
        driver.survivors()
    return before.versions


def test_threads_share_a_watch_and_each_change_goes_to_one_of_them():
    with fs.connect(backend="local", region_actors=3) as driver:
        versions = outage(driver)
        watch, told = driver.watch(versions, idle_s=1.5), [[] for _ in range(4)]

        def read(mine):
            mine.extend((change.range, change.version) for change in watch)

        threads = [threading.Thread(target=read, args=(mine,)) for mine in told]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "all of them end when nothing changes"
        everything = [key for mine in told for key in mine]
        assert len(everything) == len(set(everything)) == 3 * len(NODES)
        assert list(driver.watch(watch.versions, idle_s=0.2)) == [], "it stands behind all that was told"


def test_tasks_share_a_watch_also_where_some_are_cancelled():
    async def main():
        async with await fs.connect_async(backend="local", region_actors=3) as driver:
            handles = (await driver.register(NODES, 3)).handles
            watch, told = driver.watch((await driver.survivors()).versions, idle_s=1.0), []
            await driver.observe(handles, [SLOW] * len(NODES))

            async def read():
                told.extend([change async for change in watch])

            async def read_impatiently():
                while True:
                    with suppress(TimeoutError):
                        told.append(await asyncio.wait_for(anext(watch), 0.01))

            impatient = [asyncio.ensure_future(read_impatiently()) for _ in range(2)]
            async with asyncio.timeout(60):
                await asyncio.gather(read(), read())
            for reader in impatient:
                reader.cancel()
            await asyncio.gather(*impatient, return_exceptions=True)
            assert sorted(change.id for change in told) == sorted(node for node, *_ in NODES)

    asyncio.run(main())


def test_versions_go_through_json():
    with fs.connect(backend="local", region_actors=3) as driver:
        versions = outage(driver)
        through = json.loads(json.dumps(versions.to_dict()))
        found = check_since(through)
        assert (found, found.birth) == (versions, versions.birth)
        assert len(list(driver.watch(through, idle_s=0.5))) == 3 * len(NODES)
        for birthless in (json.loads(json.dumps(versions)), dict(versions), {**through, "birth": ""}):
            with pytest.raises(fs.errors.InputError, match=r"has no birth.*versions\.to_dict"):
                driver.watch(birthless)
        for birth in (7, None, "0" * 65, ["a"]):
            with pytest.raises(fs.errors.InputError, match="birth"):
                driver.watch({**through, "birth": birth})
    for since in (
        {"-1": (1, 1)},
        {"1.0": (1, 1)},
        {"": (1, 1)},
        {"٣": (1, 1)},
        {"9" * 5000: (1, 1)},
        {"1": ("1", "1")},
    ):
        with pytest.raises(fs.errors.InputError, match="since is"):
            check_since(since)


def test_a_birth_goes_wherever_its_versions_go():
    with fs.connect(backend="local", region_actors=3) as driver:
        versions = outage(driver)
        answer = driver.survivors()
        watch = driver.watch(versions, idle_s=0.1)
        for copied in (
            versions.copy(),
            copy.copy(versions),
            copy.deepcopy(versions),
            pickle.loads(pickle.dumps(versions)),
            pickle.loads(pickle.dumps(answer)).versions,
            answer.versions,
            watch.versions,
        ):
            assert isinstance(copied, Versions)
            assert copied.keys() == versions.keys()
            assert copied.birth == versions.birth != ""
        list(watch)
        assert watch.versions.birth == versions.birth
        driver.register(NODES, 3, fleet="other")
        assert driver.survivors(fleet="other").versions.birth != versions.birth


def test_versions_of_another_history_are_refused():
    """Even where all their numbers are ones that the fleet has, or had."""
    told = []
    for _ in range(2):
        with fs.connect(backend="local", region_actors=3) as driver:
            versions = outage(driver)
            told.append(versions)
            if len(told) == 2:
                assert told[0] == told[1], "the numbers are the same"
                watch = driver.watch(told[0], idle_s=0.1)
                for _ in range(2):
                    with pytest.raises(fs.errors.OtherHistory, match="watch since the versions") as caught:
                        next(watch)
                error = caught.value
                assert (error.fleet, error.theirs, error.ours) == ("default", told[0].birth, told[1].birth)
                assert len(list(driver.watch(told[1], idle_s=0.5))) == 3 * len(NODES)


def test_where_a_range_never_was_nothing_goes_on():
    """A version that is none of this history's is no place to go on silently."""
    with fs.connect(backend="local", region_actors=1) as driver:
        outage(driver)
        versions = driver.survivors().versions
        [(range_id, (epoch, version))] = versions.items()
        for since in ((epoch, version + 1), (epoch + 1, 0), (epoch + 7, version)):
            with pytest.raises(fs.errors.HistoryLost, match="never was at version") as caught:
                next(driver.watch(Versions({range_id: since}, versions.birth), idle_s=0.1))
            assert (caught.value.since, caught.value.newest) == (since[1], version)
        with pytest.raises(fs.errors.HistoryLost):
            next(driver.watch(Versions({range_id + 99: (1, 1)}, versions.birth), idle_s=0.1))
        assert list(driver.watch(versions, idle_s=0.1)) == []
