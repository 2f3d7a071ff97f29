"""Objects on seven Ray nodes of this machine, beside three copies through the same stores and a hand-written loop.

``python benchmarks/stored.py [ROUNDS]``, which ends with 1 where a target was missed. All sides write new data and make
them durable; each ratio is the median of pairs that ran one after the other. Disks of one machine are one disk, so the
figures compare work, not hardware.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from report import Report

import faultset_ray as fs
from actors.local_cluster import LocalCluster, LocalNode
from faultset_ray.limits import APPEND_SECONDS, KIB, MIB
from faultset_ray.objects import encode as encoding
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.memory import empty

NODES = 7
K, M = 4, 2
CODE, COPIES = f"rs:{K}+{M}", "copy:3"
LARGE_BYTES = 4096 * MIB
WARM = 3
"""Rounds that are not timed: nodes start workers, which takes longer than a round, and compile."""
LEARN, READS = 60, 300
"""Reads that are not timed, and those that are."""
SLICE_SECONDS = 0.002
WORK = {"64 MiB": (1, 64 * MIB, 3), "1,000 of 64 KiB": (1_000, 64 * KIB, 1)}
"""How many objects, of how many bytes, in how many times as many rounds: short ones differ by half."""

dice = np.random.default_rng(1)


def objects(count: int, nbytes: int) -> dict[str, np.ndarray]:
    names = dice.bytes(8).hex()
    return {f"{names}-{number}": dice.integers(0, 256, nbytes, np.uint8) for number in range(count)}


def copy_rows(rows: np.ndarray, header: Any, stripe: int, _threads: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A plain copy in the place of the code; digests as they are."""
    parity = empty(header.n - header.k, rows.shape[1])
    for index in range(len(parity)):
        np.copyto(parity[index], rows[index % header.k])
    blocks = [*rows, *parity]
    return parity, [granule_digests(replace(header, index=i), stripe, block) for i, block in enumerate(blocks)]


async def copy_stripe(net: Any, rows: Any, _sent: Any, header: Any, stripe: int, stores: Any) -> dict[str, str]:
    """The task of the pool, copying, and all else as it is."""
    return await copy_here(net, rows, header, stripe, stores)


async def copy_here(net: Any, rows: Any, header: Any, stripe: int, stores: Any) -> dict[str, str]:
    """The same of a stripe that its driver keeps."""
    parity, digests = await net.compute(copy_rows, rows, header, stripe, 1)

    async def append(index: int) -> None:
        block = rows[index] if index < header.k else parity[index - header.k]
        own = replace(header, index=index).pack()
        await net.within(APPEND_SECONDS).call(stores[index].addr, PlaceStore.append, own, stripe, block, digests[index])

    await asyncio.gather(*map(append, stores))
    return {}


@contextmanager
def cluster() -> Iterator[tuple[LocalCluster, Path]]:
    root = Path(tempfile.mkdtemp(prefix="stored-"))
    labels = [{"faultset.io/store": "true", "faultset.io/region": f"r{index}"} for index in range(NODES)]
    try:
        with LocalCluster([LocalNode(label) for label in labels], store_dir=str(root / "stores")) as nodes:
            yield nodes, root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def disk_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*.shard"))


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


class Sides:
    """Puts and gets of the same objects by each side."""

    def __init__(self, driver: fs.AsyncDriver, root: Path, loop: Any) -> None:
        self.driver = driver
        self.root = root
        self.loop = loop

    async def put(self, batch: dict[str, np.ndarray], code: str) -> None:
        await asyncio.gather(*(self.driver.put(f"{code}/{name}", data, code=code) for name, data in batch.items()))

    async def get(self, batch: dict[str, np.ndarray], code: str) -> list[bytes]:
        return await asyncio.gather(*(self.driver.get(f"{code}/{name}") for name in batch))

    async def put_by_loop(self, batch: dict[str, np.ndarray]) -> None:
        await asyncio.to_thread(self.loop.put, batch)

    async def get_by_loop(self, batch: dict[str, np.ndarray]) -> list[bytes]:
        return await asyncio.to_thread(self.loop.get, {name: data.size for name, data in batch.items()})

    async def round(self, count: int, nbytes: int) -> dict[str, float]:
        """Seconds of each side for the same work twice, ours first and last; and the bytes on disk."""
        first, last = objects(count, nbytes), objects(count, nbytes)
        before = disk_bytes(self.root)
        found = {
            "put": await timed(lambda: self.put(first, CODE)),
            "put loop": await timed(lambda: self.put_by_loop(first)) + await timed(lambda: self.put_by_loop(last)),
        }
        found["put"] += await timed(lambda: self.put(last, CODE))
        coded = disk_bytes(self.root)
        found["put copies"] = await timed(lambda: self.put(first, COPIES)) + await timed(lambda: self.put(last, COPIES))
        found["disk"] = (coded - before) / (disk_bytes(self.root) - coded)
        found["get copies"] = await timed(lambda: self.get(first, COPIES)) + await timed(lambda: self.get(last, COPIES))
        found["get"] = await timed(lambda: self.get(first, CODE))
        found["get loop"] = await timed(lambda: self.get_by_loop(first)) + await timed(lambda: self.get_by_loop(last))
        found["get"] += await timed(lambda: self.get(last, CODE))
        for batch in (first, last):
            wanted = [data.tobytes() for data in batch.values()]
            assert await self.get(batch, CODE) == wanted == await self.get_by_loop(batch)
        return found

    async def encode_round(self) -> float:
        """The speed of encode over the pool, over that of the same tasks with a plain copy; each goes first once."""
        [data] = objects(1, 128 * MIB).values()

        async def encode() -> None:
            await self.driver.free(await self.driver.encode(data, f"rs:{K}+{M}"))

        async def copying() -> None:
            with mock.patch.multiple(encoding, encode_stripe=copy_stripe, encode_here=copy_here):
                await encode()

        seconds = [await timed(work) for work in (encode, copying, copying, encode)]
        return (seconds[1] + seconds[2]) / (seconds[0] + seconds[3])


