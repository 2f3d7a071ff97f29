"""Collecting enough good rows of one stripe, from wherever the shards are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.codes.base import Code
from faultset_ray.errors import BackendClosed, CodingError, FaultsetError, NotEnoughShards
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.format import Header

Bytes = NDArray[np.uint8]
Fetch = Callable[[int], Awaitable[tuple[Bytes, Bytes]]]
"""Reads this stripe's block of one shard, with its digests."""


async def gather_rows(
    code: Code, header: Header, stripe: int, block_len: int, fetch: Fetch, unusable: dict[int, str]
) -> dict[int, Bytes]:
    """Read as little as suffices to decode one stripe; damaged and unreachable shards are erasures.

    Data shards are read, since what is whole needs no decoding, and at the same time what the code plans
    to read in place of those that are unusable; again, as more turn out to be, until there are enough.

    Parameters
    ----------
    header : Header
        Of the write.
    stripe, block_len
        Which stripe, and the length of its blocks.
    fetch
        May raise any ``FaultsetError`` but ``BackendClosed``: the shard then counts as unusable for this stripe.
    unusable
        Shards not to ask, with the reason. Those found unusable are added.

    Returns
    -------
    dict of index to uint8[block_len]
        Verified rows that suffice to decode.

    Raises
    ------
    NotEnoughShards
        With the reason for every shard that can't be used.
    """
    rows: dict[int, Bytes] = {}
    while True:
        have = [index for index in range(code.n) if index not in unusable]
        try:
            plan = code.plan([index for index in range(code.k) if index in unusable], have)
            needed = {*plan.reads, *(index for index in have if index < code.k)}
        except NotEnoughShards:
            if rows.keys() >= set(have):
                raise NotEnoughShards(len(have), code.k, unusable, f"write {header.write_id.hex()}") from None
            needed = set(have)  # all that is left, so that the error tells how each shard is
        if needed <= rows.keys():
            return {index: rows[index] for index in sorted(needed)}
        rows |= await _fetch_good(header, stripe, block_len, fetch, sorted(needed - rows.keys()), unusable)


async def _fetch_good(
    header: Header, stripe: int, block_len: int, fetch: Fetch, indices: list[int], unusable: dict[int, str]
) -> dict[int, Bytes]:
    """Ask for all at once; verify what comes; note what does not."""
    answers = await asyncio.gather(*(fetch(index) for index in indices), return_exceptions=True)
    good: dict[int, Bytes] = {}
    for index, answer in zip(indices, answers, strict=True):
        if isinstance(answer, FaultsetError) and not isinstance(answer, BackendClosed):
            unusable[index] = reason(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            block, digests = answer
            if block.size != block_len:
                unusable[index] = f"corrupt: a block of {block.size} bytes in place of {block_len}"
            elif corrupt := verify_block(replace(header, index=index), stripe, block, digests):
                unusable[index] = f"corrupt: stripe {stripe}, granule {corrupt[0]}"
            else:
                good[index] = block
    return good


_WORDS = {
    "call_timeout": "late",
    "place_unreachable": "unreachable",
    "shard_not_found": "missing",
    "store_failure": "disk failure",
}


def reason(error: FaultsetError) -> str:
    """In a few words, why a shard can't be used."""
    return _WORDS.get(error.code) or (f"corrupt: {error}" if isinstance(error, CodingError) else str(error))
