"""A million nodes behind a driver: what registering and asking cost beside the least that they could.

``COUNT=50000 python benchmarks/driven.py`` prints these figures alone, of fewer nodes: to see that they can be taken.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from peers import chance

import faultset_ray as fs
from faultset_ray.driver.keeper import address, orders

NODES = int(os.environ.get("COUNT") or 1_000_000)
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


def inside(backend: Any, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
    """Await what a function makes of a servant where that is: in its actor, or in this process."""
    if hasattr(backend, "_hosted"):
        return backend.compute(action, backend._hosted[name].servant, *arguments)  # noqa: SLF001 - servants have no other door
    return backend._handle(name).__ray_call__.remote(action, *arguments)  # noqa: SLF001


def survivors_ratio(
    backend: str = "local", address_: str | None = None, policy: fs.Policy | None = None, *, ids: bool = False
) -> float:
    """The live answer about a million, over an empty fan-out plus the slowest range's own compute.

    The empty one is the same question about two nodes, in as many ranges. What a range computes is timed within its
    servant, so neither the call nor the way of the answer is in it: these are what the ratio shows. All ranges compute
    at once then, as for the answer: two processors that share a cache and memory slow each other down. The answer is
    put together, and its handles are looked at; with ``ids`` their ids are looked up too.
    """

    def look(answer: fs.Survivors) -> None:
        assert len(answer.ids if ids else answer.handles) > 0

    with connected(backend, address_) as driver:
        driver.register(fleet(), PRECISION, policy=policy)
        look(driver.survivors(partial=False))
        keeper = driver._core._keeper  # noqa: SLF001 - a range's own part is not otherwise seen
        directory = driver._loop.run(keeper.directory("default"))  # noqa: SLF001
        few = driver._loop.run(keeper.directory("few"))  # noqa: SLF001
        assert len(few.ranges) == len(directory.ranges) == RANGES

        def compute_s(region: Any, *arguments: Any) -> float:
            began = time.perf_counter()
            region.survivors(*arguments)
            return time.perf_counter() - began

        async def slowest() -> float:
            """What the slowest range computes, all at once."""
            asked = []
            for info in directory.ranges:
                arguments = info.epoch, orders(directory), keeper.backend.now_ms(), None, info.roster
                asked.append(inside(keeper.backend, address("default", info).name, compute_s, *arguments))
            return max(await asyncio.gather(*asked))

        ratios = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            look(driver.survivors(fleet="few", partial=False))
            empty = time.perf_counter() - began
            own = driver._loop.run(slowest())  # noqa: SLF001
            began = time.perf_counter()
            look(driver.survivors(partial=False))
            ratios.append((time.perf_counter() - began) / (empty + own))
        return statistics.median(ratios)


@contextmanager
def two_places() -> Iterator[str]:
    """The address of two raylets of this machine."""
    from actors.local_cluster import LocalCluster, LocalNode

    with LocalCluster([LocalNode({"faultset.io/region": name}, cpus=1) for name in ("east", "west")]) as cluster:
        yield cluster.address


def survivors_ratio_on_ray(policy: fs.Policy | None = None, *, ids: bool = False) -> float:
    """The same where ranges are actors."""
    with two_places() as address_:
        return survivors_ratio("ray", address_, policy, ids=ids)


def register_s_on_ray() -> float:
    """The same where ranges are actors: with the actors' start, as a user waits for it too."""
    with two_places() as address_:
        return register_s("ray", address_)


def empty_actors_s() -> float:
    """Seconds until as many actors as there are ranges are up, which do nothing: what of the above is Ray's own."""
    import ray

    class Empty:
        def ready(self) -> None:
            pass

    with two_places() as address_, connected("ray", address_) as driver:
        environment = driver._core._keeper.backend._runtime_env  # noqa: SLF001 - as of the ranges' own
        found = []
        for _ in range(3):
            began = time.perf_counter()
            empty = ray.remote(Empty).options(num_cpus=0, runtime_env=environment, scheduling_strategy="SPREAD")
            actors = [empty.remote() for _ in range(RANGES)]
            ray.get([actor.ready.remote() for actor in actors])
            found.append(time.perf_counter() - began)
            for actor in actors:
                ray.kill(actor)
        return statistics.median(found)


def main() -> None:
    """Print all of them."""
    print(f"{NODES:,} nodes, {ROUNDS} rounds")
    print(f"register in one process: {register_s():.2f} s", flush=True)
    print(f"register on Ray: {register_s_on_ray():.2f} s", flush=True)
    print(f"of that, until as many empty actors are up: {empty_actors_s():.2f} s", flush=True)
    print(f"survivors in one process, over the least: {survivors_ratio():.2f}", flush=True)
    print(f"survivors on Ray, over the least: {survivors_ratio_on_ray():.2f}", flush=True)


if __name__ == "__main__":
    main()
