"""What a put is given: memory that changes meanwhile, files whose size nobody tells, numbers of numpy."""

from __future__ import annotations

import asyncio
import io
import mmap
import os
from pathlib import Path

import numpy as np
import pytest
from first_stripe import hold_first_stripe
from places import PLACES

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.errors import InputError
from faultset_ray.objects.buffers import is_fixed
from faultset_ray.objects.encode import encode_stripe

SMALL = {"code": "copy:2", "tolerate": 0}


@pytest.mark.parametrize("nbytes", [1_000, 3_000_000])
def test_memory_that_changes_during_a_put(nbytes):
    """What is acknowledged is read: as it was before or after, or of both, and never not at all."""

    async def main():
        async with await fs.connect_async(backend="local") as driver:
            for turns in range(3, 12):
                buffer = np.zeros(nbytes, np.uint8)
                putting = asyncio.ensure_future(driver.put("x", buffer, **SMALL))
                for _ in range(turns):
                    await asyncio.sleep(0)
                buffer[:] = 7
                await putting
                assert set(await driver.get("x")) <= {0, 7}

    asyncio.run(main())


def test_memory_that_nobody_can_write_to_is_not_copied(tmp_path):
    data = b"abc"
    array = np.frombuffer(data, np.uint8)
    assert all(map(is_fixed, [data, memoryview(data)[1:], array, array[1:]]))
    owned = np.zeros(3, np.uint8)
    shown = owned[:]
    shown.flags.writeable = owned.flags.writeable = False
    path = tmp_path / "x"
    path.write_bytes(data)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        others = [bytearray(data), memoryview(bytearray(data)).toreadonly(), np.zeros(3), owned, shown, mapped]
        assert not any(map(is_fixed, others))


def test_a_file_that_tells_no_size_is_read_to_its_end():
    with fs.connect(backend="local") as driver:
        receipt = driver.put("version", "/proc/version", **SMALL)
        assert driver.get("version") == Path("/proc/version").read_bytes()
        assert receipt.size > 0


@pytest.mark.parametrize("known", [True, False], ids=["bytes", "pipe"])
def test_only_what_has_several_stripes_takes_tasks(known, monkeypatch):
    """A task takes seconds to begin where Ray has no worker that waits for one."""
    backend = LocalBackend(PLACES)
    tasks = []
    run = backend.run
    backend.run = lambda task, *args, **kwargs: tasks.append(task) or run(task, *args, **kwargs)
    with fs.connect(backend=backend) as driver:
        for nbytes, taken in ((3 << 20, 0), (16 << 20, 0), (17 << 20, 1)):
            tasks.clear()
            if taken:
                hold_first_stripe(monkeypatch)
            data = os.urandom(nbytes)
            driver.put("x", data if known else io.BytesIO(data), code="rs:4+2", stripe_bytes=16 << 20)
            assert tasks == [encode_stripe] * taken
            assert driver.get("x") == data
        tasks.clear()
        assert driver.decode(driver.encode(data[: 3 << 20], "rs:4+2")) == data[: 3 << 20]
        assert encode_stripe not in tasks


def test_durability_is_told_as_it_is():
    with fs.connect(backend="local") as driver:
        assert driver.put("o", b"x", **SMALL).durability == "none"
        assert (driver.stat("o").durability, driver.list()[0].durability) == ("none", "none")
        driver.delete("o")
        assert driver.undelete("o").durability == "none"


def test_integers_of_numpy_are_integers():
    with fs.connect(backend="local") as driver:
        receipt = driver.put("o", b"abc", code="copy:2", tolerate=np.int64(0), stripe_bytes=np.int32(1 << 20))
        assert driver.get("o", range=(np.uint8(1), np.int64(3))) == b"bc"
        driver.delete("o", if_generation=np.uint64(receipt.generation))
        for wrong in (True, 0.0, "0"):
            with pytest.raises(InputError, match="tolerate"):
                driver.put("o", b"abc", code="copy:2", tolerate=wrong)
            with pytest.raises(InputError, match="bytes_per_s"):
                driver.repair(bytes_per_s=wrong)


class Told(list):
    """What a verb told of its progress."""

    def __call__(self, done, everything):
        self.append((done, everything))


def test_progress_is_told_in_figures(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(3_000_000))
    with fs.connect(backend="local") as driver, path.open("rb") as file:
        for data, size in ((path, 3_000_000), (file, None), (b"x", 1), (b"", 0)):
            told = Told()
            receipt = driver.put("x", data, **SMALL, stripe_bytes=1 << 20, progress=told)
            assert told[-1] == (receipt.size, size)
            assert [done for done, _ in told] == sorted(done for done, _ in told)
            told.clear()
            assert sum(piece.size for piece in driver.get_stream("x", progress=told)) == receipt.size
            assert told[-1:] == ([(receipt.size, receipt.size)] if receipt.size else [])
        driver.put("x", path, **SMALL)
        told.clear()
        assert sum(map(len, driver.get_stream("x", (5, 2_000_005), progress=told))) == 2_000_000
        assert told[-1] == (2_000_000, 2_000_000)
        driver.scrub(deep=True, progress=told)
        assert told[-1][0] == told[-1][1] > 6_000_000
        driver.scrub(progress=told)
        assert 0 < told[-1][0] == told[-1][1] < 100
        for wrong in (3, "x", []):
            for verb in (driver.repair, driver.scrub, driver.rebuild):
                with pytest.raises(InputError, match="progress"):
                    verb(progress=wrong)
            with pytest.raises(InputError, match="progress"):
                driver.put("x", b"", **SMALL, progress=wrong)


def test_a_file_that_changes_while_it_is_put(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(3_000_000))
    with fs.connect(backend="local") as driver:

        def shorten(_done, _everything):
            os.truncate(path, 1_000_000)

        with pytest.raises(InputError, match="it changed while it was read"):
            driver.put("x", path, **SMALL, stripe_bytes=1 << 20, progress=shorten)
        assert driver.list() == []
