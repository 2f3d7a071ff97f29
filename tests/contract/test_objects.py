"""Objects over every backend: what users may rely on, wherever their driver runs."""

from __future__ import annotations

import asyncio
import io
import os

import numpy as np
import pytest
from damaging import flip

from contract.harnesses import LOCAL, SIM
from contract.objects_harness import objects_harness, shard_path
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import (
    InputError,
    InvalidObjectName,
    NotEnoughPlaces,
    NotEnoughShards,
    ObjectNotFound,
    PreconditionFailed,
)
from faultset_ray.limits import KIB

NAMES = ["../x", "a\0b", "two\nlines", "é" * 512, "😀", " ", ".", "/etc/passwd", "a//b", "%2e"]
SIZES = [0, 1, 63, 64 * KIB, 3 * 64 * KIB + 5, 900_001]


@pytest.fixture(scope="module", params=[LOCAL, SIM, pytest.param("ray", id="ray", marks=pytest.mark.cluster)])
def harness(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAULTSET_STORE_DIR", str(tmp_path_factory.mktemp("stores")))
        harness = objects_harness(request.param)
        yield harness
        harness.close()


@pytest.fixture(scope="module")
def driver(harness):
    driver = harness.run(AsyncDriver.start(harness.backend, "objects"))
    yield driver
    harness.run(driver.close())


def payload(nbytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(nbytes)


class Reader:
    """No more than some bytes at a time, and never rewound."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, nbytes):
        return self._file.read(min(nbytes, 70_001))


class AsyncReader(Reader):
    async def read(self, nbytes):
        await asyncio.sleep(0)
        return super().read(nbytes)


def chunks(data):
    return (data[at : at + 50_000] for at in range(0, len(data), 50_000))


async def async_chunks(data):
    for chunk in chunks(data):
        yield chunk


@pytest.mark.parametrize("nbytes", SIZES)
def test_what_was_put_comes_back(harness, driver, nbytes):
    data = payload(nbytes)

    async def scenario():
        for stripe_bytes in (64 * KIB, 16 * 1024 * KIB):
            receipt = await driver.put(f"size/{nbytes}", data, stripe_bytes=stripe_bytes)
            assert (receipt.size, receipt.n_durable, receipt.survivable, receipt.durability) == (nbytes, 6, 2, "fsync")
            assert await driver.get(f"size/{nbytes}") == data
            streamed = [piece.tobytes() async for piece in driver.get_stream(f"size/{nbytes}")]
            assert b"".join(streamed) == data
            stat = await driver.stat(f"size/{nbytes}")
            assert (stat.size, stat.generation, stat.spec) == (nbytes, receipt.generation, receipt.spec)
            assert (stat.health, stat.survivable, stat.missing) == ("healthy", 2, {})
            assert len({store for store, _, _ in stat.locations.values()}) == 6
            places = {place.id for place in await driver.places()}
            assert {place for _, place, _ in stat.locations.values()} <= places
            assert all(shard_path(stat, index).is_file() for index in stat.locations)

    harness.run(scenario())


@pytest.mark.parametrize(
    "kind",
    [bytes, bytearray, memoryview, "array", "path", "str", "file", Reader, AsyncReader, chunks, async_chunks, "ref"],
    ids=lambda kind: kind if isinstance(kind, str) else kind.__name__,
)
@pytest.mark.parametrize("nbytes", [10_000, 300_000])
def test_data_of_any_kind(harness, driver, tmp_path, kind, nbytes):
    data = payload(nbytes, 7)
    path = tmp_path / "data"
    path.write_bytes(data)

    async def scenario():
        given = {
            "array": lambda: np.frombuffer(data, np.uint16).reshape(-1, 4),
            "path": lambda: path,
            "str": lambda: str(path),
            "file": lambda: path.open("rb"),
            "ref": lambda: harness.backend.share(np.frombuffer(data, np.uint8)),
        }
        value = given[kind]() if isinstance(kind, str) else kind(data)
        receipt = await driver.put("kind", value, code="rs:2+1", stripe_bytes=64 * KIB)
        assert (receipt.size, receipt.survivable) == (nbytes, 1)
        assert await driver.get("kind") == data
        if kind == "file":
            value.close()

    harness.run(scenario())


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_any_text(harness, driver, name):
    async def scenario():
        await driver.put(name, name.encode(), code="rs:2+1")
        assert await driver.get(name) == name.encode()
        assert [info.name for info in await driver.list(name)] == [name]
        stat = await driver.stat(name)
        assert all(stat.locations[index][2].endswith(f".{index:03d}.shard") for index in stat.locations)
        await driver.delete(name)
        with pytest.raises(ObjectNotFound):
            await driver.get(name)

    harness.run(scenario())


@pytest.mark.parametrize("name", ["", "x" * 1025, "é" * 513, "\ud800", 5, None, b"x"], ids=ascii)
def test_what_is_no_name_is_refused(harness, driver, name):
    async def scenario():
        for verb in (driver.put(name, b"1"), driver.get(name), driver.stat(name), driver.delete(name)):
            with pytest.raises(InvalidObjectName):
                await verb

    harness.run(scenario())


def test_what_can_not_be_is_refused_and_changes_nothing(harness, driver):
    async def scenario():
        before = await driver.put("kept", b"as it was")
        for bad in (
            {"code": "rs:9"},
            {"tolerate": 3},
            {"tolerate": True},
            {"if_absent": True, "if_generation": 1},
            {"if_generation": "1"},
            {"stripe_bytes": 0},
        ):
            with pytest.raises(InputError):
                await driver.put("kept", b"other", **bad)
        for data in (5, object(), ["text"], None):
            with pytest.raises(InputError):
                await driver.put("kept", data)
        with pytest.raises(NotEnoughPlaces) as caught:
            await driver.put("kept", b"other", code="rs:10+4")
        assert (caught.value.have, caught.value.need) == (7, 14)
        assert await driver.get("kept") == b"as it was"
        assert (await driver.stat("kept")).generation == before.generation
        for span in ((0, 10), (-1, 2), (3, 2), (0,), "0-1", (0, True)):
            with pytest.raises(InputError):
                await driver.get("kept", span)

    harness.run(scenario())


def test_fewer_stores_than_shards_if_less_is_promised(harness, driver):
    async def scenario():
        receipt = await driver.put("doubled", payload(5_000), code="rs:4+8", tolerate=3)
        assert 3 <= receipt.survivable < 8
        assert await driver.get("doubled") == payload(5_000)

    harness.run(scenario())


def test_conditions(harness, driver):
    async def scenario():
        first = await driver.put("once", b"1", if_absent=True)
        with pytest.raises(PreconditionFailed) as caught:
            await driver.put("once", b"2", if_absent=True)
        assert (caught.value.expected, caught.value.found) == (None, first.generation)
        second = await driver.put("once", b"2", if_generation=first.generation)
        assert second.generation > first.generation
        with pytest.raises(PreconditionFailed):
            await driver.put("once", b"3", if_generation=first.generation)
        with pytest.raises(PreconditionFailed):
            await driver.delete("once", if_generation=first.generation)
        assert await driver.get("once") == b"2"
        await driver.delete("once", if_generation=second.generation)
        third = await driver.put("once", b"3", if_absent=True)
        assert third.generation > second.generation

        async def compete(number):
            try:
                return await driver.put("race", str(number).encode(), if_absent=True)
            except PreconditionFailed:
                return None

        receipts = await asyncio.gather(*map(compete, range(8)))
        [winner] = [number for number, receipt in enumerate(receipts) if receipt is not None]
        assert await driver.get("race") == str(winner).encode()

    harness.run(scenario())


def test_deleted_and_brought_back(harness, driver):
    data = payload(20_000, 3)

    async def scenario():
        with pytest.raises(ObjectNotFound):
            await driver.delete("gone")
        put = await driver.put("gone", data)
        deletion = await driver.delete("gone", grace_s=600)
        assert deletion.generation > put.generation
        for verb in (driver.get("gone"), driver.stat("gone"), driver.open("gone"), driver.delete("gone")):
            with pytest.raises(ObjectNotFound):
                await verb
        assert [info.name for info in await driver.list("gone")] == []
        assert [info.name for info in await driver.list("gone", deleted=True)] == ["gone"]
        back = await driver.undelete("gone")
        assert back.generation > deletion.generation
        assert (back.size, back.survivable) == (len(data), 2)
        assert await driver.get("gone") == data
        with pytest.raises(PreconditionFailed):
            await driver.undelete("gone")
        with pytest.raises(ObjectNotFound):
            await driver.undelete("never")

    harness.run(scenario())


def test_lists_are_sorted_by_utf8_and_complete(harness, driver):
    names = [f"list/{text}" for text in ("b", "a", "é", "😀", "z", "\uffff", "a/b", "a.b")]

    async def scenario():
        await asyncio.gather(*(driver.put(name, name.encode(), code="copy:2") for name in names))
        found = await driver.list("list/")
        assert [info.name for info in found] == sorted(names, key=str.encode)
        assert {info.size for info in found} == {len(name.encode()) for name in names}
        assert [info.name for info in await driver.list("list/a")] == ["list/a", "list/a.b", "list/a/b"]

    harness.run(scenario())


def test_opened_objects_read_and_seek_like_files(harness, driver):
    data = payload(700_000, 5)
    dice = np.random.default_rng(11)

    async def scenario():
        receipt = await driver.put("opened", data, stripe_bytes=64 * KIB)
        truth = io.BytesIO(data)
        async with await driver.open("opened") as file:
            assert (file.name, file.size, file.generation) == ("opened", len(data), receipt.generation)
            await driver.put("opened", b"something else")
            for _ in range(40):
                if dice.random() < 0.4:
                    offset, whence = int(dice.integers(0, 1000)), int(dice.integers(0, 3))
                    if whence == 0:
                        offset *= 800
                    assert await file.seek(offset, whence) == truth.seek(offset, whence) == file.tell()
                nbytes = int(dice.choice([0, 1, 100, 70_000]))
                assert await file.read(nbytes) == truth.read(nbytes)
            assert await file.read_at(5, 105) == data[5:105]
            await file.seek(10)
            assert await file.read() == data[10:]
            assert await file.read() == b""
            with pytest.raises(InputError):
                await file.seek(-1)
        with pytest.raises(InputError):
            await file.read()
        assert await driver.get("opened") == b"something else"

    harness.run(scenario())


def test_damage_on_disk_is_read_around_and_reported(harness, driver):
    data = payload(600_000, 9)

    async def scenario():
        await driver.put("damaged", data, stripe_bytes=256 * KIB)
        await driver.put("other", payload(600_000, 10), stripe_bytes=256 * KIB)
        stat, other = await driver.stat("damaged"), await driver.stat("other")
        flip(shard_path(stat, 0))
        path = shard_path(stat, 3)
        os.truncate(path, path.stat().st_size - 100)
        assert await driver.get("damaged") == data
        for start in range(0, len(data), 37_777):
            assert await driver.get("damaged", (start, min(start + 99, len(data)))) == data[start : start + 99]
        now = await driver.stat("damaged")
        assert (now.health, now.survivable, set(now.missing)) == ("degraded", 0, {0, 3})
        assert now.missing[0].startswith("corrupt"), "as it was found"
        shard_path(stat, 1).write_bytes(shard_path(other, 1).read_bytes())
        with pytest.raises(NotEnoughShards) as caught:
            await driver.get("damaged")
        assert (caught.value.have, caught.value.need) == (3, 4)
        assert set(caught.value.missing) == {0, 1, 3}
        assert "damaged" in str(caught.value)
        now = await driver.stat("damaged")
        assert (now.health, now.survivable, set(now.missing)) == ("lost", -1, {0, 1, 3})
        assert (await driver.stat("other")).health == "healthy"

    harness.run(scenario())


def test_lost_places(harness, driver):
    """Last: two of seven places are lost, then more than the code bears."""
    data, small = payload(500_000, 13), payload(3_000, 14)

    async def before():
        await driver.put("lost", data, stripe_bytes=64 * KIB)
        await driver.put("lost/small", small)
        return await driver.stat("lost")

    stat = harness.run(before())
    gone = [stat.locations[index][1] for index in range(3)]
    for place in gone[:2]:
        harness.kill(place)

    async def after():
        assert await driver.get("lost") == data
        assert await driver.get("lost/small") == small
        assert await driver.get("lost", (99_000, 200_000)) == data[99_000:200_000]
        now = await driver.stat("lost")
        assert (now.health, now.survivable, set(now.missing)) == ("degraded", 0, {0, 1})
        with pytest.raises(NotEnoughPlaces):
            await driver.put("more", data)
        receipt = await driver.put("more", data, code="rs:3+2", stripe_bytes=64 * KIB)
        assert receipt.survivable == 2
        assert await driver.get("more") == data

    harness.run(after())
    harness.kill(gone[2])

    async def too_few():
        with pytest.raises(NotEnoughShards) as caught:
            await driver.get("lost")
        assert (caught.value.have, caught.value.need) == (3, 4)
        assert set(caught.value.missing) == {0, 1, 2}
        assert (await driver.stat("lost")).health == "lost"

    harness.run(too_few())
