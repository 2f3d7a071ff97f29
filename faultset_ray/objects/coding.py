"""Whole objects, stripe by stripe, in bounded memory: what files, streams and commands are coded by.

A few stripes are under way at once; they start and end in order. Coding runs on the backend: on threads of
this process, or on the workers of a cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import At, Backend, Net
from faultset_ray.errors import CodingError, CorruptShard, DigestMismatch, InputError, NotEnoughShards
from faultset_ray.limits import CODING_BYTES_MAX, CODING_CPUS
from faultset_ray.objects.encode import Reading
from faultset_ray.objects.gather import gather_rows
from faultset_ray.objects.groups import Group, only
from faultset_ray.objects.metering import coded
from faultset_ray.objects.output import Passed, Take, hand_out
from faultset_ray.objects.pool import Window, run_again, threads_of
from faultset_ray.objects.ranges import read_span, spans
from faultset_ray.objects.sent import Digests, encode_sent, run_with_rows
from faultset_ray.objects.stripes import data_rows, decode_rows, undecoded
from faultset_ray.objects.views import Readable
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import stripe_rows

Bytes = NDArray[np.uint8]
Put = Callable[[int, Sequence[Bytes], Sequence[Bytes]], Awaitable[None]]
"""Takes a stripe's number, its n blocks and their digests; several at once, in any order."""
Progress = Callable[[int, int | None], None]
"""Is told how many more bytes of the object are done, and how many it has in all, where that is known."""

Open = Callable[[Group], Mapping[int, Readable]]
"""Opens the shards of a write; those of one that was opened before may be closed."""

_CODING = At(cpus=CODING_CPUS)


def no_progress(_done: int, _total: int | None) -> None:
    """Tell nobody."""


async def encode_task(
    net: Net, rows: Bytes, digests: Digests, header: Header, stripe: int
) -> tuple[Bytes, list[Bytes]]:
    """Encode and digest one stripe; the task of the pool. As :func:`encode_sent`."""
    threads = threads_of(net)
    return await coded(net, "encode", header.spec, rows.nbytes, encode_sent, rows, digests, header, stripe, threads)


async def decode_task(net: Net, spec: str, indices: tuple[int, ...], nbytes: int, *rows: Bytes) -> Bytes:
    """Decode one stripe from verified rows; the task of the pool. As :func:`decode_rows`."""
    given = dict(zip(indices, rows, strict=True))
    return await coded(net, "decode", spec, nbytes, decode_rows, spec, given, nbytes, threads_of(net))


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
        parity, digests = await run_with_rows(backend, encode_task, _CODING, rows, header, stripe)
        await put(stripe, (*rows, *parity), digests)
        progress(data.size, None)

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
    passed: Passed | None = None,
) -> dict[int, str]:
    """Decode a write; its last piece is handed out only if the digest of the whole is right.

    Damage is found before decoding, granule by granule, and read around.

    Parameters
    ----------
    passed
        What was handed out already, for one that is decoded again.

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
    layout = header.layout
    code = await backend.compute(group.decoder)
    missing = group.missing(code.n)
    unusable = dict(missing)

    async def make(stripe: int) -> list[Bytes]:
        async def fetch(index: int) -> tuple[Bytes, Bytes]:
            return await backend.compute(read_block, shards[index], stripe, what)

        start, stop = layout.span(stripe, size)
        found = dict(missing)
        length = layout.block_len(stripe, size)
        with group.decoding():
            rows = await gather_rows(code, header, stripe, length, fetch, found, data_rows(stop - start, length))
        unusable.update(found)
        return await data_of(backend, header, rows, stop - start)

    async def hand_on(start: int, pieces: list[Bytes]) -> None:
        await take(start, pieces)
        progress(sum(piece.size for piece in pieces), size)

    held = header.n * header.block_bytes
    digest = group.trailer.object_digest
    await hand_out(backend, layout, size, digest, make, hand_on, what, held, CODING_BYTES_MAX, passed)
    return unusable


async def decode_sparing(
    backend: Backend,
    group: Group,
    open_shards: Open,
    take: Take,
    what: str,
    progress: Progress = no_progress,
    passed: Passed | None = None,
) -> tuple[Group, dict[int, str]]:
    """As :func:`decode_object`; where the digest is wrong, it is tried which shard is forged, and gone on without it.

    Parameters
    ----------
    open_shards
        Opens the shards of a write.
    passed
        For a ``take`` that can't take back what it was given.

    Returns
    -------
    group
        The write without what is forged.
    dict
    """
    try:
        shards = await backend.compute(open_shards, group)
        return group, await decode_object(backend, group, shards, take, what, progress, passed)
    except DigestMismatch as error:
        group, shards, unusable = await spare(backend, group, open_shards, what, error)
        if take is nowhere:
            return group, unusable
        return group, await decode_object(backend, group, shards, take, what, passed=passed)


async def spare(
    backend: Backend, group: Group, open_shards: Open, what: str, error: DigestMismatch
) -> tuple[Group, Mapping[int, Readable], dict[int, str]]:
    """Find the shard, or copy of one, without which a write decodes; the error, with the suspects, if there is none.

    The write without it, its shards, and those that still can't be used, with the reasons.
    """
    for variant in group.variants():
        shards = await backend.compute(open_shards, variant)
        with suppress(DigestMismatch, NotEnoughShards):
            return variant, shards, await decode_object(backend, variant, shards, nowhere, what)
    suspects = sorted(group.disputed or group.members)
    raise DigestMismatch(error.object_name, error.expected, error.found, suspects) from None


async def settle(
    backend: Backend,
    families: Sequence[Sequence[Group]],
    open_shards: Open,
    what: str,
) -> tuple[Group, Mapping[int, Readable]]:
    """Find the one write that can be decoded, of those that might be; where there are several, by decoding each.

    Parameters
    ----------
    families
        As from :func:`~faultset_ray.objects.groups.candidates`.
    open_shards
        Opens the shards of a write.

    Returns
    -------
    group, shards

    Raises
    ------
    AmbiguousObjectError
        It is more than one.
    CodingError
        It is none: why the first can't be decoded.
    """
    if [len(family) for family in families] == [1] and not families[0][0].disputed:
        group = families[0][0]
        return group, await backend.compute(open_shards, group)
    decodable: list[Group] = []
    failed: list[CodingError] = []
    for family in families:
        for group in family:
            try:
                decodable.append((await decode_sparing(backend, group, open_shards, nowhere, what))[0])
            except CodingError as error:
                failed.append(error)
            else:
                break
    group = only(decodable, failed)
    return group, await backend.compute(open_shards, group)


async def nowhere(_start: int, _pieces: list[Bytes]) -> None:
    """Take what was decoded, and drop it."""


async def data_of(backend: Backend, header: Header, rows: Mapping[int, Bytes], nbytes: int) -> list[Bytes]:
    """A stripe's data from rows that determine it; the rows themselves where they are data."""
    data = undecoded(rows, nbytes)
    if data is not None:
        return data
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
    code = await backend.compute(group.decoder)

    async def collect(stripe: int, wanted: Sequence[int], first: int, granules: int, width: int) -> dict[int, Bytes]:
        async def fetch(index: int) -> tuple[Bytes, Bytes]:
            return await backend.compute(read_block, shards[index], stripe, what, first, granules)

        with group.decoding():
            return await gather_rows(code, header, stripe, width, fetch, group.missing(code.n), wanted, first)

    parts = [read_span(backend, code, header, size, *span, collect) for span in spans(header.layout, size, start, stop)]
    return [piece for pieces in await asyncio.gather(*parts) for piece in pieces]
