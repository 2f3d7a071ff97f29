"""Shard files in a directory of the user's: their names, and what they are."""

from __future__ import annotations

import re
from pathlib import Path

from faultset_ray.errors import InputError
from faultset_ray.shards.reader import ShardFile, inspect


def shard_path(directory: Path, basename: str, index: int) -> Path:
    """``DIRECTORY/BASENAME.007.shard``: what a file's shard 7 is called. Only the header inside counts."""
    return directory / f"{basename}.{index:03d}.shard"


def basename_of(path: Path) -> str:
    """What a shard file is called after, as far as its name tells."""
    return re.sub(r"(\.\d{3,5})?\.shard$", "", path.name)


def waiting_path(path: Path) -> Path:
    """``BASENAME.007.new.shard``: what a shard is called that is to replace others, until they are gone."""
    return path.with_name(f"{path.name.removesuffix('.shard')}.new.shard")


def shards_named(directory: Path, basename: str) -> list[Path]:
    """What lies in a directory under the names that :func:`shard_path` and :func:`waiting_path` give."""
    name = re.compile(re.escape(basename) + r"\.\d{3,5}(\.new)?\.shard")
    return sorted(path for path in directory.iterdir() if name.fullmatch(path.name))


def scan(directory: Path) -> list[ShardFile]:
    """Look at every ``*.shard`` file of a directory, sound or not, in order of their names.

    Raises
    ------
    InputError
        If it is not a directory that can be listed.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(".shard"))
    except FileNotFoundError:
        raise InputError(f"there is no directory {directory}; expected the one that holds the shard files") from None
    except NotADirectoryError:
        raise InputError(f"{directory} is no directory; expected the one that holds the shard files") from None
    except OSError as error:
        raise InputError(f"{directory} can't be listed: {error.strerror}") from error
    return [_inspect(path) for path in paths]


def _inspect(path: Path) -> ShardFile:
    try:
        return inspect(path)
    except OSError as error:
        return ShardFile(path, None, None, f"can't be read: {error.strerror}")
