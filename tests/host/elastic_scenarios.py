"""What is played on :class:`~host.elastic.Elastic`: load rises and falls, nodes come and go, answers stay right.

Each returns what it found: the seconds that nodes took to come and to go, and counts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from host.elastic import ADDRESS, Elastic

import faultset_ray as fs
from faultset_ray.backend.protocol import At
from faultset_ray.geohash import cells_to_strings, encode_many

PRECISION = 2
THRESHOLD_MS = 100.0
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
    from actors.backend import RayBackend

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
