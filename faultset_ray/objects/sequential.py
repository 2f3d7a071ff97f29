"""Shards that come as streams, all at the same time, and can't be sought in.

Where a shard ends shows only at its end, in its trailer. So each is looked at through a window of a full block
and a trailer: as long as that much comes, the block may be a full one. Once a sealed shard has ended within its
window, the object is tried with that end, and if its digest is right, it was the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Backend
from faultset_ray.errors import CodingError, CorruptShard, DigestMismatch, NotEnoughShards
from faultset_ray.objects.byteio import ByteReader
from faultset_ray.objects.coding import data_of
from faultset_ray.objects.gather import Decoder, gather_rows
from faultset_ray.objects.groups import ENDINGS_MAX, Group
from faultset_ray.objects.output import Output, Take
from faultset_ray.objects.store_values import Block
from faultset_ray.objects.stripes import data_rows, trimmed
from faultset_ray.objects.views import merged
from faultset_ray.shards.format import Header, Trailer, unpack_sealed
from faultset_ray.shards.layout import HEADER_BYTES, TRAILER_BYTES

Bytes = NDArray[np.uint8]
_NOT_YET = Trailer(0, 0, bytes(32), b"")
"""Stands for the trailer of a shard of which only the header has come."""
_TRUSTED_BYTES = 1 << 18
_SPOOL_BYTES = 1 << 20


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
        """What it is sealed with, once it has ended within its window."""
        self._reader = reader
        self._packed = b""
        self._buffers: list[Bytes] = []
        self._window = np.empty(0, np.uint8)
        self._ended = False
        self._passed = HEADER_BYTES
        """Bytes before the window."""

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

    async def spool(self, file: BinaryIO) -> None:
        """Write the header and all that comes after it to a file; what can't be read is not there."""
        file.write(self._packed)
        buffer = np.empty(_SPOOL_BYTES, np.uint8)
        try:
            while count := await self._reader.fill(buffer):
                file.write(buffer[:count].data)
        except OSError as error:
            self.reason = f"can't be read: {error.strerror or error}"

    async def look(self) -> None:
        """Fill the window: with a full block, a trailer and what tells that more comes, or with all that is left."""
        assert self.header is not None
        if self._ended:
            return
        layout = self.header.layout
        full = layout.record_bytes(layout.block_bytes) + TRAILER_BYTES + 1
        try:
            self._window = await self._filled(full)
        except OSError as error:
            self._ended, self._window = True, self._window[:0]
            self.reason = f"can't be read: {error.strerror or error}"
            return
        if self._window.size < full:
            self._ended = True
            self._find_end()

    def _find_end(self) -> None:
        tail = self._window[-TRAILER_BYTES:].tobytes()
        try:
            _, trailer = unpack_sealed(self._packed, tail, self._passed + self._window.size, self.name)
        except CodingError as error:
            self.reason = str(error).removeprefix(f"{self.name}: ")
        else:
            self.ending = replace(trailer, table_digest=b"")

    def block(self, length: int) -> Block:
        """The block of so many bytes that the window begins with, and its digests; not to be changed.

        They stay as they are until the window has gone on twice.

        Raises
        ------
        CorruptShard
            If there isn't as much.
        """
        assert self.header is not None
        nbytes = self.header.layout.record_bytes(length)
        if self._window.size < nbytes:
            raise CorruptShard(self.name, self.reason or "ends before the others", self._passed + self._window.size)
        return self._window[:length], self._window[length:nbytes].reshape(-1, self.header.layout.digest_bytes)

    def go_on(self) -> None:
        """Move the window past a full block."""
        assert self.header is not None
        layout = self.header.layout
        left = self._window[layout.record_bytes(layout.block_bytes) :]
        self._passed += self._window.size - left.size
        self._window = left

    async def _filled(self, nbytes: int) -> Bytes:
        """What is left in the window and what comes next, so many bytes in all; fewer only at the end."""
        ahead = self._window
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


async def open_all(pile: Sequence[SequentialShard]) -> None:
    """Read all headers, at the same time."""
    await asyncio.gather(*(shard.open() for shard in pile))


async def decode_sequential(backend: Backend, pile: Sequence[SequentialShard], group: Group, take: Take) -> Group:
    """Decode an object whose shards come; its last piece is handed out only if the whole is right.

    Parameters
    ----------
    pile
        Open.
    group
        The write, of which only the headers have come.

    Returns
    -------
    group
        With its trailer.

    Raises
    ------
    NotEnoughShards, DigestMismatch, CorruptShard, UnsupportedFormat
    """
    return await _Decoding(backend, pile, group, await backend.compute(group.decoder), take).run()


class _Decoding:
    def __init__(
        self, backend: Backend, pile: Sequence[SequentialShard], group: Group, code: Decoder, take: Take
    ) -> None:
        self._backend = backend
        self._group = group
        self._header = group.header
        self._code = code
        self._missing = group.missing(code.n)
        self._shards = {index: [pile[position] for position in at] for index, at in group.members.items()}
        self._output = Output(backend, take, group.label)
        self._held: list[Bytes] = []
        self._start = 0
        """Where in the object the held pieces begin."""

    async def run(self) -> Group:
        layout = self._header.layout
        everyone = [shard for copies in self._shards.values() for shard in copies]
        tried: set[Trailer] = set()
        failed: list[CodingError] = []
        stripe = 0
        while True:
            await asyncio.gather(*(shard.look() for shard in everyone))
            endings = self._endings(tried)
            if endings:
                failed = []
            for ending in endings:
                try:
                    await self._finish(stripe, ending)
                except (NotEnoughShards, DigestMismatch) as error:
                    failed.append(error)
                else:
                    return replace(self._group, trailer=ending)
            try:
                pieces = await self._pieces(stripe, layout.block_bytes, layout.stripe_bytes)
            except NotEnoughShards as error:
                raise (failed or [error])[0] from None
            if stripe:
                await self._output.take(self._start, self._held)
                self._start += layout.stripe_bytes
            self._held, stripe = pieces, stripe + 1
            for shard in everyone:
                shard.go_on()

    def _endings(self, tried: set[Trailer]) -> list[Trailer]:
        """Where the object ends, by what was found since the last time: what most shards say first."""
        found = Counter(shard.ending for copies in self._shards.values() for shard in copies)
        endings = [ending for ending, _ in found.most_common() if ending is not None and ending not in tried]
        tried.update(endings)
        return endings[:ENDINGS_MAX]

    async def _finish(self, stripe: int, ending: Trailer) -> None:
        """Hand out what is held and the last stripe, if this one is it; or nothing, if they are not the object."""
        pieces = self._held
        if ending.stripes > stripe:
            length = self._header.layout.block_len(stripe, ending.size)
            start, stop = self._header.layout.span(stripe, ending.size)
            pieces = [*pieces, *await self._pieces(stripe, length, stop - start)]
        await self._output.take(self._start, trimmed(pieces, ending.size - self._start), ending.object_digest)

    async def _pieces(self, stripe: int, length: int, nbytes: int) -> list[Bytes]:
        """The data of a stripe, of so many bytes, of blocks of a length."""
        header = self._header

        async def fetch(index: int) -> Block:
            copies = self._shards[index]
            if len(copies) == 1:
                return copies[0].block(length)
            readings = [partial(shard.block, length) for shard in copies]
            return await self._backend.compute(merged, replace(header, index=index), stripe, readings)

        wanted = data_rows(nbytes, length)
        rows = await gather_rows(self._code, header, stripe, length, fetch, dict(self._missing), wanted)
        return await data_of(self._backend, header, rows, nbytes)
