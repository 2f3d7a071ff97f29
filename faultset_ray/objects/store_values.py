"""What goes to a store and comes back from it: plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import FaultsetError
from faultset_ray.limits import SILENT_MAX

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
    retired: int = 0
    """Version of the list of retired stores that it remembers; 0 for none."""
    least: int = SILENT_MAX
    """The fewest losses that any write was to tolerate, as far as it was told (:class:`Fence`)."""
    generation: int = 0
    """The highest of its records; 0 where it has none."""


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
class Blocks:
    """Blocks that were read together, one behind the other: a thousand small arrays take long to be sent."""

    data: NDArray[np.uint8]
    """All blocks."""
    digests: NDArray[np.uint8]
    """uint8[granules, 4], of all blocks."""
    lengths: list[tuple[int, int]]
    """Bytes and granules of each; zeros where it could not be read."""
    errors: Mapping[int, FaultsetError]
    """By position, why it could not."""

    @classmethod
    def of(cls, read: Sequence[Block | FaultsetError]) -> Self:
        """Put together what was read."""
        found = [each for each in read if not isinstance(each, FaultsetError)]
        errors = {at: each for at, each in enumerate(read) if isinstance(each, FaultsetError)}
        lengths = [(0, 0) if isinstance(each, FaultsetError) else (each[0].size, len(each[1])) for each in read]
        if len(found) == 1:
            return cls(*found[0], lengths, errors)
        data = np.concatenate([block for block, _ in found]) if found else np.empty(0, np.uint8)
        digests = np.concatenate([of_block for _, of_block in found]) if found else np.empty((0, 4), np.uint8)
        return cls(data, digests, lengths, errors)

    def split(self) -> list[Block | FaultsetError]:
        """What was read, each by itself; views."""
        parts: list[Block | FaultsetError] = []
        start = first = 0
        for at, (nbytes, granules) in enumerate(self.lengths):
            if at in self.errors:
                parts.append(self.errors[at])
            else:
                parts.append((self.data[start : start + nbytes], self.digests[first : first + granules]))
            start, first = start + nbytes, first + granules
        return parts


@dataclass(frozen=True, slots=True)
class Held:
    """What a store has of one write."""

    indices: tuple[int, ...]
    """Sealed shards, ascending."""
    recorded: bool
    """Whether a record of it is there."""


def cursor_after(key: Key) -> bytes:
    """Where a scan goes on after a shard."""
    return key[0] + key[1].to_bytes(2, "big")


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
