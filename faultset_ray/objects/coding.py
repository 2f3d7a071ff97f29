"""Whole objects, stripe by stripe, in bounded memory: what files, streams and commands are coded by.

A few stripes are under way at once; they start and end in order. Coding runs on the backend: on threads of
this process, or on the workers of a cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import At, Backend, Net
from faultset_ray.codes.base import Code
from faultset_ray.errors import CorruptShard, DigestMismatch, InputError
from faultset_ray.limits import CODING_BYTES_MAX, CODING_CPUS
from faultset_ray.objects.gather import gather_rows
from faultset_ray.objects.groups import Group
from faultset_ray.objects.pool import Turns, Window, run_again, threads_of
from faultset_ray.objects.stripes import decode_rows, encode_rows, trimmed
from faultset_ray.objects.views import Readable
from faultset_ray.shards.format import Header, Trailer
from faultset_ray.shards.layout import stripe_rows

Bytes = NDArray[np.uint8]
Put = Callable[[int, Sequence[Bytes], Sequence[Bytes]], Awaitable[None]]
"""Takes a stripe's number, its n blocks and their digests; several at once, in any order."""
Take = Callable[[int, list[Bytes]], Awaitable[None]]
"""Takes the next pieces of the object, and where they start; one call at a time, in order."""
Progress = Callable[[int], None]
"""Is told how many more bytes of the object are done."""

_CODING = At(cpus=CODING_CPUS)


class Reading(Protocol):
    """Where an object comes from."""

    async def read(self, nbytes: int) -> Bytes:
        """The next bytes: uint8[nbytes], fewer only at the end."""

    def sha256(self) -> bytes:
        """Of all that was read."""


def no_progress(_: int) -> None:
    """Tell nobody."""


async def encode_task(net: Net, rows: Bytes, header: Header, stripe: int) -> tuple[Bytes, list[Bytes]]:
    """Encode and digest one stripe; the task of the pool. As :func:`encode_rows`."""
    return await net.compute(encode_rows, rows, header, stripe, threads_of(net))


async def decode_task(net: Net, spec: str, indices: tuple[int, ...], nbytes: int, *rows: Bytes) -> Bytes:
    """Decode one stripe from verified rows; the task of the pool. As :func:`decode_rows`."""
    return await net.compute(decode_rows, spec, dict(zip(indices, rows, strict=True)), nbytes, threads_of(net))


async def encode_object(
    backend: Backend, header: Header, source: Reading, put: Put, progress: Progress = no_progress
) -> tuple[int, int]:
    """Encode all that a source has.

    Returns
    -------
    size, stripes
        Of the object.
    """
    layout = header.layout
    window = Window(header.n * header.block_bytes, CODING_BYTES_MAX)
    size = stripes = 0

    async def one(data: Bytes, stripe: int) -> None:
        rows = stripe_rows(data, header.k, layout.block_len(0, data.size))
        shared = backend.share(rows)
        parity, digests = await run_again(backend, encode_task, _CODING, shared, header, stripe)
        await put(stripe, (*rows, *parity), digests)
        progress(data.size)

    async with window:
        ended = False
        while not ended:
            await window.room()
            data = await source.read(layout.stripe_bytes)
            ended = data.size < layout.stripe_bytes
            if data.size:
                window.add(one(data, stripes))
                size, stripes = size + data.size, stripes + 1
    return size, stripes


async def decode_object(
    backend: Backend,
    group: Group,
    shards: Mapping[int, Readable],
    take: Take,
    what: str,
    progress: Progress = no_progress,
) -> dict[int, str]:
    """Decode a write; its last piece is handed out only if the digest of the whole is right.

    Damage is found before decoding, granule by granule, and read around.

    Returns
    -------
    dict
        Shards that could not be used, with the reason.

    Raises
    ------
    NotEnoughShards
        With the reason for each shard.
    DigestMismatch
        The bytes are not those that were encoded.
    CorruptShard, UnsupportedFormat
        The write's code is not known, or not the one of its headers.
    """
    header, size = group.header, group.trailer.size
    layout, stripes = header.layout, header.layout.stripes(size)
    code = await backend.compute(group.code)
    unusable = group.missing()
    output = Output(backend, take, what)
    turns = Turns()
    window = Window(header.n * header.block_bytes, CODING_BYTES_MAX)

    async def one(stripe: int) -> None:
        async def fetch(index: int) -> tuple[Bytes, Bytes]:
            return await backend.compute(read_block, shards[index], stripe, what)

        start, stop = layout.span(stripe, size)
        found = group.missing()
        rows = await gather_rows(code, header, stripe, layout.block_len(stripe, size), fetch, found)
        pieces = await data_of(backend, header, rows, stop - start)
        unusable.update(found)
        async with turns.of(stripe):
            await output.take(start, pieces, group.trailer if stripe == stripes - 1 else None)
        progress(stop - start)

    async with window:
        for stripe in range(stripes):
            await window.room()
            window.add(one(stripe))
    if not stripes:
        output.check(group.trailer)
    return unusable


