"""What JSON has no form for, or two: infinity, and a key that stands twice; and the paths of files of text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from faultset_ray.errors import FaultsetError, InputError
from faultset_ray.errors.base import shown

INFINITE: Final = "inf"
"""How infinity is written in JSON, as a text, and read back; TOML and CSV have the same word for it."""


def finite(value: Any) -> Any:
    """A value as JSON can hold it: infinity as a text, all else as it is."""
    return INFINITE if isinstance(value, float) and value == math.inf else value


def infinite(value: Any) -> Any:
    """The opposite of :func:`finite`."""
    return math.inf if value == INFINITE else value


def plain(value: Any) -> Any:
    """A value as JSON can hold it: what is not finite, or not known to JSON, becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def told(error: FaultsetError) -> dict[str, Any]:
    """An error's numbers, its code and its message, as plain values."""
    described: dict[str, Any] = plain({**error.fields(), "code": error.code, "message": str(error)})
    return described


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object, as ``object_pairs_hook``; of two values of one key it is not known which one counts.

    Raises
    ------
    InputError
        A key stands twice.
    """
    given = dict(pairs)
    if len(given) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"it has {shown(twice)} twice")
    return given


def check_path(what: str, path: Any, suffixes: str) -> Path:
    """Return a path of a file; ``suffixes`` says in an error which ones are expected.

    Raises
    ------
    InputError
        It is no text or path, or has a NUL character, which no file's name may have.
    """
    if not isinstance(path, (str, PathLike)) or "\0" in str(path):
        raise InputError(f"{what} {shown(path)}; expected the path of a {suffixes} file")
    try:
        return Path(path)
    except TypeError:  # a path of bytes
        raise InputError(f"{what} {shown(path)}; expected the path of a {suffixes} file as text") from None
