"""Shards of a directory that are lost or damaged, made anew in their places."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Backend
from faultset_ray.codes.base import Code
from faultset_ray.limits import CODING_BYTES_MAX
from faultset_ray.objects.coding import Progress, no_progress, read_block
from faultset_ray.objects.files import OpenShards, new_shards, open_directory, publish
from faultset_ray.objects.gather import gather_rows
from faultset_ray.objects.groups import FORGED_BLOCKS
from faultset_ray.objects.pool import each
from faultset_ray.objects.verify import Report, verify_directory
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.directory import basename_of, shard_path
from faultset_ray.shards.disk import fsync_directory
from faultset_ray.shards.format import Header
from faultset_ray.shards.writer import ShardWriter

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done."""

    before: Report
    paths: Mapping[int, Path]
    """The shards that were made anew, by index."""
    removed: tuple[Path, ...] = ()
    """Damaged copies of shards that are sound elsewhere, now or already before."""


async def repair_directory(
    backend: Backend, directory: Path, *, wanted: str | None = None, progress: Progress = no_progress
) -> Repaired:
    """Verify the shards of a directory, and make those that are not sound again, where they were.

    A shard that is made again is byte for byte the one that was lost. All of them appear together, after the
    object's digest was found right; until then nothing in the directory changes. Then further copies of shards
    that are damaged are removed.

    Raises
    ------
    NotEnoughShards, DigestMismatch
        Too little is left.
    AmbiguousObjectError, InputError
    OSError
        The disk failed; what was begun is removed.
    """
    report = await verify_directory(backend, directory, wanted=wanted, progress=progress)
    if report.failure is not None:
        raise report.failure
    paths: dict[int, Path] = {}
    if report.damaged:
        async with open_directory(backend, directory, report.write_id) as found:
            paths = _paths(found, report)
            trailer = found.group.trailer
            forged = [state.index for state in report.shards if state.reason == FORGED_BLOCKS]
            with new_shards(found.group.header, paths) as writers:
                await _rebuild(backend, found, forged, writers, str(directory))
                await publish(backend, writers, paths.values(), trailer.size, trailer.stripes, trailer.object_digest)
    made = set(paths.values())
    removed = tuple(state.path for state in report.copies if state.path is not None and state.path not in made)
    if removed:
        await backend.compute(_remove, removed)
    return Repaired(report, paths, removed)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    fsync_directory(paths[0].parent)


def _paths(found: OpenShards, report: Report) -> dict[int, Path]:
    """Where each shard is made again: where it was, or where its name belongs, but in the place of no shard.

    A further copy of one that is sound elsewhere is no hindrance there.
    """
    taken, places = _taken(found, report), found.places()
    paths: dict[int, Path] = {}
    for index in report.damaged:
        path = place = report.shards[index].path or places[index]
        free = count(2)
        while path in taken:
            path = shard_path(place.parent, f"{basename_of(place)}-{next(free)}", index)
        taken.add(path)
        paths[index] = path
    return paths


def _taken(found: OpenShards, report: Report) -> set[Path]:
    """Files that stay: of the object's sound shards the one that was found best, and copies under other names."""
    write_id, damaged = found.group.header.write_id, set(report.damaged)
    taken = set()
    for file in found.files:
        if file.header is None or file.header.write_id != write_id or file.header.index in damaged:
            continue
        best = report.shards[file.header.index].path
        if file.named not in damaged or best is None or _is(best, file.path):
            taken.add(file.path)
    return taken


def _is(best: Path, path: Path) -> bool:
    """Whether a path is a file, be it by a link."""
    return best == path or best.resolve() == path.parent.resolve() / path.name


async def _rebuild(
    backend: Backend, found: OpenShards, forged: Sequence[int], writers: Mapping[int, ShardWriter], what: str
) -> None:
    group, shards = found.group, found.shards
    for index in forged:
        group = group.holding(index, [])
    header, size = group.header, group.trailer.size
    layout = header.layout
    code = await backend.compute(group.code)
    wanted = list(writers)

    async def one(stripe: int) -> None:
        async def fetch(index: int) -> tuple[Bytes, Bytes]:
            return await backend.compute(read_block, shards[index], stripe, what)

        length = layout.block_len(stripe, size)
        rows = await gather_rows(code, header, stripe, length, fetch, group.missing(), wanted)
        blocks = await backend.compute(_blocks, code, header, stripe, rows, wanted)
        await asyncio.gather(*(backend.compute(writers[index].append, stripe, *blocks[index]) for index in wanted))

    await each(layout.stripes(size), one, header.n * header.block_bytes, CODING_BYTES_MAX)


def _blocks(
    code: Code, header: Header, stripe: int, rows: Mapping[int, Bytes], wanted: Sequence[int]
) -> dict[int, tuple[Bytes, Bytes]]:
    """The wanted blocks, with their digests."""
    rest = [index for index in wanted if index not in rows]
    made = dict(zip(rest, code.reconstruct(rows, rest), strict=True)) if rest else {}
    return {
        index: (block, granule_digests(replace(header, index=index), stripe, block))
        for index in wanted
        for block in [rows[index] if index in rows else made[index]]
    }