class Output:
    """Hashes an object on its way out; the last piece leaves only if all of it is right."""

    def __init__(self, net: Net, take: Take, what: str) -> None:
        self._net = net
        self._take = take
        self._what = what
        self._hasher = hashlib.sha256()

    async def take(self, start: int, pieces: list[Bytes], last_of: Trailer | None = None) -> None:
        """Pass the next pieces on; with the last ones comes the trailer of the object."""
        await self._net.compute(self._update, pieces)
        if last_of is not None:
            self.check(last_of)
        await self._take(start, pieces)

    def check(self, trailer: Trailer) -> None:
        """Raise ``DigestMismatch`` unless what passed is the whole object."""
        if self._hasher.digest() != trailer.object_digest:
            raise DigestMismatch(self._what, trailer.object_digest.hex(), self._hasher.hexdigest())

    def _update(self, pieces: Iterable[Bytes]) -> None:
        for piece in pieces:
            self._hasher.update(piece.data)


async def data_of(backend: Backend, header: Header, rows: Mapping[int, Bytes], nbytes: int) -> list[Bytes]:
    """A stripe's data from rows that determine it; the rows themselves where they are data."""
    if all(index in rows for index in range(header.k)):
        return trimmed([rows[index] for index in range(header.k)], nbytes)
    indices = tuple(rows)
    return [await run_again(backend, decode_task, _CODING, header.spec, indices, nbytes, *rows.values())]


def read_block(
    shard: Readable, stripe: int, what: str, first_granule: int = 0, granules: int | None = None
) -> tuple[Bytes, Bytes]:
    """Read a block, or granules of it; a disk that can't has damaged that shard alone."""
    try:
        return shard.read(stripe, first_granule, granules)
    except OSError as error:
        raise CorruptShard(what, f"can't be read: {error.strerror}") from error


async def read_range(
    backend: Backend, group: Group, shards: Mapping[int, Readable], start: int, stop: int, what: str
) -> list[Bytes]:
    """Bytes ``[start, stop)`` of a write, in pieces; only the granules that hold them are read.

    Raises
    ------
    InputError
        If the object has no such bytes.
    NotEnoughShards
    """
    header, size = group.header, group.trailer.size
    if not 0 <= start <= stop <= size:
        raise InputError(f"bytes {start} to {stop}; the object has {size}")
    code = await backend.compute(group.code)
    layout = header.layout
    reads = []
    for stripe in range(start // layout.stripe_bytes, -(-stop // layout.stripe_bytes) if start < stop else 0):
        begin, _ = layout.span(stripe, size)
        length = layout.block_len(stripe, size)
        low, high = max(0, start - begin), min(stop - begin, layout.stripe_bytes)
        for row in range(low // length, -(-high // length)):
            columns = max(0, low - row * length), min(length, high - row * length)
            reads.append(_columns(backend, group, code, shards, stripe, row, columns, what))
    return list(await asyncio.gather(*reads))


async def _columns(
    backend: Backend,
    group: Group,
    code: Code,
    shards: Mapping[int, Readable],
    stripe: int,
    row: int,
    columns: tuple[int, int],
    what: str,
) -> Bytes:
    """Some bytes of one data row."""
    header = group.header
    layout, size = header.layout, header.granule_bytes
    length = layout.block_len(stripe, group.trailer.size)
    first, last = columns[0] // size, -(-columns[1] // size)

    async def fetch(index: int) -> tuple[Bytes, Bytes]:
        return await backend.compute(read_block, shards[index], stripe, what, first, last - first)

    width = min(last * size, length) - first * size
    rows = await gather_rows(code, header, stripe, width, fetch, group.missing(), [row], first)
    found = rows[row] if row in rows else (await backend.compute(code.reconstruct, rows, [row]))[0]
    return found[columns[0] - first * size : columns[1] - first * size]
