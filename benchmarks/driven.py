"""A million nodes behind a driver: what registering and asking cost beside the least that they could."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from peers import chance

import faultset_ray as fs
from faultset_ray.control.region import Region
from faultset_ray.driver.keeper import address, orders

NODES = 1_000_000
RANGES = 2
"""On a machine of two processors the ranges of one process really run side by side."""
PRECISION = 4
ROUNDS = 15
BORROWING = fs.Policy(survivors_min=2, fallback="nearest", panic="all")


def fleet() -> fs.Fleet:
    ids = [f"n{index}" for index in range(NODES)]
    return fs.Fleet(
        ids, chance.uniform(-40, 60, NODES), chance.uniform(-120, 120, NODES), chance.uniform(0, 200, NODES)
    )


@contextmanager
def connected(backend: str, address_: str | None = None) -> Iterator[fs.Driver]:
    """A driver that has compiled and loaded what it needs."""
    with fs.connect(address_, backend=backend, region_actors=RANGES) as driver:
        driver.register([("a", 1.0, 1.0, 1.0), ("b", 40.0, 90.0, 1.0)], PRECISION, fleet="few")
        driver.survivors(fleet="few", partial=False)
        yield driver


def register_s(backend: str = "local", address_: str | None = None) -> float:
    """Seconds to register a new fleet of a million: the median of three."""
    found = []
    for _ in range(3):
        nodes = fleet()
        with connected(backend, address_) as driver:
            began = time.perf_counter()
            driver.register(nodes, PRECISION)
            found.append(time.perf_counter() - began)
    return statistics.median(found)


def survivors_ratio(
    backend: str = "local", address_: str | None = None, policy: fs.Policy | None = None, *, ids: bool = False
) -> float:
    """The live answer about a million, over the same question about two nodes plus the slowest range alone.

    The answer is put together, and its handles are looked at; with ``ids`` their ids are looked up too.
    """

    def look(answer: fs.Survivors) -> None:
        assert len(answer.ids if ids else answer.handles) > 0

    with connected(backend, address_) as driver:
        driver.register(fleet(), PRECISION, policy=policy)
        look(driver.survivors(partial=False))
        keeper = driver._core._keeper  # noqa: SLF001 - the slowest range is not otherwise seen
        directory = driver._loop.run(keeper.directory("default"))  # noqa: SLF001

        async def slowest() -> float:
            """The slowest range, each asked by itself."""
            own = []
            for info in directory.ranges:
                arguments = info.epoch, orders(directory), keeper.backend.now_ms(), None, info.roster
                began = time.perf_counter()
                await keeper.backend.call(address("default", info), Region.survivors, *arguments)
                own.append(time.perf_counter() - began)
            return max(own)

        ratios = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            look(driver.survivors(fleet="few", partial=False))
            empty = time.perf_counter() - began
            alone = driver._loop.run(slowest())  # noqa: SLF001
            began = time.perf_counter()
            look(driver.survivors(partial=False))
            ratios.append((time.perf_counter() - began) / (empty + alone))
        return statistics.median(ratios)


def survivors_ratio_on_ray(policy: fs.Policy | None = None, *, ids: bool = False) -> float:
    """The same where ranges are actors, on two raylets of this machine."""
    from actors.local_cluster import LocalCluster, LocalNode

    with LocalCluster([LocalNode({"faultset.io/region": name}, cpus=1) for name in ("east", "west")]) as cluster:
        return survivors_ratio("ray", cluster.address, policy, ids=ids)
