"""Shards that come as streams, all at the same time, and can't be sought in.

How long a shard is stands in its trailer, at its end. So each is read a full block and a trailer ahead:
while that much comes, the block is a full one; what is shorter is the last block, if there is one, and the trailer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Backend
from faultset_ray.errors import CodingError, CorruptShard, NotEnoughShards
from faultset_ray.objects.byteio import ByteReader
from faultset_ray.objects.coding import data_of
from faultset_ray.objects.gather import Block, gather_rows
from faultset_ray.objects.groups import Group, choose
from faultset_ray.objects.output import Output, Take
from faultset_ray.objects.stripes import trimmed
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.format import Header, Trailer
from faultset_ray.shards.layout import HEADER_BYTES, TRAILER_BYTES

Bytes = NDArray[np.uint8]
_NOT_YET = Trailer(0, 0, bytes(32), b"")
"""Stands for the trailer of a shard of which only the header has come."""
_TRUSTED_BYTES = 1 << 18


class SequentialShard:
    """One shard that comes as a stream.

    Parameters
    ----------
    name
        How errors name it.
    """

    def __init__(self, name: str, reader: ByteReader) -> None:
        self.name = name
        self.header: Header | None = None
        self.trailer: Trailer | None = None
        self.reason = ""
        self.ending: Trailer | None = None
        """What it turned out to be sealed with, once it has ended."""
        self._reader = reader
        self._buffers: list[Bytes] = []
        self._ahead = np.empty(0, np.uint8)
        self._packed = b""
        self._stripes = 0

    @property
    def index(self) -> int | None:
        """Which shard it is, if its header tells."""
        return None if self.header is None else self.header.index

    async def open(self) -> None:
        """Read the header; damage is told in ``reason``."""
        try:
            self._packed = (await self._reader.read(HEADER_BYTES)).tobytes()
        except OSError as error:
            self.reason = f"can't be read: {error.strerror or error}"
            return
        try:
            self.header = Header.unpack(self._packed, self.name)
            self.trailer = _NOT_YET
        except CodingError as error:
            self.reason = str(error).removeprefix(f"{self.name}: ")

    async def next(self) -> Block | None:
        """The next stripe's block and its digests; None where there is none, at the end.

        They stay as they are until the next but one is asked for.

        Raises
        ------
        CorruptShard
            It ends, but not with a trailer that fits, or can't be read on.
        """
        try:
            return await self._next()
        except OSError as error:
            raise CorruptShard(self.name, f"can't be read: {error.strerror or error}") from error

    async def _next(self) -> Block | None:
        assert self.header is not None
        layout = self.header.layout
        record = layout.record_bytes(layout.block_bytes)
        found = await self._ahead_to(record + TRAILER_BYTES)
        if found.size == record + TRAILER_BYTES:
            self._ahead = found[record:]
            self._stripes += 1
            return self._split(found[:record], layout.block_bytes)
        self._ahead = found[:0]
        tail = found[-TRAILER_BYTES:].tobytes()
        trailer = Trailer.unpack(tail, self._packed, self.name)
        rest = found[: found.size - len(tail)]
        stripes = self._stripes + (rest.size > 0)
        if trailer.stripes != stripes or layout.stripes(trailer.size) != stripes:
            raise CorruptShard(self.name, f"{stripes} stripes came, {trailer.stripes} were sealed")
        self.ending = replace(trailer, table_digest=b"")
        if not rest.size:
            return None
        length = layout.block_len(self._stripes, trailer.size)
        if rest.size != layout.record_bytes(length):
            raise CorruptShard(self.name, f"the last stripe has {rest.size} bytes, not {layout.record_bytes(length)}")
        return self._split(rest, length)

    async def _ahead_to(self, nbytes: int) -> Bytes:
        """What was read ahead and what comes next, so many bytes in all; fewer only at the end."""
        ahead = self._ahead
        if len(self._buffers) < 2:  # a header alone doesn't get much memory: first as much must come
            start = np.empty(min(nbytes, _TRUSTED_BYTES + ahead.size), np.uint8)
            start[: ahead.size] = ahead
            ahead = start[: ahead.size + await self._reader.fill(start[ahead.size :])]
            if ahead.size < start.size:
                return ahead
            self._buffers.append(np.empty(nbytes, np.uint8))
        else:
            self._buffers.reverse()  # the other one, since what was returned last is still in use
        buffer = self._buffers[-1]
        buffer[: ahead.size] = ahead
        return buffer[: ahead.size + await self._reader.fill(buffer[ahead.size :])]

    def _split(self, record: Bytes, length: int) -> Block:
        assert self.header is not None
        return record[:length], record[length:].reshape(-1, self.header.layout.digest_bytes)


async def decode_sequential(
    backend: Backend, pile: Sequence[SequentialShard], take: Take, what: str
) -> tuple[Group, dict[int, str]]:
    """Decode the one object whose shards come; its last piece is handed out only if the whole is right.

    Returns
    -------
    group
        The write, with its trailer.
    unusable
        Shards that could not be used, with the reason.

    Raises
    ------
    NotEnoughShards, AmbiguousObjectError, DigestMismatch, CorruptShard, UnsupportedFormat
    """
    await asyncio.gather(*(shard.open() for shard in pile))
    group = await backend.compute(choose, pile, what)
    code = await backend.compute(group.code)
    header, layout = group.header, group.header.layout
    live = {index: [pile[position] for position in at] for index, at in group.members.items()}
    lost = group.missing()
    unusable = dict(lost)
    output = Output(backend, take, what)
    held: list[Bytes] = []
    stripe = start = 0
    while True:
        blocks = await _advance(header, stripe, live, lost)
        ending = _ending(live, lost)
        if ending is not None and ending.stripes == stripe:
            break
        block_len = layout.block_bytes if ending is None else layout.block_len(stripe, ending.size)
        found = dict(lost)

        async def fetch(index: int, blocks: dict[int, Block] = blocks) -> Block:
            return blocks[index]

        rows = await gather_rows(code, header, stripe, block_len, fetch, found)
        unusable.update(found)
        pieces = await data_of(backend, header, rows, header.k * block_len)
        if held:
            await output.take(start, held)
            start += layout.stripe_bytes
        held, stripe = pieces, stripe + 1
        if ending is not None:
            break
    if len(live) < header.k:  # of the others it isn't known that they were written to their end
        raise NotEnoughShards(len(live), header.k, lost, group.label)
    held = trimmed(held, ending.size - start)
    await output.take(start, held, ending.object_digest)
    return replace(group, trailer=ending), unusable | lost


async def _advance(
    header: Header, stripe: int, live: dict[int, list[SequentialShard]], lost: dict[int, str]
) -> dict[int, Block]:
    """Every shard's next block; of copies a sound one. Those that can't go on are dropped."""
    shards = [(index, shard) for index, copies in live.items() for shard in copies]
    answers = await asyncio.gather(*(shard.next() for _, shard in shards), return_exceptions=True)
    blocks: dict[int, Block] = {}
    for (index, shard), answer in zip(shards, answers, strict=True):
        if isinstance(answer, CodingError):
            _drop(live, lost, index, shard, f"corrupt: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        elif answer is not None and (
            index not in blocks
            or (len(live[index]) > 1 and verify_block(replace(header, index=index), stripe, *blocks[index]))
        ):
            blocks[index] = answer
    return blocks


def _ending(live: dict[int, list[SequentialShard]], lost: dict[int, str]) -> Trailer | None:
    """How the object ends, if it does here: as most shards have it. The others are dropped."""
    endings = Counter(shard.ending for copies in live.values() for shard in copies)
    if not endings:
        return None
    ending = endings.most_common(1)[0][0]
    for index, copies in list(live.items()):
        for shard in list(copies):
            if shard.ending != ending:
                _drop(live, lost, index, shard, "corrupt: it does not end where most do")
    return ending


def _drop(
    live: dict[int, list[SequentialShard]], lost: dict[int, str], index: int, shard: SequentialShard, why: str
) -> None:
    live[index].remove(shard)
    if not live[index]:
        del live[index]
        lost[index] = why
