"""Erasure codes: ``get("rs:10+4")`` and the plain Reed–Solomon calls on arrays and bytes."""

from . import raptorq
from .arrays import decode_rs, decode_shards, encode_rs, encode_shards, join, split
from .base import Code
from .plan import Plan
from .registry import available, from_config, get

__all__ = [
    "Code",
    "Plan",
    "available",
    "decode_rs",
    "decode_shards",
    "encode_rs",
    "encode_shards",
    "from_config",
    "get",
    "join",
    "raptorq",
    "split",
]
