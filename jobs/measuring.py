"""What ``faultset bench`` measures: each part takes its share of the time, and says what it did beside the figure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from faultset_ray import codes
from faultset_ray.codes import engine
from faultset_ray.model import Fleet

if TYPE_CHECKING:
    from faultset_ray.driver.sync import Driver

_SMALL_BYTES = 64 << 10
_PRECISION = 3
_THRESHOLD_MS = 150.0


def median_seconds(call: Callable[[], Any], within: float) -> float:
    """Seconds of one call: the median of as many as fit into ``within`` seconds after a first one, at least one."""
    call()
    taken: list[float] = []
    ends = time.perf_counter() + within
    while not taken or time.perf_counter() < ends:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def of_code(spec: str, shard_bytes: int, within: float) -> dict[str, Any]:
    """Encode and decode in this process on one thread, beside a plain copy of the same data.

    What is decoded are as many lost data shards as the code surely survives. GB/s are 10⁹ bytes of data a second.
    """
    code = codes.get(spec)
    data = np.random.default_rng(1).integers(0, 256, (code.k, shard_bytes), dtype=np.uint8)
    parity, copied = np.empty((code.n - code.k, shard_bytes), dtype=np.uint8), np.empty_like(data)
    code.encode(data, parity)
    lost = range(min(code.tolerance, code.k))
    shards = [*data, *parity]
    rows = {index: shards[index] for index in code.plan(lost, range(len(lost), code.n)).reads}
    made = np.empty((len(lost), shard_bytes), dtype=np.uint8)

    def rate(call: Callable[[], Any]) -> float:
        return round(data.nbytes / median_seconds(call, within / 3) / 1e9, 3)

    return {
        "code": code.spec,
        "engine": engine.active(),
        "shard_bytes": shard_bytes,
        "lost": len(lost),
        "encode_gb_s": rate(lambda: code.encode(data, parity)),
        "decode_gb_s": rate(lambda: code.reconstruct(rows, tuple(lost), made)),
        "copy_gb_s": rate(lambda: np.copyto(copied, data)),
    }


def of_objects(driver: Driver, spec: str, size: int, within: float) -> dict[str, Any]:
    """Put and get one large and one small object, over and over.

    They are put even where there are fewer stores than the code has shards: how many losses they bear is told.
    """
    chance = np.random.default_rng(2)
    names = {"bench/large": chance.bytes(size), "bench/small": chance.bytes(_SMALL_BYTES)}
    seconds: dict[str, tuple[float, float]] = {}
    for name, content in names.items():
        put = median_seconds(partial(driver.put, name, content, code=spec, tolerate=0), within / 4)
        seconds[name] = put, median_seconds(partial(driver.get, name), within / 4)
    stat = driver.stat("bench/large")
    large, small = seconds.values()
    return {
        "code": stat.spec,
        "stores": len({store for store, _, _ in stat.locations.values()}),
        "survivable": stat.survivable,
        "durability": stat.durability,
        "size": size,
        "put_mb_s": round(size / large[0] / 1e6, 1),
        "get_mb_s": round(size / large[1] / 1e6, 1),
        "small_size": _SMALL_BYTES,
        "small_put_ms": round(small[0] * 1e3, 2),
        "small_get_ms": round(small[1] * 1e3, 2),
    }


def of_fleet(driver: Driver, nodes: int, within: float) -> dict[str, Any]:
    """Register nodes all over the world, report a latency of each, and ask who survives."""
    chance = np.random.default_rng(3)
    latency = chance.gamma(2.0, 60.0, nodes)
    lat, lon = np.degrees(np.arcsin(chance.uniform(-1, 1, nodes))), chance.uniform(-180, 180, nodes)
    began = time.perf_counter()
    fleet = driver.register(Fleet([f"bench-{number}" for number in range(nodes)], lat, lon, latency), _PRECISION)
    registered = time.perf_counter() - began
    handles = fleet.handles
    assert handles is not None, "what is registered has handles"
    observed = median_seconds(lambda: driver.observe(handles, latency), within / 2)
    asked = median_seconds(lambda: driver.survivors(threshold_ms=_THRESHOLD_MS), within / 2)
    answer = driver.survivors(threshold_ms=_THRESHOLD_MS)
    return {
        "nodes": nodes,
        "survivors": len(answer.ids),
        "register_s": round(registered, 4),
        "observe_s": round(observed, 4),
        "survivors_s": round(asked, 4),
    }
