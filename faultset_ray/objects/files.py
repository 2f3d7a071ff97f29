"""A file into shard files of a directory, and back; coded over a backend's pool."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.backend.protocol import At, Backend, Net
from faultset_ray.errors import CorruptShard, DigestMismatch, InputError
from faultset_ray.limits import CODING_CPUS, STRIPE_BYTES_DEFAULT
from faultset_ray.objects.decode import decode_rows
from faultset_ray.objects.encode import encode_rows
from faultset_ray.objects.gather import gather_rows
from faultset_ray.objects.pool import Turns, Window, run_again, threads_of
from faultset_ray.objects.sink import Sink, sink_for
from faultset_ray.objects.source import Source
from faultset_ray.shards.directory import choose, scan, shard_path
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import layout_for, stripe_rows
from faultset_ray.shards.reader import ShardReader
from faultset_ray.shards.writer import ShardWriter, fsync_directory

Bytes = NDArray[np.uint8]
_CODING = At(cpus=CODING_CPUS)


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """What was written."""

    paths: tuple[Path, ...]
    """The shard files, by index."""
    spec: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """What was read back."""

    spec: str
    size: int
    sha256: str
    unusable: Mapping[int, str]
    """Shards that could not be used, with the reason."""


async def encode_task(net: Net, rows: Bytes, header: Header, stripe: int) -> tuple[Bytes, list[Bytes]]:
    """Encode and digest one stripe; the task of the pool. As :func:`encode_rows`."""
    return await net.compute(encode_rows, rows, header, stripe, threads_of(net))


async def decode_task(net: Net, spec: str, indices: tuple[int, ...], nbytes: int, *rows: Bytes) -> Bytes:
    """Decode one stripe from verified rows; the task of the pool. As :func:`decode_rows`."""
    return await net.compute(decode_rows, spec, dict(zip(indices, rows, strict=True)), nbytes, threads_of(net))


async def encode_file(
    backend: Backend, path: Path, code: str, directory: Path, *, stripe_bytes: int = STRIPE_BYTES_DEFAULT
) -> EncodedFile:
    """Encode a file into one shard file for each shard; all of them appear, or none.

    Parameters
    ----------
    directory
        Made if it isn't there. Shard files of the same names are replaced.

    Raises
    ------
    InvalidCodeSpec, InputError, LimitExceeded
    OSError
        The disk failed; what was begun is removed.
    """
    found = codes.get(code)
    with Source(path) as source:
        layout = layout_for(source.size, found.k, stripe_bytes)
        header = Header(0, found.k, found.n, layout.block_bytes, backend.token(16), found.spec)
        paths = tuple(shard_path(directory, path.name, index) for index in range(found.n))
        unseen = [target.with_name(f".{target.name}.{header.write_id.hex()[:8]}") for target in paths]
        await backend.compute(_prepare, directory, paths)
        writers: list[ShardWriter] = []
        window = Window(layout.stripe_bytes)
        try:
            for index, target in enumerate(unseen):
                writers.append(ShardWriter(target, replace(header, index=index), unsealed=target))

            async def one(rows: Bytes, stripe: int) -> None:
                shared = backend.share(rows)
                parity, digests = await run_again(backend, encode_task, _CODING, shared, header, stripe)
                blocks = (*rows, *parity)
                await asyncio.gather(
                    *(
                        backend.compute(writer.append, stripe, block, digest)
                        for writer, block, digest in zip(writers, blocks, digests, strict=True)
                    )
                )

            stripes = layout.stripes(source.size)
            async with window:
                for stripe in range(stripes):
                    await window.room()
                    start, stop = layout.span(stripe, source.size)
                    data = await backend.compute(source.read, stop - start)
                    window.add(one(stripe_rows(data, found.k, layout.block_len(stripe, source.size)), stripe))
            await asyncio.gather(
                *(backend.compute(writer.seal, source.size, stripes, source.sha256()) for writer in writers)
            )
            await backend.compute(_publish, unseen, paths)
        except BaseException:
            for writer in writers:
                writer.discard()
                writer.path.unlink(missing_ok=True)
            raise
        return EncodedFile(paths, found.spec, source.size, source.sha256().hex())


def _prepare(directory: Path, paths: Sequence[Path]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a directory; a shard file is to stand there")


def _publish(unseen: Sequence[Path], paths: Sequence[Path]) -> None:
    """Bring sealed files into sight; what a disk may refuse has been done before."""
    for sealed, path in zip(unseen, paths, strict=True):
        sealed.replace(path)
    fsync_directory(paths[0].parent)


async def decode_directory(backend: Backend, directory: Path, out: Path) -> DecodedFile:
    """Decode the one object whose shards lie in a directory; ``out`` appears whole, or not at all.

    Damage is found before decoding, granule by granule, and read around.

    Raises
    ------
    NotEnoughShards
        With the reason for each shard.
    AmbiguousObjectError
        Shards of several decodable objects.
    DigestMismatch
        The bytes are not those that were encoded.
    """
    group = choose(await backend.compute(scan, directory), str(directory))
    header, trailer = group.header, group.trailer
    code = codes.get(header.spec)
    if (code.k, code.n) != (header.k, header.n):
        raise InputError(
            f"{directory}: the header says {header.k} of {header.n} shards, its code {header.spec} does not"
        )
    layout, size = header.layout, trailer.size
    unusable = dict(group.missing)
    hasher = hashlib.sha256()
    turns = Turns()
    window = Window(layout.stripe_bytes)
    with ExitStack() as stack, sink_for(out, size) as sink:
        readers = {index: stack.enter_context(ShardReader(path)) for index, path in group.paths.items()}

        async def one(stripe: int) -> None:
            async def fetch(index: int) -> tuple[Bytes, Bytes]:
                return await backend.compute(_read, readers[index], stripe)

            start, stop = layout.span(stripe, size)
            found = dict(group.missing)
            rows = await gather_rows(code, header, stripe, layout.block_len(stripe, size), fetch, found)
            if any(index not in rows for index in range(code.k)):
                indices = tuple(rows)
                data = await run_again(
                    backend, decode_task, _CODING, header.spec, indices, stop - start, *rows.values()
                )
                pieces = [data]
            else:
                pieces = _trimmed([rows[index] for index in range(code.k)], stop - start)
            unusable.update(found)
            async with turns.of(stripe):
                await backend.compute(_take, hasher, sink, start, pieces)

        async with window:
            for stripe in range(layout.stripes(size)):
                await window.room()
                window.add(one(stripe))
        if hasher.digest() != trailer.object_digest:
            raise DigestMismatch(str(directory), trailer.object_digest.hex(), hasher.hexdigest())
        await backend.compute(sink.finish)
    return DecodedFile(header.spec, size, hasher.hexdigest(), unusable)


def _read(reader: ShardReader, stripe: int) -> tuple[Bytes, Bytes]:
    """One block; a disk that can't read it has damaged that shard alone."""
    try:
        return reader.read(stripe)
    except OSError as error:
        raise CorruptShard(str(reader.path), f"can't be read: {error.strerror}") from error


def _trimmed(rows: list[Bytes], nbytes: int) -> list[Bytes]:
    """Whole data rows without the padding of the last ones; views."""
    pieces = []
    for row in rows:
        pieces.append(row[: max(0, nbytes)])
        nbytes -= row.size
    return pieces


def _take(hasher: hashlib._Hash, sink: Sink, start: int, pieces: list[Bytes]) -> None:
    for piece in pieces:
        hasher.update(piece.data)
        sink.write(start, piece)
        start += piece.size
