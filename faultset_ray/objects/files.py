"""A file into shard files of a directory, and back; coded over a backend's pool."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.backend.protocol import Backend
from faultset_ray.codes.base import Code
from faultset_ray.errors import InputError, NotEnoughShards
from faultset_ray.objects.byteio import ByteReader, ByteWriter
from faultset_ray.objects.coding import Open, Progress, decode_sparing, encode_object, no_progress, settle
from faultset_ray.objects.encode import Reading
from faultset_ray.objects.groups import Group, candidates, generation_of, object_id_of
from faultset_ray.objects.intake import SourceReader
from faultset_ray.objects.output import Passed
from faultset_ray.objects.sink import Sink, sink_for
from faultset_ray.objects.source import Source
from faultset_ray.objects.views import Readable, shards_of
from faultset_ray.shards.directory import basename_of, scan, shard_path, shards_named, waiting_path
from faultset_ray.shards.disk import fsync_directory
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import StripeLayout, layout_for
from faultset_ray.shards.reader import ShardFile, ShardReader
from faultset_ray.shards.writer import ShardWriter

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
    stripe_bytes: int | None = None,
    generation: int = 0,
    force: bool = False,
    progress: Progress = no_progress,
) -> EncodedFile:
    """Encode a file into one shard file for each shard; all of them appear, or none.

    Parameters
    ----------
    directory
        Made if it isn't there. Other objects' shards may lie in it.
    generation
        Order among the encodings of a file of this name: of a lower one, shards are told to be stale.
    force
        Remove the shards of a file of this name that lie there, once the new ones are complete and beside them:
        whatever happens, all shards of one of both are there.

    Raises
    ------
    InputError
        There is no such file, or the directory is none. Or, without ``force``, shards of a file of this name lie
        there already: of two encodings one could not tell which is meant. Nothing is replaced.
    InvalidCodeSpec, LimitExceeded
    OSError
        The disk failed; what was begun is removed.
    """
    found = codes.get(code)
    with Source(path) as source:
        layout = layout_for(source.size, found.k, found.n, stripe_bytes)
        header = _header(backend, found, layout, path.name, generation)
        reading = SourceReader(backend, source)
        paths, _ = await write_shards(backend, reading, header, directory, path.name, force=force, progress=progress)
        return EncodedFile(paths, found.spec, source.size, source.sha256().hex())


async def encode_pipe(
    backend: Backend,
    pipe: BinaryIO,
    name: str,
    code: str,
    directory: Path,
    *,
    stripe_bytes: int | None = None,
    generation: int = 0,
    force: bool = False,
    progress: Progress = no_progress,
) -> EncodedFile:
    """As :func:`encode_file`, of what comes until the end of a pipe; the shards are called as ``name`` says."""
    found = codes.get(code)
    layout = layout_for(None, found.k, found.n, stripe_bytes)
    header = _header(backend, found, layout, name, generation)
    reading = ByteReader(backend, pipe)
    paths, size = await write_shards(backend, reading, header, directory, name, force=force, progress=progress)
    return EncodedFile(paths, found.spec, size, reading.sha256().hex())


def _header(backend: Backend, code: Code, layout: StripeLayout, name: str, generation: int) -> Header:
    """Of a new write of an object that is called so."""
    write_id, object_id = backend.token(16), object_id_of(name)
    return Header(0, code.k, code.n, layout.block_bytes, write_id, code.spec, generation_of(generation), object_id)


async def write_shards(
    backend: Backend,
    source: Reading,
    header: Header,
    directory: Path,
    name: str,
    *,
    force: bool = False,
    progress: Progress = no_progress,
) -> tuple[tuple[Path, ...], int]:
    """Encode a source into shard files, which appear all at once, or not at all; their paths, and its size."""
    await backend.compute(_prepare, directory, name, force)
    paths = tuple(shard_path(directory, name, index) for index in range(header.n))
    with new_shards(header, dict(enumerate(paths))) as writers:

        async def put(stripe: int, blocks: Sequence[Bytes], digests: Sequence[Bytes]) -> None:
            appends = zip(writers.values(), blocks, digests, strict=True)
            await asyncio.gather(
                *(backend.compute(writer.append, stripe, block, digest) for writer, block, digest in appends)
            )

        size, stripes = await encode_object(backend, header, source, put, progress)
        replaced = await backend.compute(_prepare, directory, name, force)  # it may have taken hours
        await publish(backend, writers, paths, size, stripes, source.sha256(), replaced)
    return paths, size


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
    replaced: Sequence[Path] = (),
) -> None:
    """Seal shards, make them durable, then bring them into sight, and remove the shards that they replace."""
    await asyncio.gather(*(backend.compute(writer.seal, size, stripes, object_digest) for writer in writers.values()))
    await backend.compute(_publish, [writer.path for writer in writers.values()], list(paths), replaced)


def _prepare(directory: Path, name: str, force: bool) -> list[Path]:
    """Make the directory; the shards of a file of this name that lie in it, which are to be replaced."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{directory} is no directory, nor can be; shard files go into a directory") from None
    there = shards_named(directory, name)
    if there and not force:
        raise InputError(
            f"{directory} already holds shards of {name} ({len(there)}, such as {there[0].name}); "
            "encode into another directory, remove them, or replace them with --force (force=True)"
        )
    for path in there:
        if path.is_dir():
            raise InputError(f"{path} is a directory; it is not replaced")
    return there


