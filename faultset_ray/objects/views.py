"""Shards that are read in place: of memory, of a file that the caller has open, or several copies of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import CodingError, CorruptShard
from faultset_ray.objects.groups import FORGED_END, Group
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.format import Header, Trailer, unpack_sealed
from faultset_ray.shards.layout import HEADER_BYTES, TRAILER_BYTES

Bytes = NDArray[np.uint8]


class Readable(Protocol):
    """A sealed shard of which blocks can be read; :class:`~faultset_ray.shards.reader.ShardReader` is one."""

    def read(self, stripe: int, first_granule: int = 0, granules: int | None = None) -> tuple[Bytes, Bytes]:
        """One stripe's block, or whole granules of it, and the digests. Nothing is verified here."""


@dataclass(frozen=True, slots=True)
class View:
    """What a shard in memory or in an open file turned out to be, and its blocks.

    Parameters
    ----------
    name
        How errors name it.
    read_at
        ``read_at(offset, nbytes)``: uint8, fewer only where the shard ends.
    """

    name: str
    read_at: Callable[[int, int], Bytes]
    header: Header | None
    trailer: Trailer | None
    reason: str = ""

    @property
    def index(self) -> int | None:
        """Which shard it is, if its header tells."""
        return None if self.header is None else self.header.index

    @property
    def named(self) -> None:
        """It has no name."""

    @property
    def where(self) -> str:
        """Its position is all there is to tell."""
        return ""

    def read(self, stripe: int, first_granule: int = 0, granules: int | None = None) -> tuple[Bytes, Bytes]:
        """As :meth:`ShardReader.read <faultset_ray.shards.reader.ShardReader.read>`; of memory it is a view."""
        assert self.header is not None
        assert self.trailer is not None
        layout = self.header.layout
        length = layout.block_len(stripe, self.trailer.size)
        start = first_granule * layout.granule_bytes
        stop = length if granules is None else min(length, start + granules * layout.granule_bytes)
        count, width = layout.granules(stop - start), layout.digest_bytes
        at = layout.offset(stripe)
        if stop - start == length:  # side by side
            both = self._exactly(at, length + count * width)
            return both[:length], both[length:].reshape(count, width)
        digests = self._exactly(at + length + first_granule * width, count * width)
        return self._exactly(at + start, stop - start), digests.reshape(count, width)

    def _exactly(self, offset: int, nbytes: int) -> Bytes:
        found = self.read_at(offset, nbytes)
        if found.size != nbytes:
            raise CorruptShard(self.name, self.reason or "became shorter while it was read", offset + found.size)
        return found


def view(name: str, read_at: Callable[[int, int], Bytes], nbytes: int) -> View:
    """Look at both ends of a shard of so many bytes; damage is told in the result."""
    head = read_at(0, min(HEADER_BYTES, nbytes)).tobytes()
    tail = read_at(max(0, nbytes - TRAILER_BYTES), min(TRAILER_BYTES, nbytes)).tobytes()
    try:
        header, trailer = unpack_sealed(head, tail, nbytes, name)
    except CodingError as error:
        reason = str(error).removeprefix(f"{name}: ")
        return View(name, read_at, _header_alone(head), None, reason)
    return View(name, read_at, header, trailer)


def view_memory(name: str, memory: Bytes) -> View:
    """A shard in memory."""
    return view(name, lambda offset, nbytes: memory[offset : offset + nbytes], memory.size)


def view_file(name: str, file: BinaryIO) -> View:
    """A shard in an open, seekable file, which must not be used beside."""
    lock = threading.Lock()

    def read_at(offset: int, nbytes: int) -> Bytes:
        with lock:
            file.seek(offset)
            parts = []
            while nbytes and (part := file.read(nbytes)):
                parts.append(part)
                nbytes -= len(part)
        return np.frombuffer(b"".join(parts) if len(parts) != 1 else parts[0], np.uint8)

    with lock:
        size = file.seek(0, 2)
    return view(name, read_at, size)


def _header_alone(head: bytes) -> Header | None:
    try:
        return Header.unpack(head)
    except CodingError:
        return None


def shards_of(group: Group, open_shard: Callable[[int], Readable]) -> dict[int, Readable]:
    """The shards of a write by index; ``open_shard`` gives what is at a position of the pile."""
    return {
        index: _Copies(replace(group.header, index=index), shards) if len(shards) > 1 else shards[0]
        for index, at in group.members.items()
        for shards in [[open_shard(position) for position in at]]
    }


def views_of(group: Group, pile: Sequence[View]) -> dict[int, Readable]:
    """The shards of a write, by index, in a pile of views."""
    return shards_of(group, lambda position: _as_of(group, pile[position]))


def _as_of(group: Group, shard: View) -> View:
    if group.is_sealed_by(shard):
        return shard
    return replace(shard, trailer=group.trailer, reason=shard.reason or FORGED_END)


class _Copies:
    def __init__(self, header: Header, shards: Sequence[Readable]) -> None:
        self._header = header
        self._shards = shards

    def read(self, stripe: int, first_granule: int = 0, granules: int | None = None) -> tuple[Bytes, Bytes]:
        """See :class:`Readable`."""
        readings = ((lambda shard=shard: shard.read(stripe, first_granule, granules)) for shard in self._shards)
        return merged(self._header, stripe, readings, first_granule)


def merged(
    header: Header, stripe: int, readings: Iterable[Callable[[], tuple[Bytes, Bytes]]], first_granule: int = 0
) -> tuple[Bytes, Bytes]:
    """One block of copies of a shard, as few as suffice: each granule from the first in which it is sound.

    Raises
    ------
    CodingError, OSError
        If none of them can be read.
    """
    best: tuple[Bytes, Bytes] | None = None
    corrupt: tuple[int, ...] = ()
    failed: CodingError | OSError | None = None
    for read in readings:
        try:
            block, digests = read()
        except (CodingError, OSError) as error:
            failed = failed or error
            continue
        bad = verify_block(header, stripe, block, digests, first_granule)
        if not bad:
            return block, digests
        if best is None:
            best, corrupt = (block.copy(), digests.copy()), bad
            continue
        for granule in set(corrupt).difference(bad):
            at = granule - first_granule
            columns = slice(at * header.granule_bytes, (at + 1) * header.granule_bytes)
            best[0][columns], best[1][at] = block[columns], digests[at]
        corrupt = tuple(set(corrupt).intersection(bad))
    if best is None:
        assert failed is not None
        raise failed
    return best
