"""What is played on :class:`~host.elastic.Elastic`: load rises and falls, nodes come and go, answers stay right.

Each returns what it found: the seconds that nodes took to come and to go, and counts.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import ray
from host.elastic import ADDRESS, Elastic

import faultset_ray as fs
from actors.backend import RayBackend
from faultset_ray.backend.protocol import At
from faultset_ray.geohash import cells_to_strings, encode_many

PRECISION = 2
THRESHOLD_MS = 100.0
STORES = "/tmp/ray/stores"
STATE = "/tmp/ray/state"
CODES = ("rs:2+1", "copy:2", "copy:3")
RANGES = 12
"""Two more than have room at a store of one CPU."""


def random_fleet(seed: int, nodes: int, name: str = "default") -> fs.Fleet:
    rng = np.random.default_rng(seed)
    ids = [f"n{number:05d}" for number in rng.permutation(nodes)]
    latency = rng.uniform(0, 200, nodes).round()
    return fs.Fleet(ids, rng.uniform(-90, 90, nodes), rng.uniform(-180, 180, nodes), latency, name=name)


@contextmanager
def again_and_again(work: Callable[[], object], threads: int = 1) -> Iterator[list[object]]:
    """Do something over and over on other threads; yields the list of what it gave. A failure is raised at the end."""
    ended = threading.Event()
    results: list[object] = []
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            while not ended.is_set():
                results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over
            failures.append(error)

    running = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield results
    finally:
        ended.set()
        for thread in running:
            thread.join()
    if failures:
        raise failures[0]


def hints(version: str) -> dict[str, float]:
    """``want`` brings nodes without anything that runs on them, and withdrawn lets them go."""
    cloud = Elastic(version, {"compute": 2})
    backend = RayBackend("hints", lasting=False, address=ADDRESS)
    asyncio.run(backend.want([At(cpus=2.0)] * 2))
    joined = cloud.until("two nodes joined", lambda: cloud.count("compute") == 2)
    asyncio.run(backend.want([]))
    left = cloud.until("both left", lambda: cloud.count("compute") == 0)
    return {"joined": joined, "left": left}


class Reader:
    """Changes every latency and asks, over and over; every answer is checked."""

    def __init__(self, driver: fs.Driver, fleet: fs.Fleet) -> None:
        self._driver = driver
        self._fleet = fleet
        self._region_of = cells_to_strings(encode_many(fleet.lat, fleet.lon, PRECISION))
        self._states = [
            (latency, fs.faultset(fs.Fleet(fleet.ids, fleet.lat, fleet.lon, latency), THRESHOLD_MS, PRECISION))
            for latency in (fleet.latency_ms, fleet.latency_ms[::-1].copy())
        ]
        self.answers = 0
        self.partial = 0
        self.refused = 0
        self.ranges: set[int] = set()

    def round(self) -> None:
        """Of observations, those to a range that is just being moved are refused; then they are told again."""
        latency, expected = self._states[self.answers % 2]
        while self._driver.observe(self._fleet.handles, latency) < len(self._fleet):
            self.refused += 1
        answer = self._driver.survivors(threshold_ms=THRESHOLD_MS)
        named = np.isin(self._fleet.ids, expected) & ~np.isin(self._region_of, answer.missing_regions)
        kept = set(self._fleet.ids[named].tolist())
        assert answer.ids.tolist() == [node for node in expected if node in kept], "wrong, or shrunk without a word"
        self.answers += 1
        self.partial += not answer.whole
        self.ranges.add(len(answer.versions))


def load_rises_and_falls(version: str) -> dict[str, float]:
    """Region actors and coding tasks come, and nodes; they go, ranges are merged and packed, and the nodes leave."""
    cloud = Elastic(version, {"store-a": 1, "compute": 3})
    cloud.connect()
    cloud.until("the store is there", lambda: cloud.count("store") == 1)
    data = np.random.default_rng(1).bytes(48 << 20)
    with fs.connect(ADDRESS, region_actors=RANGES) as driver:
        with ThreadPoolExecutor() as pool:
            registering = pool.submit(driver.register, random_fleet(7, 2000), PRECISION)
            joined = cloud.until("a node joined for region actors", lambda: cloud.count("compute") >= 1)
            reader = Reader(driver, registering.result())

        def encode() -> None:
            driver.encode(data, "rs:2+1", stripe_bytes=4 << 20).free()

        with again_and_again(reader.round):
            with again_and_again(encode, threads=2):
                more = cloud.until("more joined for coding tasks", lambda: cloud.count("compute") >= 2, 120)
            left = cloud.until("all of them left", lambda: cloud.count("compute") == 0, 240)
        assert driver.survivors(threshold_ms=THRESHOLD_MS).whole
    assert max(reader.ranges) == RANGES
    assert min(reader.ranges) < RANGES
    found = {name: getattr(reader, name) for name in ("answers", "partial", "refused")}
    return {"joined": joined, "joined_for_tasks": more, "left": left, **found, "fewest_ranges": min(reader.ranges)}


def stores_leave(version: str) -> dict[str, float]:
    """A node with a store stays however idle it is, while one without goes; emptied by ``decommission``, it goes."""
    cloud = Elastic(
        version, {"store-a": 1, "store-b": 1, "store-c": 2, "compute": 1}, {"store-c": 1}, FAULTSET_STORE_DIR=STORES
    )
    cloud.connect()
    cloud.until("three stores are there", lambda: cloud.count("store") == 3)
    hints = RayBackend("hints", lasting=False, address=ADDRESS)
    four = [At(cpus=1.0)] * 4  # only a store has a CPU to itself
    asyncio.run(hints.want(four))
    joined = cloud.until("a fourth one joined", lambda: cloud.count("store") == 4)
    stores = cloud.nodes().keys()
    with fs.connect(ADDRESS, system="kept", state_dir=STATE) as driver:
        objects = {
            f"{code} {size}": (np.random.default_rng(size).bytes(size), code)
            for code in CODES
            for size in (0, 1, 70_000, 3_000_000)
        }
        promised = {
            name: driver.put(name, data, code=code, stripe_bytes=1 << 20).survivable
            for name, (data, code) in objects.items()
        }
        assert {place for name in objects for _, place, _ in driver.stat(name).locations.values()} == stores

        asyncio.run(hints.want([*four, At(cpus=2.0)]))
        cloud.until("a node without a store joined", lambda: cloud.count("compute") == 1)
        asyncio.run(hints.want([]))
        without = cloud.until("it left, idle for less long than the stores", lambda: cloud.count("compute") == 0)
        assert cloud.nodes().keys() == stores, "a store holds its node"

        labels = {node["NodeID"]: node["Labels"] for node in ray.nodes()}
        regions = Counter(labels[store]["faultset.io/region"] for store in stores)
        going = next(store for store in stores if regions[labels[store]["faultset.io/region"]] == 2)
        moved = driver.decommission(going)
        assert moved.shards == moved.objects > 0
        left = cloud.until("the emptied node left", lambda: cloud.nodes().keys() == stores - {going})
        for name, (data, _) in objects.items():
            assert driver.get(name) == data
            found = driver.stat(name)
            assert (found.health, found.survivable) == ("healthy", promised[name])
            assert going not in {place for _, place, _ in found.locations.values()}
        driver.shutdown()
    return {"joined": joined, "left_without_store": without, "shards_moved": moved.shards, "left": left}
