"""The result of ``faultset bench``; see :mod:`jobs.results`."""

from __future__ import annotations

from typing import TypedDict


class BenchCode(TypedDict):
    """How fast one code is."""

    code: str
    engine: str
    shard_bytes: int
    lost: int
    encode_gb_s: float
    decode_gb_s: float
    copy_gb_s: float


class BenchObjects(TypedDict):
    """How fast objects are put and fetched."""

    code: str
    stores: int
    survivable: int
    durability: str
    size: int
    put_mb_s: float
    get_mb_s: float
    small_size: int
    small_put_ms: float
    small_get_ms: float


class BenchFleet(TypedDict):
    """How fast a fleet answers."""

    nodes: int
    survivors: int
    register_s: float
    observe_s: float
    survivors_s: float


class Bench(TypedDict):
    """What ``faultset bench`` tells."""

    codes: list[BenchCode]
    objects: BenchObjects
    fleet: BenchFleet
    seconds: float
