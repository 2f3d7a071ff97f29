"""What goes to a store and comes back from it: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WRITE_ID_BYTES = 16
Key = tuple[bytes, int]
"""Write id and index: what a shard is found by."""
Read = tuple[bytes, int, int, int, int | None]
"""What to read: write id, index, stripe, first granule, granules (None for all that follow)."""
Block = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A block, or whole granules of one, and its digests."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Which store this is, and how it fares."""

    uuid: str
    place: str
    region: str
    durability: str
    """``"fsync"``: what is sealed outlives the machine's power. ``"none"``: it is gone with the process."""
    path: str
    free_bytes: int
    """Of its disk."""
    capacity_bytes: int
    """Of its disk, whoever uses it."""
    catalog: str = ""
    """Id of the catalog that it belongs to, in hex; empty until a fence is shown to it."""
    epoch: int = 0
    """The highest that it was shown."""
    used_bytes: int = 0
    """Of its sealed shards."""
    shards: int = 0
    """How many those are."""


@dataclass(frozen=True, slots=True)
class SealReceipt:
    """A store's word that it holds a sealed shard."""

    store: str
    place: str
    region: str
    write_id: bytes
    index: int
    file_bytes: int
    durability: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A shard of one stripe or none, all of it.

    Parameters
    ----------
    header
        Packed, 256 bytes.
    block, digests
        uint8[L] and uint8[granules, 4], contiguous; both None for an empty object's.
    size, sha256
        Of the object.
    """

    header: bytes
    block: NDArray[np.uint8] | None
    digests: NDArray[np.uint8] | None
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """What a store has of one write."""

    indices: tuple[int, ...]
    """Sealed shards, ascending."""
    recorded: bool
    """Whether a record of it is there."""


@dataclass(frozen=True, slots=True)
class ScanPage:
    """Shards of a store in columns of one length, by write id and index."""

    write_id: NDArray[np.uint8]
    """uint8[m, 16]"""
    index: NDArray[np.uint16]
    generation: NDArray[np.uint64]
    object_id: NDArray[np.uint8]
    """uint8[m, 32]; zeros where the header can't be read, or names no object."""
    size: NDArray[np.uint64]
    """Of the object; 0 where the trailer can't be read."""
    file_bytes: NDArray[np.uint64]
    fault: list[str]
    """Why a shard is unusable; empty where both its ends are sound."""
    next: bytes
    """What the next page is asked for with; empty at the end."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a shard's bytes are like, from one stripe to another."""

    corrupt: Mapping[int, tuple[int, ...]]
    """Granules that are not what was encoded, by stripe."""
    next_stripe: int
    """Where to go on; the number of stripes when all were looked at."""
    stripes: int
    """Of the whole shard; 0 where it can't be told."""
    bytes_read: int
    fault: str = ""
    """What is wrong with the shard as a whole: an end, its length, its table of digests, or the disk below it."""

    @property
    def done(self) -> bool:
        """Whether all was looked at."""
        return self.next_stripe >= self.stripes
