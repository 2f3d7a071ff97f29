"""faultset-ray: which nodes can be trusted, region by region, and no data lost when some are gone.

The names below are loaded on first use, so that ``import faultset_ray`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from faultset_ray._version import __version__

if TYPE_CHECKING:
    from faultset_ray import codes as codes
    from faultset_ray import errors as errors
    from faultset_ray import geohash as geohash
    from faultset_ray.codes.arrays import decode_rs as decode_rs
    from faultset_ray.codes.arrays import decode_shards as decode_shards
    from faultset_ray.codes.arrays import encode_rs as encode_rs
    from faultset_ray.codes.arrays import encode_shards as encode_shards
    from faultset_ray.config import Config as Config
    from faultset_ray.control.answer import Survivors as Survivors
    from faultset_ray.driver.asynchronous import AsyncDriver as AsyncDriver
    from faultset_ray.driver.asynchronous import connect_async as connect_async
    from faultset_ray.driver.sync import Driver as Driver
    from faultset_ray.driver.sync import connect as connect
    from faultset_ray.errors import CodingError as CodingError
    from faultset_ray.errors import FaultsetError as FaultsetError
    from faultset_ray.model import Fleet as Fleet
    from faultset_ray.model import Node as Node
    from faultset_ray.objects.manifest import Manifest as Manifest
    from faultset_ray.objects.pack import pack_shards as pack_shards
    from faultset_ray.objects.pack import unpack_shards as unpack_shards
    from faultset_ray.objects.shardset import ShardSet as ShardSet
    from faultset_ray.objects.stream import decode_stream as decode_stream
    from faultset_ray.objects.stream import decode_stream_async as decode_stream_async
    from faultset_ray.objects.stream import encode_stream as encode_stream
    from faultset_ray.objects.stream import encode_stream_async as encode_stream_async
    from faultset_ray.objects.stream import read_range as read_range
    from faultset_ray.objects.stream import read_range_async as read_range_async
    from faultset_ray.pipeline import failover as failover
    from faultset_ray.pipeline import failover_async as failover_async
    from faultset_ray.pipeline import failover_indices as failover_indices
    from faultset_ray.pipeline import faultset as faultset
    from faultset_ray.pipeline import faultset_async as faultset_async
    from faultset_ray.policy import Policy as Policy

_HOME = {
    "Node": "model",
    "Fleet": "model",
    "Survivors": "control.answer",
    "Config": "config",
    "Policy": "policy",
    "ShardSet": "objects.shardset",
    "failover": "pipeline",
    "failover_async": "pipeline",
    "failover_indices": "pipeline",
    "faultset": "pipeline",
    "faultset_async": "pipeline",
    "encode_rs": "codes.arrays",
    "decode_rs": "codes.arrays",
    "encode_shards": "codes.arrays",
    "decode_shards": "codes.arrays",
    "pack_shards": "objects.pack",
    "unpack_shards": "objects.pack",
    "Manifest": "objects.manifest",
    "encode_stream": "objects.stream",
    "encode_stream_async": "objects.stream",
    "decode_stream": "objects.stream",
    "decode_stream_async": "objects.stream",
    "read_range": "objects.stream",
    "read_range_async": "objects.stream",
    "connect": "driver.sync",
    "Driver": "driver.sync",
    "connect_async": "driver.asynchronous",
    "AsyncDriver": "driver.asynchronous",
    "FaultsetError": "errors",
    "CodingError": "errors",
}
_MODULES = ("codes", "errors", "geohash")

__all__ = ["__version__", *_MODULES, *_HOME]  # noqa: PLE0604 - every entry is a str


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    elif name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
