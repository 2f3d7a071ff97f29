"""What the nodes of a range take up in its servant, whatever is happening to them: all arrays that it holds are counted."""

from collections.abc import Iterator

import numpy as np

from faultset_ray.control.messages import Members, Orders
from faultset_ray.control.region import Region
from faultset_ray.policy import Policy

ORDERS = Orders(1, Policy(statistic="p95", threshold_ms=250.0, samples=(2, 3, 2), hold_s=(1, 60), survivors_min=1))
"""It keeps the most that any policy has kept of a node."""


def held(thing: object, seen: dict[int, np.ndarray]) -> None:
    """Collect every array that can be reached from an object of this library, by the memory that it is a view of."""
    if isinstance(thing, np.ndarray):
        while isinstance(thing.base, np.ndarray):
            thing = thing.base
        seen[id(thing)] = thing
    elif isinstance(thing, dict):
        for value in thing.values():
            held(value, seen)
    elif isinstance(thing, list | tuple):
        for value in thing:
            held(value, seen)
    elif type(thing).__module__.startswith("faultset_ray"):
        slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        for value in [*getattr(thing, "__dict__", {}).values(), *(getattr(thing, name, None) for name in slots)]:
            held(value, seen)


def bytes_held(region: Region) -> int:
    seen: dict[int, np.ndarray] = {}
    held(region, seen)
    return sum(array.nbytes for array in seen.values())


def a_day(nodes: int, region_of_node: float = 0.37) -> Iterator[tuple[str, float]]:
    """What happened, and bytes a node after it: registered, measured, all out, back, registered elsewhere, restarted."""
    rng = np.random.default_rng(1)
    handles = np.arange(nodes, dtype=np.uint32)
    cells = rng.integers(0, int(nodes * region_of_node), nodes).astype(np.uint64) << np.uint64(30) | np.uint64(6)
    region, now_ms = Region(1), 1_000
    marks = np.zeros(nodes, np.uint8)

    def members(roster: int, where: np.ndarray) -> Members:
        return Members(roster, handles, where, rng.gamma(4.0, 25.0, nodes), np.full(nodes, now_ms), marks)

    def observe(low_ms: float, times: int) -> None:
        nonlocal now_ms
        for _ in range(times):
            now_ms += 1_000
            sample = low_ms + rng.gamma(4.0, 25.0, nodes)
            region.observe(1, ORDERS, now_ms, handles, sample, np.ones(nodes, np.bool_), np.full(nodes, now_ms))

    def settle() -> float:
        region.survivors(1, ORDERS, now_ms, None)
        region.observe(1, ORDERS, now_ms, handles[:1], np.ones(1), np.ones(1, np.bool_), np.ones(1, np.int64))
        return bytes_held(region) / nodes

    region.load(1, ORDERS, now_ms, members(1, cells), None)
    yield "registered", settle()
    observe(0.0, 3)
    yield "measured", settle()
    observe(5_000.0, 4)
    yield "all out", settle()
    now_ms += 120_000
    observe(0.0, 30)
    yield "back", settle()
    moved = np.where(rng.random(nodes) < 0.01, cells[::-1], cells)
    region.load(1, ORDERS, now_ms, members(2, moved), None)
    yield "one in a hundred moved", settle()
    saved = region.checkpoint(1, now_ms, whole=True)
    assert saved is not None
    region = Region(2)
    region.load(2, ORDERS, now_ms, members(2, moved), saved)
    region.survivors(2, ORDERS, now_ms, None)
    yield "restarted", bytes_held(region) / nodes
