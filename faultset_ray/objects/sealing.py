"""The shards of one write as they grow: what is to be written to each, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.shards.format import Header, Trailer

Bytes = NDArray[np.uint8]


class Sealing:
    """Makes the bytes of all n shard files, from front to back, of blocks that were encoded elsewhere.

    Each file is its head, then what :meth:`stripe` gives for stripe 0, 1, …, then its trailer.

    Parameters
    ----------
    header
        Of the write; its index is 0.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.heads = [replace(header, index=index).pack() for index in range(header.n)]
        """The 256 bytes that each file starts with."""
        self._tables = [hashlib.sha256(head) for head in self.heads]

    def stripe(self, blocks: Sequence[Bytes], digests: Sequence[Bytes]) -> list[tuple[Bytes, Bytes]]:
        """What each file goes on with: views of the blocks and digests that are given."""
        for table, of_block in zip(self._tables, digests, strict=True):
            table.update(of_block.data)
        return [(block, of_block.reshape(-1)) for block, of_block in zip(blocks, digests, strict=True)]

    def trailers(self, size: int, stripes: int, object_digest: bytes) -> list[bytes]:
        """What each file ends with."""
        return [
            Trailer(size, stripes, object_digest, table.digest()).pack(head)
            for head, table in zip(self.heads, self._tables, strict=True)
        ]
