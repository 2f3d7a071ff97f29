"""Putting a config together: flags before variables before a file before defaults, all problems found at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Self

from faultset_ray.config.files import File, find, read
from faultset_ray.config.sections import Root
from faultset_ray.config.tree import PREFIX, Section, Setting, Source, sections, settings
from faultset_ray.errors import InvalidConfig

CONFIG: Final = f"{PREFIX}CONFIG"
"""The variable that names the file."""
_NOT_OURS = re.compile(rf"{PREFIX}(TEST_\w+|(\w+_)?SERVICE_(HOST|PORT(_\w+)?)|(\w+_)?PORT(_[0-9]+_(TCP|UDP)(_\w+)?)?)")
"""Our tests', and those that Kubernetes gives every container for a service called ``faultset-…``."""
_SERVICE = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+")
"""What it says in ``FAULTSET_HTTP_PORT`` for one called ``faultset-http``: no port of ours."""


@dataclass(slots=True)
class Found:
    """What was found in all places."""

    values: dict[str, Any] = field(default_factory=dict)
    """By key; what nobody set is left out."""
    sources: dict[str, Source] = field(default_factory=dict)
    problems: list[InvalidConfig] = field(default_factory=list)
    """In the order of the places."""
    unknown: list[InvalidConfig] = field(default_factory=list)
    """Variables that look like ours and are none."""
    file: str | None = None
    """The file that was read."""

    @classmethod
    def of_file(cls, file: File) -> Self:
        """What a file says, and nothing else."""
        found = cls(file=file.path)
        _take_table(found, file, file.table, Root, "")
        return found

    def take(self, own: Setting, value: Any, source: Source) -> None:
        """Set a value, over what was set before."""
        self.values[own.key] = value
        self.sources[own.key] = source


def known() -> Mapping[str, Setting]:
    """Every setting, by key."""
    return settings(Root)


def collect(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], flags: Iterable[str] = (), *, here: bool = True
) -> Found:
    """Look in every place.

    Parameters
    ----------
    path
        The file that was asked for; by default the one that ``FAULTSET_CONFIG`` names.
    environ
        The environment.
    flags
        As ``KEY=VALUE``.
    here
        Whether ``faultset.toml`` of the working directory does, where no file was asked for.
    """
    file: File | None = None
    found = Found()
    try:
        named = path if path is not None else environ.get(CONFIG) or None
        file = read(named) if named is not None else find() if here else None
    except InvalidConfig as error:
        found.problems.append(error)
    if file is not None:
        found = Found.of_file(file)
    _take_variables(found, environ)
    for flag in flags:
        _take_flag(found, flag)
    return found


def built(found: Found) -> dict[str, Any]:
    """The arguments of the root section: its sections and settings, as they were found."""
    return _built(Root, "", found.values)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name most like another; what stands behind the last dot counts as much as the whole."""

    def likeness(other: str) -> float:
        ends = name.rpartition(".")[2], other.rpartition(".")[2]
        return difflib.SequenceMatcher(None, name, other).ratio() + difflib.SequenceMatcher(None, *ends).ratio()

    return max(names, key=likeness)


@cache
def variables() -> Mapping[str, Setting]:
    """The settings by the names of their variables."""
    return {name: own for own in known().values() for name in own.variables}


# -- Inside


def _take_table(found: Found, file: File, table: Mapping[str, Any], of: type[Section], prefix: str) -> None:
    inner = sections(of)
    for name, value in table.items():
        key = prefix + name
        own = known().get(key)
        where = file.where(key)
        if name in inner:
            if isinstance(value, Mapping):
                _take_table(found, file, value, inner[name], f"{key}.")
            else:
                reason = f"is a section: expected a table, [{key}]"
                found.problems.append(InvalidConfig(where, key, reason))
        elif own is None:
            found.problems.append(InvalidConfig(where, key, "is no setting", nearest(key, [*known(), *_tables()])))
        elif not own.in_file:
            reason = f"may not stand in a file; set the variable {own.variables[0]}"
            found.problems.append(InvalidConfig(where, key, reason))
        else:
            try:
                found.take(own, own.checked(value, where), Source("file", where))
            except InvalidConfig as error:
                found.problems.append(InvalidConfig(file.where(error.key), error.key, error.reason))


def _tables(of: type[Section] = Root, prefix: str = "") -> list[str]:
    """The keys of all sections."""
    found = []
    for name, kind in sections(of).items():
        found += [prefix + name, *_tables(kind, f"{prefix}{name}.")]
    return found


def _take_variables(found: Found, environ: Mapping[str, str]) -> None:
    for own in known().values():
        name = next((name for name in own.variables if _is_set(name, environ)), None)
        if name is not None:
            _take_text(found, own, environ[name], "variable", name)
    names = [*variables(), CONFIG]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in names and not _NOT_OURS.fullmatch(name):
            meant = nearest(name, [other for other in names if other.startswith(PREFIX)])
            found.unknown.append(InvalidConfig(f"variable {name}", "", "is of no setting, and changes nothing", meant))


def _is_set(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a variable sets anything: an empty one is as none, and so is what Kubernetes says of a service."""
    text = environ.get(name, "")
    return text != "" and not (_NOT_OURS.fullmatch(name) and _SERVICE.fullmatch(text))


def _take_flag(found: Found, flag: str) -> None:
    key, given, text = flag.partition("=")
    own = known().get(key)
    if not given:
        found.problems.append(InvalidConfig("--set", flag[:80], "is not KEY=VALUE"))
    elif own is None:
        found.problems.append(InvalidConfig("--set", key[:80], "is no setting", nearest(key[:80], known())))
    elif not own.in_file:
        reason = f"may not be a flag; set the variable {own.variables[0]}"
        found.problems.append(InvalidConfig("--set", key, reason))
    else:
        _take_text(found, own, text, "flag", "--set")


def _take_text(found: Found, own: Setting, text: str, kind: Any, name: str) -> None:
    try:
        found.take(own, own.read(text, name if kind == "flag" else f"variable {name}"), Source(kind, name))
    except InvalidConfig as error:
        found.problems.append(error)


def _built(of: type[Section], prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        name: kind(**_built(kind, f"{prefix}{name}.", values)) for name, kind in sections(of).items()
    }
    for key in settings(of, prefix):
        name = key.removeprefix(prefix)
        if "." not in name and key in values:
            made[name] = values[key]
    return made
