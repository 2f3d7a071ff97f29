"""Where the bytes of an object lie in its shards: arithmetic only.

An object is cut into stripes of ``k * block_bytes`` bytes. A stripe's data is laid row by row: row i is
bytes ``[i * L, (i + 1) * L)`` of the stripe, zero padded, L being the stripe's block length. L is
``block_bytes`` for every stripe but the last, whose L is just long enough. An empty object has no stripes.

A shard file is a header, then for each stripe the block and the digests of its granules, then a trailer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.columns import is_int
from faultset_ray.errors import InputError, LimitExceeded, ShardSizeError
from faultset_ray.errors.base import shown
from faultset_ray.limits import (
    GRANULE_BYTES,
    OBJECT_BYTES_MAX,
    STRIPE_BYTES_DEFAULT,
    STRIPE_BYTES_MAX,
    STRIPE_SHARDS_BYTES_DEFAULT,
)

HEADER_BYTES: Final = 256
TRAILER_BYTES: Final = 160
BLOCK_ALIGN: Final = 64
"""Block lengths are multiples of it: a cache line, and the widest vector register."""
_PAGE = 4096


def _ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)


def _aligned(value: int) -> int:
    return _ceil_div(value, BLOCK_ALIGN) * BLOCK_ALIGN


@dataclass(frozen=True, slots=True)
class StripeLayout:
    """How objects of one write are cut; all lengths and offsets are in bytes.

    Parameters
    ----------
    k
        Data blocks a stripe.
    block_bytes
        Length of a full block, a multiple of 64.
    granule_bytes
        The part of a block that one digest covers; the last granule of a block may be shorter.
    digest_bytes
        Length of one digest.
    """

    k: int
    block_bytes: int
    granule_bytes: int = GRANULE_BYTES
    digest_bytes: int = 4

    @property
    def stripe_bytes(self) -> int:
        """Data bytes of a full stripe."""
        return self.k * self.block_bytes

    def stripes(self, size: int) -> int:
        """Stripes of an object of `size` bytes."""
        return _ceil_div(size, self.stripe_bytes)

    def span(self, stripe: int, size: int) -> tuple[int, int]:
        """``(start, stop)`` of a stripe's data in an object of `size` bytes."""
        start = stripe * self.stripe_bytes
        return start, min(start + self.stripe_bytes, size)

    def block_len(self, stripe: int, size: int) -> int:
        """Length of each of a stripe's blocks: 1/k of its data, rounded up to 64."""
        start, stop = self.span(stripe, size)
        return _aligned(_ceil_div(stop - start, self.k))

    def granules(self, block_len: int) -> int:
        """Granules, and so digests, of a block."""
        return _ceil_div(block_len, self.granule_bytes)

    def record_bytes(self, block_len: int) -> int:
        """A block together with its digests."""
        return block_len + self.granules(block_len) * self.digest_bytes

    def offset(self, stripe: int) -> int:
        """Where a stripe's block starts in the shard file; its digests follow the block."""
        return HEADER_BYTES + stripe * self.record_bytes(self.block_bytes)

    def trailer_offset(self, size: int) -> int:
        """Where the trailer starts in a shard of an object of `size` bytes."""
        stripes = self.stripes(size)
        if stripes == 0:
            return HEADER_BYTES
        return self.offset(stripes - 1) + self.record_bytes(self.block_len(stripes - 1, size))

    def file_bytes(self, size: int) -> int:
        """Length of each sealed shard file of an object of `size` bytes."""
        return self.trailer_offset(size) + TRAILER_BYTES


def layout_for(size: int | None, k: int, n: int, stripe_bytes: int | None = None) -> StripeLayout:
    """Choose the layout of a write.

    Stripes come out evenly filled, so that coding tasks take equal time and no sliver is left at the end.

    Parameters
    ----------
    size
        Object bytes; None for a pipe whose end isn't known.
    k
        Data blocks a stripe.
    n
        Blocks a stripe, parity among them.
    stripe_bytes
        Data bytes that a stripe is to hold at most, give or take 64 bytes a block. By default 16 MiB, less where
        more than half of all blocks are parity: so that a stripe's blocks hold 32 MiB at most, whatever the code.

    Raises
    ------
    InputError
        If a number is not an integer of its range.
    LimitExceeded
        If the object or the stripe is larger than the format bears.
    """
    if stripe_bytes is None:
        stripe_bytes = min(STRIPE_BYTES_DEFAULT, max(1, STRIPE_SHARDS_BYTES_DEFAULT * k // n))
    for name, value, least in (
        ("size", 0 if size is None else size, 0),
        ("k", k, 1),
        ("stripe_bytes", stripe_bytes, 1),
    ):
        if not is_int(value) or value < least:
            raise InputError(f"{name} is {shown(value)}; expected an integer of at least {least}")
    if size is not None and size > OBJECT_BYTES_MAX:
        raise LimitExceeded("object bytes", size, OBJECT_BYTES_MAX)
    if stripe_bytes > STRIPE_BYTES_MAX:
        raise LimitExceeded("stripe bytes", stripe_bytes, STRIPE_BYTES_MAX)
    block_max = STRIPE_BYTES_MAX // k // BLOCK_ALIGN * BLOCK_ALIGN
    if block_max == 0:
        raise LimitExceeded("k", k, STRIPE_BYTES_MAX // BLOCK_ALIGN)
    filled = stripe_bytes if size is None else _ceil_div(size, max(1, _ceil_div(size, stripe_bytes)))
    block = max(BLOCK_ALIGN, _aligned(_ceil_div(filled, k)))
    if block % _PAGE == 0 and filled != size:
        block += BLOCK_ALIGN  # rows a multiple of a page apart compete for the same cache sets
    return StripeLayout(k, min(block, block_max))


def stripe_rows(data: NDArray[np.uint8], k: int, block_len: int) -> NDArray[np.uint8]:
    """Lay a stripe's data out as its k rows.

    Parameters
    ----------
    data
        uint8[≤ k * block_len], contiguous.

    Returns
    -------
    NDArray
        uint8[k, block_len]: a view of `data` where it fills the rows, else a zero-padded copy.
    """
    if data.size > k * block_len:
        raise ShardSizeError("stripe data", data.size, f"at most {k} rows of {block_len} bytes")
    if data.size < k * block_len:
        rows = np.zeros(k * block_len, np.uint8)
        rows[: data.size] = data
        data = rows
    return data.reshape(k, block_len)