def _publish(unseen: Sequence[Path], paths: Sequence[Path], replaced: Sequence[Path]) -> None:
    """Bring sealed files into sight; what a disk may refuse has been done before.

    Where they replace others, they first appear beside them: a crash leaves all shards of one of both, or of both.
    """
    directory = paths[0].parent
    if replaced:
        beside = [waiting_path(path) for path in paths]
        _move(unseen, beside)
        for path in {*replaced} - {*beside}:
            path.unlink(missing_ok=True)
        fsync_directory(directory)
        unseen = beside
    _move(unseen, paths)


def _move(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    for source, target in zip(sources, targets, strict=True):
        source.replace(target)
    fsync_directory(targets[0].parent)


@dataclass(frozen=True, slots=True)
class OpenShards:
    """The one write of a directory, its shards open."""

    files: Sequence[ShardFile]
    """All shard files of the directory, sound or not."""
    group: Group
    shards: Mapping[int, Readable]
    open_shards: Open
    """Opens those of the write without some of them; the others are closed."""

    def places(self) -> list[Path]:
        """By index, where a shard without a member lies damaged, or else what its name would be, taken or not."""
        members = [self.files[position].path for at in self.group.members.values() for position in at]
        names = Counter(map(basename_of, members)).most_common()
        write_id, called = self.group.header.write_id, {name for name, _ in names}
        places = [shard_path(members[0].parent, names[0][0], index) for index in range(self.group.header.n)]
        for file in reversed(self.files):  # of several, the first counts
            ours = file.header.write_id == write_id if file.header else basename_of(file.path) in called
            if ours and file.index is not None and file.index < len(places):
                places[file.index] = file.path
        return places


@asynccontextmanager
async def open_directory(backend: Backend, directory: Path, wanted: str | None = None) -> AsyncIterator[OpenShards]:
    """Find the one object whose shards lie in a directory, and open them.

    Parameters
    ----------
    wanted
        Which of several is meant: its write id or object id in hex, or the name that it was given.

    Raises
    ------
    NotEnoughShards
    AmbiguousObjectError
        Shards of several decodable objects.
    InputError
        There is no such directory, or nothing in it is of the object that is wanted.
    """
    files = await backend.compute(scan, directory)
    if not files:
        raise NotEnoughShards(0, None, {}, f"{directory} holds no *.shard file")
    families = await backend.compute(candidates, files, str(directory), wanted)
    with ExitStack() as stack:

        def open_shards(group: Group) -> Mapping[int, Readable]:
            stack.close()  # of a write that was tried before
            return shards_of(group, lambda position: _opened(group, files[position], stack))

        group, shards = await settle(backend, families, open_shards, str(directory))
        yield OpenShards(files, group, shards, open_shards)


def _opened(group: Group, file: ShardFile, stack: ExitStack) -> Readable:
    trailer = None if group.is_sealed_by(file) else group.trailer
    return stack.enter_context(ShardReader(file.path, trailer=trailer))


async def decode_directory(
    backend: Backend,
    directory: Path,
    out: Path | BinaryIO,
    *,
    wanted: str | None = None,
    progress: Progress = no_progress,
) -> DecodedFile:
    """Decode the one object whose shards lie in a directory.

    Damage is found before decoding, granule by granule, and read around.

    Parameters
    ----------
    out
        A path appears whole, or not at all. What can only be written to, such as a pipe, gets the bytes as
        they come, in order; the last of them only if all were right.
    wanted
        As for :func:`open_directory`.

    Raises
    ------
    NotEnoughShards
        With the reason for each shard.
    AmbiguousObjectError
        Shards of several decodable objects.
    DigestMismatch
        The bytes are not those that were encoded.
    """
    async with open_directory(backend, directory, wanted) as found:
        group, what = found.group, str(directory)
        if isinstance(out, Path):
            with sink_for(out, group.trailer.size) as sink:

                async def take(start: int, pieces: list[Bytes]) -> None:
                    await backend.compute(_write, sink, start, pieces)

                _, unusable = await decode_sparing(backend, group, found.open_shards, take, what, progress)
                await backend.compute(sink.finish)
        else:
            writer = ByteWriter(backend, out)

            async def hand_out(_: int, pieces: list[Bytes]) -> None:
                await writer.write(pieces)

            _, unusable = await decode_sparing(backend, group, found.open_shards, hand_out, what, progress, Passed())
            await writer.flush()
    return DecodedFile(group.header.spec, group.trailer.size, group.trailer.object_digest.hex(), unusable)


def _write(sink: Sink, start: int, pieces: list[Bytes]) -> None:
    for piece in pieces:
        sink.write(start, piece)
        start += piece.size
