"""Reading a file of settings, and on which line each one stands."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from faultset_ray.errors import InvalidConfig
from faultset_ray.limits import MIB

FILE: Final = "faultset.toml"
"""What is looked for in the working directory."""
BYTES_MAX: Final = MIB
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_ENTRY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


class File:
    """A file that was read.

    Attributes
    ----------
    path : str
    table
        What it says.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        try:
            self.table: Mapping[str, Any] = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
            raise InvalidConfig(path, "", f"is not TOML: {why}") from None
        self._lines = _lines(text)

    def where(self, key: str) -> str:
        """The file; and the line of a key, of the first one in it, or of its table, if that is found."""
        inside = [line for name, line in self._lines.items() if name.startswith(f"{key}.")]
        if key not in self._lines and inside:
            return f"{self.path}, line {inside[0]}"
        while key:
            if key in self._lines:
                return f"{self.path}, line {self._lines[key]}"
            key = key.rpartition(".")[0]
        return self.path


def read(path: str | os.PathLike[str]) -> File:
    """Read a file that was named.

    Raises
    ------
    InvalidConfig
        It can't be read, is larger than 1 MiB, or no TOML in UTF-8.
    """
    name = os.fspath(path)
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidConfig(repr(name)[:80], "", "is not the path of a file")
    try:
        with Path(name).open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise InvalidConfig(name, "", f"can't be read: {error.strerror or error}") from None
    if len(raw) > BYTES_MAX:
        raise InvalidConfig(name, "", f"is larger than {BYTES_MAX:,} bytes")
    try:
        return File(name, raw.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise InvalidConfig(name, "", f"is not UTF-8: {error}") from None


def find() -> File | None:
    """Read ``faultset.toml`` of the working directory, if there is one.

    It names a cluster, and who runs it runs our code; so nobody else's is taken because somebody stands beside it.

    Raises
    ------
    InvalidConfig
        As :func:`read`; or it belongs to another user, or everybody may write to it.
    """
    try:
        found = os.stat(FILE)  # noqa: PTH116 - beside geteuid
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidConfig(FILE, "", f"can't be read: {error.strerror or error}") from None
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & stat.S_IWOTH:
        why = "everybody may write to it" if found.st_mode & stat.S_IWOTH else f"it belongs to user {found.st_uid}"
        raise InvalidConfig(FILE, "", f"is not used unasked, since {why}; name it with --config or FAULTSET_CONFIG")
    return read(FILE)


def _lines(text: str) -> dict[str, int]:
    """The line of each table and of each key that begins one; what stands inside values may be missed."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _dotted(header[1])
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            key = _dotted(entry[1])
            found.setdefault(f"{table}.{key}" if table else key, number)
    return found


def _dotted(text: str) -> str:
    return ".".join(part.strip("\"'") for part in _PART.findall(text))
