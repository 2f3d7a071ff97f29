"""Damage to files, as disks do it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header, Trailer


def flip(path: Path, *positions: int) -> None:
    """Flip a bit of each of some bytes, in place; of byte 300 by default, negative ones counted from the end."""
    damaged = bytearray(path.read_bytes())
    for position in positions or (300,):
        damaged[position] ^= 1
    with path.open("r+b") as file:
        file.write(damaged)


def forged(shard: bytes, position: int, stripe: int = 0) -> bytes:
    """A shard with a flipped byte in a stripe, and all digests made anew, as by someone who knows the format."""
    header, trailer = Header.unpack(shard), Trailer.unpack(shard[-160:], shard[:256])
    layout, made, table = header.layout, [shard[:256]], shard[:256]
    for number in range(trailer.stripes):
        begin, length = layout.offset(number), layout.block_len(number, trailer.size)
        block = np.frombuffer(shard[begin : begin + length], np.uint8).copy()
        if number == stripe:
            block[position] ^= 1
        digests = granule_digests(header, number, block).tobytes()
        made += [block.tobytes(), digests]
        table += digests
    return b"".join([*made, replace(trailer, table_digest=hashlib.sha256(table).digest()).pack(shard[:256])])
