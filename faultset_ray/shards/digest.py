"""Digests of granules: they bind the bytes to the write, the shard, the stripe and the position.

The encoder computes them, they travel and lie beside the block, and whoever uses the bytes verifies them.
Kind 1 is CRC32C (RFC 3720, Castagnoli) of ``write id ‖ index ‖ stripe ‖ granule ‖ bytes``.
"""

from __future__ import annotations

import struct

import numpy as np
from google_crc32c import extend
from numpy.typing import NDArray

from faultset_ray.errors import InputError, ShardSizeError
from faultset_ray.shards.format import Header

_CONTEXT = struct.Struct("<16sIQ")
_POSITION = struct.Struct("<I")


def granule_digests(header: Header, stripe: int, block: NDArray[np.uint8], first_granule: int = 0) -> NDArray[np.uint8]:
    """Digests of a block, or of a part of it that starts at a granule.

    Parameters
    ----------
    header
        Of the shard that the block belongs to; its index counts.
    stripe
        Which block of the shard.
    block
        uint8[L], contiguous; only read, never kept.
    first_granule
        Position in the block of the granule that `block` starts with.

    Returns
    -------
    NDArray
        uint8[granules, 4], owned by the caller: each row a CRC32C, little-endian.
    """
    return _crcs(header, stripe, block, first_granule).view(np.uint8).reshape(-1, 4)


def verify_block(
    header: Header, stripe: int, block: NDArray[np.uint8], digests: NDArray[np.uint8], first_granule: int = 0
) -> tuple[int, ...]:
    """Find the granules of a block that are not what was encoded.

    Parameters
    ----------
    header, stripe, block, first_granule
        As for :func:`granule_digests`. `header` must be of the shard that was *asked for*, so that a block
        which was moved or replaced fails.
    digests
        uint8[granules, 4], as they were stored.

    Returns
    -------
    tuple of int
        Positions in the whole block of the corrupt granules, ascending; empty if all is well.

    Raises
    ------
    ShardSizeError
        If there is not one digest for each granule.
    """
    found = _crcs(header, stripe, block, first_granule)
    if digests.shape != (len(found), 4) or digests.dtype != np.uint8:
        raise ShardSizeError("digests", digests.size, f"uint8[{len(found)}, 4], one for each granule")
    stored = np.ascontiguousarray(digests).view("<u4").reshape(-1)
    if np.array_equal(found, stored):
        return ()
    return tuple((np.flatnonzero(found != stored) + first_granule).tolist())


def _crcs(header: Header, stripe: int, block: NDArray[np.uint8], first_granule: int) -> NDArray[np.uint32]:
    if block.dtype != np.uint8 or block.ndim != 1 or not block.flags.c_contiguous:
        raise InputError(f"block is {block.dtype}{list(block.shape)}; expected contiguous uint8[L]")
    if isinstance(stripe, bool) or not 0 <= stripe < 1 << 64:
        raise InputError(f"stripe is {stripe!r}; expected a number from 0")
    granule = header.granule_bytes
    seed = extend(0, _CONTEXT.pack(header.write_id, header.index, stripe))
    position = _POSITION.pack
    crcs = [
        extend(extend(seed, position(first_granule + at)), block[start : start + granule])
        for at, start in enumerate(range(0, len(block), granule))
    ]
    return np.array(crcs, "<u4")
