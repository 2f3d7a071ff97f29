"""Shard files in a directory of the user's: their names, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from faultset_ray.errors import AmbiguousObjectError, InputError, NotEnoughShards
from faultset_ray.shards.format import Header, Trailer
from faultset_ray.shards.reader import ShardFile, inspect

_INDEX = re.compile(r"\.(\d{3,5})\.shard$")


@dataclass(frozen=True, slots=True)
class ShardGroup:
    """The shards of one write that were found."""

    header: Header
    """Of the write; its index is 0 whether or not that shard is there."""
    trailer: Trailer
    """Of the write; the table digest, which each shard has its own of, is empty."""
    paths: dict[int, Path]
    """The usable shard files by index."""
    missing: dict[int, str]
    """Why each other shard is unusable, by index."""


def shard_path(directory: Path, basename: str, index: int) -> Path:
    """``DIRECTORY/BASENAME.007.shard``: what a file's shard 7 is called. Only the header inside counts."""
    return directory / f"{basename}.{index:03d}.shard"


def scan(directory: Path) -> list[ShardFile]:
    """Look at every ``*.shard`` file of a directory, sound or not, in order of their names.

    Raises
    ------
    InputError
        If it is not a directory that can be listed.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(".shard"))
    except OSError as error:
        raise InputError(f"{directory} can't be listed: {error.strerror}") from error
    return [_inspect(path) for path in paths]


def choose(files: Iterable[ShardFile], what: str = "") -> ShardGroup:
    """Find the one write that can be decoded.

    A write counts as decodable with k shards; a code that is not MDS may still find that they don't suffice.
    Where a shard is there twice, the first is taken.

    Parameters
    ----------
    files
        As from :func:`scan`.
    what
        How errors name the pile.

    Raises
    ------
    AmbiguousObjectError
        If more than one write can be decoded.
    NotEnoughShards
        If none can; it tells of the write that comes nearest why each of its shards is unusable.
    """
    files = list(files)
    found: dict[tuple[Header, Trailer], dict[int, Path]] = {}
    for file in files:
        if file.header is not None and file.trailer is not None:
            write = replace(file.header, index=0), replace(file.trailer, table_digest=b"")
            found.setdefault(write, {}).setdefault(file.header.index, file.path)
    decodable = [(header, trailer) for (header, trailer), paths in found.items() if len(paths) >= header.k]
    if len(decodable) > 1:
        raise AmbiguousObjectError(
            f"{header.write_id.hex()} ({header.spec}, {trailer.size:,} bytes)" for header, trailer in decodable
        )
    if not decodable:
        raise _not_enough(files, found, what)
    header, trailer = decodable[0]
    paths = found[header, trailer]
    return ShardGroup(header, trailer, paths, _missing(header, paths, files))


def _not_enough(
    files: list[ShardFile], found: dict[tuple[Header, Trailer], dict[int, Path]], what: str
) -> NotEnoughShards:
    if found:
        (header, _), paths = max(found.items(), key=lambda write: len(write[1]) / write[0][0].k)
        return NotEnoughShards(len(paths), header.k, _missing(header, paths, files), what)
    header_or_none = next((file.header for file in files if file.header is not None), None)
    if header_or_none is not None:
        return NotEnoughShards(0, header_or_none.k, _missing(header_or_none, {}, files), what)
    damaged = {index: file.reason for file in files if (index := _index(file)) is not None}
    return NotEnoughShards(0, 1, damaged, what)


def _missing(header: Header, paths: dict[int, Path], files: list[ShardFile]) -> dict[int, str]:
    """Why each shard of a write that has no path has none."""
    missing = {index: "missing" for index in range(header.n) if index not in paths}
    for file in files:
        ours = file.header is None or file.header.write_id == header.write_id
        if file.reason and ours and (index := _index(file)) in missing:
            missing[index] = file.reason
    return missing


def _index(file: ShardFile) -> int | None:
    """Which shard an unusable file was to be: by its header, or else by its name."""
    if file.header is not None:
        return file.header.index
    match = _INDEX.search(file.path.name)
    return int(match[1]) if match else None


def _inspect(path: Path) -> ShardFile:
    try:
        return inspect(path)
    except OSError as error:
        return ShardFile(path, None, None, f"can't be read: {error.strerror}")
