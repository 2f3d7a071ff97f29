"""Objects of any size from streams into streams of shards, and back, in bounded memory.

A shard stream holds what a shard file does. Each function stands here twice: for code that awaits, and for
code that does not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from tempfile import TemporaryFile
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.backend.local import LocalBackend
from faultset_ray.codes.base import Code
from faultset_ray.codes.check import integer
from faultset_ray.errors import CodingError, InputError
from faultset_ray.objects import coding
from faultset_ray.objects.buffers import as_bytes
from faultset_ray.objects.byteio import ByteReader, ByteWriter, refuse_unusable
from faultset_ray.objects.groups import Group, candidates, generation_of, object_id_of
from faultset_ray.objects.manifest import Manifest
from faultset_ray.objects.output import Passed, Take
from faultset_ray.objects.pool import Turns
from faultset_ray.objects.sealing import Sealing
from faultset_ray.objects.sequential import SequentialShard, decode_sequential, open_all
from faultset_ray.objects.views import Readable, View, view_file, view_memory, views_of
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import layout_for
from faultset_ray.shards.memory import joined

Bytes = NDArray[np.uint8]
R = TypeVar("R")

_BUFFERS = (bytes, bytearray, memoryview, np.ndarray)


async def encode_stream_async(
    reader: Any,
    writers: Sequence[Any],
    code: str | Code,
    *,
    stripe_bytes: int | None = None,
    name: str | None = None,
    generation: int = 0,
) -> Manifest:
    """Encode what comes until its end, which need not be known before, into n streams of shards.

    Parameters
    ----------
    reader
        Bytes, a file or pipe, an ``asyncio.StreamReader``, anything else with ``read``, which may be a
        coroutine function, or an iterable of bytes, asynchronous or not.
    writers
        One for each shard, by index: with ``write`` as a file has it, as a coroutine function, or beside
        ``drain``, each a different one. No more is read while they don't take what was made. They are not closed.
    code
        Such as ``"rs:10+4"``, or what :func:`codes.get <faultset_ray.codes.get>` returns for it.
    stripe_bytes
        Data that are coded together; 16 MiB, or what fills 32 MiB of shards, by default. Memory is bounded by
        the shards of some stripes.
    name
        What the object is called, to be told from others by; its SHA-256 stands in each shard.
    generation
        Order among the encodings of one name, 0 to 2^64 - 1: of a lower one, shards are told to be stale.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        Not as many writers as the code has shards, one of them twice, or something that can't be read or written.
    InvalidCodeSpec, LimitExceeded
    Exception
        What a reader or writer raises. What was written then has no trailer, and is no shard.
    """
    found = codes.get(code)
    writers = _several("writers", writers)
    if len(writers) != found.n:
        raise InputError(f"{len(writers)} writers; {found.spec} has {found.n} shards")
    if len(set(map(id, writers))) < found.n:
        raise InputError(f"a writer stands twice among the {found.n}; each shard needs one of its own")
    layout, object_id = layout_for(None, found.k, found.n, stripe_bytes), object_id_of(name)
    order = generation_of(generation)
    async with _backend(found.n) as backend:
        write_id = backend.token(16)
        header = Header(0, found.k, found.n, layout.block_bytes, write_id, found.spec, order, object_id)
        sealing, turns = Sealing(header), Turns()
        source = ByteReader(backend, reader)
        sinks = [ByteWriter(backend, writer) for writer in writers]

        async def write(parts: Sequence[Sequence[Bytes | bytes]]) -> None:
            await asyncio.gather(*(sink.write(pieces) for sink, pieces in zip(sinks, parts, strict=True)))

        async def put(stripe: int, blocks: Sequence[Bytes], digests: Sequence[Bytes]) -> None:
            async with turns.of(stripe):
                await write(sealing.stripe(blocks, digests))

        await write([[head] for head in sealing.heads])
        size, stripes = await coding.encode_object(backend, header, source, put)
        await write([[trailer] for trailer in sealing.trailers(size, stripes, source.sha256())])
        await asyncio.gather(*(sink.flush() for sink in sinks))
        return Manifest.of(header, size, stripes, source.sha256())


async def decode_stream_async(readers: Sequence[Any], writer: Any, *, object: str | None = None) -> Manifest:  # noqa: A002
    """Decode the one object whose shards come from some readers, whichever are left, in any order.

    Damage is found before decoding, granule by granule, and read around. The writer gets bytes as they are
    made; the last of them only if the digest of the whole object is right.

    Parameters
    ----------
    readers
        Of each shard: bytes, a path, an open file, or a stream of any kind that ``encode_stream`` reads. If all
        can be sought in, no more than needed is read of them; else all are read at the same time, to their end.
    writer
        As one of ``encode_stream``.
    object
        Which of several is meant: its write id or object id in hex, or the name that it was given.

    Returns
    -------
    Manifest

    Raises
    ------
    NotEnoughShards
        It tells why each shard that is not usable isn't.
    AmbiguousObjectError
        More than one object could be meant.
    DigestMismatch
        The bytes are not those that were encoded; the last of them were not written. Where all readers can be
        sought in, a single forged shard is found by trial and left out, unless it has spoiled what was written
        by then; in pipes, it is not.
    UnsupportedFormat
    InputError
        Something that can't be read or written.
    Exception
        What the writer raises. A reader that raises ``OSError`` is a lost shard.
    """
    readers = _several("readers", readers)
    async with _backend(len(readers)) as backend:
        target = ByteWriter(backend, writer)

        async def take(_: int, pieces: list[Bytes]) -> None:
            await target.write(pieces)

        with ExitStack() as stack:
            if all(map(_sought, readers)):
                group = await _decode_sought(backend, readers, object, take, stack)
            else:
                pile = [
                    SequentialShard(f"shard at {position}", ByteReader(backend, _opened(reader, stack)))
                    for position, reader in enumerate(readers)
                ]
                await open_all(pile)
                families = await backend.compute(candidates, pile, "", object)
                if len(families) == 1:
                    group = await decode_sequential(backend, pile, families[0][0], take)
                else:  # which one is meant shows only at their ends
                    files = [stack.enter_context(TemporaryFile()) for _ in pile]
                    await asyncio.gather(*map(SequentialShard.spool, pile, files))
                    group = await _decode_sought(backend, files, object, take, stack)
        await target.flush()
        trailer = group.trailer
        return Manifest.of(group.header, trailer.size, trailer.stripes, trailer.object_digest)


async def _decode_sought(
    backend: LocalBackend, readers: Sequence[Any], wanted: str | None, take: Take, stack: ExitStack
) -> Group:
    group, _, open_shards = await _open(backend, readers, wanted, stack)
    found, _ = await coding.decode_sparing(backend, group, open_shards, take, group.label, passed=Passed())
    return found


async def read_range_async(readers: Sequence[Any], start: int, stop: int, *, object: str | None = None) -> bytes:  # noqa: A002
    """Bytes ``[start, stop)`` of an object, of which no more granules are read than hold them.

    They are verified granule by granule; those that are lost or corrupt are made from the same granules of
    other shards. The digest of the whole object can't be checked.

    Parameters
    ----------
    readers
        Of each shard: bytes, a path, or an open file that can be sought in.
    start, stop
        0 ≤ start ≤ stop ≤ size.
    object
        As for :func:`decode_stream_async`.

    Raises
    ------
    NotEnoughShards, AmbiguousObjectError, UnsupportedFormat
    InputError
        The object has no such bytes, or a reader can't be sought in.
    """
    readers = _several("readers", readers)
    start, stop = integer("start", start), integer("stop", stop)
    for position, reader in enumerate(readers):
        if not _sought(reader):
            raise InputError(f"reader {position} can't be sought in; ranges need bytes, paths or open files")
    async with _backend(len(readers)) as backend:
        with ExitStack() as stack:
            group, shards, _ = await _open(backend, readers, object, stack)
            pieces = await coding.read_range(backend, group, shards, start, stop, group.label)
            return joined(pieces)


def encode_stream(
    reader: Any,
    writers: Sequence[Any],
    code: str | Code,
    *,
    stripe_bytes: int | None = None,
    name: str | None = None,
    generation: int = 0,
) -> Manifest:
    """As :func:`encode_stream_async`, for code that does not await."""
    return _run(encode_stream_async(reader, writers, code, stripe_bytes=stripe_bytes, name=name, generation=generation))


def decode_stream(readers: Sequence[Any], writer: Any, *, object: str | None = None) -> Manifest:  # noqa: A002
    """As :func:`decode_stream_async`, for code that does not await."""
    return _run(decode_stream_async(readers, writer, object=object))


def read_range(readers: Sequence[Any], start: int, stop: int, *, object: str | None = None) -> bytes:  # noqa: A002
    """As :func:`read_range_async`, for code that does not await."""
    return _run(read_range_async(readers, start, stop, object=object))


@asynccontextmanager
async def _backend(streams: int) -> AsyncIterator[LocalBackend]:
    """Threads of this process: so many that all streams can wait at once, and coding goes on."""
    backend = LocalBackend(cpus=streams + len(os.sched_getaffinity(0)))
    try:
        yield backend
    finally:
        await backend.close()


def _several(what: str, streams: Any) -> list[Any]:
    if isinstance(streams, (*_BUFFERS, str)) or not isinstance(streams, Iterable):
        raise InputError(f"{what} is {type(streams).__name__}; expected a sequence, one for each shard")
    found = list(streams)
    for position, stream in enumerate(found):
        refuse_unusable(f"{what.removesuffix('s')} {position}", stream)
    return found


def _sought(reader: Any) -> bool:
    """Whether a shard can be read at any place."""
    if isinstance(reader, (*_BUFFERS, str, os.PathLike)):
        return True
    seekable = getattr(reader, "seekable", None)
    return callable(seekable) and seekable() is True


def _opened(reader: Any, stack: ExitStack) -> Any:
    return stack.enter_context(open(reader, "rb")) if isinstance(reader, (str, os.PathLike)) else reader  # noqa: PTH123


async def _open(
    backend: LocalBackend, readers: Sequence[Any], wanted: str | None, stack: ExitStack
) -> tuple[Group, Mapping[int, Readable], coding.Open]:
    """The one object that can be decoded, its shards, and what gives those of others."""

    def look() -> tuple[list[View], list[list[Group]]]:
        pile = [_view(f"shard at {position}", reader, stack) for position, reader in enumerate(readers)]
        return pile, candidates(pile, wanted=wanted)

    pile, families = await backend.compute(look)

    def open_shards(group: Group) -> Mapping[int, Readable]:
        return views_of(group, pile)

    return *await coding.settle(backend, families, open_shards, ""), open_shards


def _view(name: str, reader: Any, stack: ExitStack) -> View:
    if isinstance(reader, _BUFFERS):
        return view_memory(name, as_bytes(name, reader, "bytes of a shard"))
    try:
        return view_file(name, _opened(reader, stack))
    except OSError as error:
        return View(name, _nothing, None, None, f"can't be read: {error.strerror}")


def _nothing(offset: int, nbytes: int) -> Bytes:
    raise CodingError(f"nothing to read {nbytes} bytes of at {offset}")


def _run(work: Coroutine[Any, Any, R]) -> R:
    """Run to the end; on a thread of its own where this one has an event loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