@contextmanager
def slowed(pid: int, times: int) -> Iterator[None]:
    """A process gets its CPU for one part in so many: stopped and continued, over and over."""
    over = threading.Event()

    def slow() -> None:
        while not over.wait(SLICE_SECONDS):
            os.kill(pid, signal.SIGSTOP)
            over.wait((times - 1) * SLICE_SECONDS)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def slow_store(driver: fs.AsyncDriver) -> tuple[float, float]:
    """The 99th percentile of reads while one store is ten times as slow, over that without; and the extra requests."""
    [(name, data)] = objects(1, 4 * MIB).items()
    await driver.put(name, data, code=CODE)
    where = (await driver.stat(name)).locations
    store = next(info for info in await driver.stores() if info.uuid == where[0][0])
    holder = json.loads((Path(store.path) / "lock").read_bytes())

    async def p99() -> float:
        seconds = [await timed(lambda: driver.get(name)) for _ in range(LEARN + READS)]
        return float(np.percentile(seconds[LEARN:], 99))

    pace = driver._objects.lines.pace  # noqa: SLF001 - it counts
    before, extra = await p99(), 0.0
    with slowed(holder["pid"], 10):
        reads, hedges = pace.reads, pace.hedges
        during = await p99()
        extra = (pace.hedges - hedges) / (pace.reads - reads)
    return during / min(before, await p99()), extra


async def large_memory(driver: fs.AsyncDriver) -> float:
    """MiB of its own that the driver takes at most, above what it had, for an object of 4 GiB put and got."""
    piece = dice.integers(0, 256, 16 * MIB, np.uint8)
    most, over = own_bytes(), threading.Event()
    idle = most

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, own_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        await driver.put("large", (piece for _ in range(LARGE_BYTES // piece.size)), code=CODE)
        got = 0
        async for some in driver.get_stream("large"):
            got += some.size
        assert got == LARGE_BYTES
        await driver.delete("large", grace_s=0)
    finally:
        over.set()
        thread.join()
    return (most - idle) / MIB


def own_bytes() -> int:
    """Memory of this process that it shares with no other: blocks in Ray's object store are Ray's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("RssAnon"))


async def measure(rounds: int, report: Report) -> None:
    """Add all rows."""
    import ray
    from ray import cloudpickle
    from ray_loop import Loop

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the nodes don't have the benchmarks
    cloudpickle.register_pickle_by_value(sys.modules["ray_loop"])
    with cluster() as (nodes, root):
        async with await fs.connect_async(nodes.address, system="stored", state_dir=root / "state") as driver:
            places = [info.place for info in await driver.stores()]
            sides = Sides(driver, root, Loop(root / "loop", places, K, M))
            for name, (count, nbytes, times) in WORK.items():
                for _ in range(WARM):
                    await sides.round(min(count, 50), nbytes)
                found = [await sides.round(count, nbytes) for _ in range(times * rounds)]
                for verb in ("put", "get"):
                    report.add(f"{verb} of {name}, twice", statistics.median(one[verb] for one in found), unit="s")
                    for peer, title, least in (("loop", "a loop with pyeclib", 1.0), ("copies", COPIES, None)):
                        ratio = statistics.median(one[f"{verb} {peer}"] / one[verb] for one in found)
                        report.add(f"{verb} of {name}: {title}", ratio, least=least)
                disk = statistics.median(one["disk"] for one in found)
                report.add(f"bytes on disk, {name}: {COPIES}", disk, most=0.55)
            await sides.encode_round()
            ratio = statistics.median([await sides.encode_round() for _ in range(3 * rounds)])
            report.add("encode of 128 MiB over the pool: the same tasks copying", ratio, least=0.85)
            late, extra = await slow_store(driver)
            report.add("p99 of reads of 4 MiB with one store ten times as slow: without", late, most=1.3)
            report.add("extra requests meanwhile, of those that were needed", extra, most=0.2)
            report.add(
                "driver's memory above idle, 4 GiB put and got", await large_memory(driver), most=256.0, unit="MiB"
            )
            await driver.shutdown()
        ray.shutdown()


def main(rounds: int = 5) -> int:
    """The exit status."""
    print(f"\nobjects on {NODES} Ray nodes of this machine, {CODE}", flush=True)
    report = Report("stored")
    asyncio.run(measure(rounds, report))
    return report.close()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
