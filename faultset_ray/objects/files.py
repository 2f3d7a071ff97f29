"""A file into shard files of a directory, and back; coded over a backend's pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.backend.protocol import Backend
from faultset_ray.errors import InputError
from faultset_ray.limits import STRIPE_BYTES_DEFAULT
from faultset_ray.objects.byteio import ByteReader, ByteWriter
from faultset_ray.objects.coding import Progress, Reading, decode_object, encode_object, no_progress
from faultset_ray.objects.groups import Group, choose
from faultset_ray.objects.sink import Sink, sink_for
from faultset_ray.objects.source import Source
from faultset_ray.objects.views import Readable, copies
from faultset_ray.shards.directory import scan, shard_path
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import layout_for
from faultset_ray.shards.reader import ShardFile, ShardReader
from faultset_ray.shards.writer import ShardWriter, fsync_directory

Bytes = NDArray[np.uint8]


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


async def encode_file(
    backend: Backend,
    path: Path,
    code: str,
    directory: Path,
    *,
    stripe_bytes: int = STRIPE_BYTES_DEFAULT,
    progress: Progress = no_progress,
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
        reading = _Whole(backend, source)
        await write_shards(backend, reading, header, paths, progress)
        return EncodedFile(paths, found.spec, source.size, source.sha256().hex())


async def encode_pipe(
    backend: Backend,
    pipe: BinaryIO,
    name: str,
    code: str,
    directory: Path,
    *,
    stripe_bytes: int = STRIPE_BYTES_DEFAULT,
    progress: Progress = no_progress,
) -> EncodedFile:
    """As :func:`encode_file`, of what comes until the end of a pipe; the shards are called as ``name`` says."""
    found = codes.get(code)
    layout = layout_for(None, found.k, stripe_bytes)
    header = Header(0, found.k, found.n, layout.block_bytes, backend.token(16), found.spec)
    paths = tuple(shard_path(directory, name, index) for index in range(found.n))
    reading = ByteReader(backend, pipe)
    size = await write_shards(backend, reading, header, paths, progress)
    return EncodedFile(paths, found.spec, size, reading.sha256().hex())


async def write_shards(
    backend: Backend, source: Reading, header: Header, paths: Sequence[Path], progress: Progress = no_progress
) -> int:
    """Encode a source into shard files, which appear all at once, or not at all; its size is returned."""
    await backend.compute(_prepare, paths[0].parent, paths)
    with new_shards(header, dict(enumerate(paths))) as writers:

        async def put(stripe: int, blocks: Sequence[Bytes], digests: Sequence[Bytes]) -> None:
            appends = zip(writers.values(), blocks, digests, strict=True)
            await asyncio.gather(
                *(backend.compute(writer.append, stripe, block, digest) for writer, block, digest in appends)
            )

        size, stripes = await encode_object(backend, header, source, put, progress)
        await publish(backend, writers, paths, size, stripes, source.sha256())
    return size


@contextmanager
def new_shards(header: Header, paths: Mapping[int, Path]) -> Iterator[dict[int, ShardWriter]]:
    """Writers of shards that are to stand at some paths, out of sight; what is not published is removed."""
    writers: dict[int, ShardWriter] = {}
    try:
        for index, path in paths.items():
            unseen = path.with_name(f".{path.name}.{header.write_id.hex()[:8]}")
            writers[index] = ShardWriter(unseen, replace(header, index=index), unsealed=unseen)
        yield writers
    except BaseException:
        for writer in writers.values():
            writer.discard()
            writer.path.unlink(missing_ok=True)
        raise


async def publish(
    backend: Backend,
    writers: Mapping[int, ShardWriter],
    paths: Iterable[Path],
    size: int,
    stripes: int,
    object_digest: bytes,
) -> None:
    """Seal shards, make them durable, then bring them into sight."""
    await asyncio.gather(*(backend.compute(writer.seal, size, stripes, object_digest) for writer in writers.values()))
    await backend.compute(_publish, [writer.path for writer in writers.values()], list(paths))


class _Whole:
    """A file, read to the size that it had when it was opened."""

    def __init__(self, backend: Backend, source: Source) -> None:
        self._backend = backend
        self._source = source
        self._left = source.size

    async def read(self, nbytes: int) -> Bytes:
        nbytes = min(nbytes, self._left)
        self._left -= nbytes
        return await self._backend.compute(self._source.read, nbytes)

    def sha256(self) -> bytes:
        return self._source.sha256()


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


@dataclass(frozen=True, slots=True)
class OpenShards:
    """The one write of a directory, its shards open."""

    files: Sequence[ShardFile]
    """All shard files of the directory, sound or not."""
    group: Group
    shards: Mapping[int, Readable]


@asynccontextmanager
async def open_directory(backend: Backend, directory: Path) -> AsyncIterator[OpenShards]:
    """Find the one object whose shards lie in a directory, and open them.

    Raises
    ------
    NotEnoughShards
    AmbiguousObjectError
        Shards of several decodable objects.
    InputError
        There is no such directory.
    """
    files = await backend.compute(scan, directory)
    group = choose(files, str(directory))
    with ExitStack() as stack:
        shards = {}
        for index, at in group.members.items():
            readers = [stack.enter_context(ShardReader(files[position].path)) for position in at]
            shards[index] = copies(group.header, index, readers)
        yield OpenShards(files, group, shards)


async def decode_directory(
    backend: Backend, directory: Path, out: Path | BinaryIO, *, progress: Progress = no_progress
) -> DecodedFile:
    """Decode the one object whose shards lie in a directory.

    Damage is found before decoding, granule by granule, and read around.

    Parameters
    ----------
    out
        A path appears whole, or not at all. What can only be written to, such as a pipe, gets the bytes as
        they come, in order; the last of them only if all were right.

    Raises
    ------
    NotEnoughShards
        With the reason for each shard.
    AmbiguousObjectError
        Shards of several decodable objects.
    DigestMismatch
        The bytes are not those that were encoded.
    """
    async with open_directory(backend, directory) as found:
        group, what = found.group, str(directory)
        if isinstance(out, Path):
            with sink_for(out, group.trailer.size) as sink:

                async def take(start: int, pieces: list[Bytes]) -> None:
                    await backend.compute(_write, sink, start, pieces)

                unusable = await decode_object(backend, group, found.shards, take, what, progress)
                await backend.compute(sink.finish)
        else:
            writer = ByteWriter(backend, out)

            async def hand_out(_: int, pieces: list[Bytes]) -> None:
                await writer.write(pieces)

            unusable = await decode_object(backend, group, found.shards, hand_out, what, progress)
            await writer.flush()
    return DecodedFile(group.header.spec, group.trailer.size, group.trailer.object_digest.hex(), unusable)


def _write(sink: Sink, start: int, pieces: list[Bytes]) -> None:
    for piece in pieces:
        sink.write(start, piece)
        start += piece.size
