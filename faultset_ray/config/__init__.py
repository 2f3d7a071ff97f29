"""Settings: one typed tree, and where each value comes from.

A value is taken from the first of these that has one: an argument or a flag; an environment variable; a TOML file
(the one that is named, else the one that ``FAULTSET_CONFIG`` names, else ``faultset.toml`` in the working directory);
its default. ``docs/configuration.md`` lists the settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from faultset_ray.config.files import File
from faultset_ray.config.http import Http
from faultset_ray.config.loading import Found, built, collect, known
from faultset_ray.config.sections import (
    Cluster,
    Codes,
    Health,
    Limits,
    Log,
    Probe,
    Repair,
    Root,
    Scrub,
    Security,
    Stores,
    Tracing,
)
from faultset_ray.config.tree import Source, value_of
from faultset_ray.config.writing import shown, to_toml
from faultset_ray.errors import InvalidConfig
from faultset_ray.telemetry import events

__all__ = [
    "Cluster",
    "Codes",
    "Config",
    "File",
    "Health",
    "Http",
    "InvalidConfig",
    "Limits",
    "Log",
    "Probe",
    "Repair",
    "Scrub",
    "Security",
    "Source",
    "Stores",
    "Tracing",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Root):
    """All settings. ``Config()`` has every default, and reads nothing; :meth:`load` looks everywhere.

    It is a value: equal to another with the same settings, wherever these come from. Its mappings are not to be
    changed.

    >>> Config(codes=Codes(put="rs:10+4")).codes.put
    'rs:10+4'

    Attributes
    ----------
    sources
        Where values come from that are not defaults, by key, such as ``codes.put``.
    file
        The file that was read, if one was.

    Raises
    ------
    InvalidConfig
        A value can't be what it is given as.
    """

    sources: Mapping[str, Source] = field(default_factory=dict, compare=False, repr=False)
    file: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        flags: Iterable[str] = (),
    ) -> Self:
        """Read settings from everywhere: flags, the environment, a file.

        Parameters
        ----------
        path
            The file; by default the one that ``FAULTSET_CONFIG`` names, else ``faultset.toml`` of the working
            directory, if it is there and this user's own.
        environ
            In place of the process's environment.
        flags
            Settings as ``KEY=VALUE``, which count most; of two for one key the last.

        Raises
        ------
        InvalidConfig
            The first thing that can't be used: an unknown key, with the nearest; a value; the file itself. Variables
            that look like ours and are none are logged as warnings, since others may set variables too.
        """
        found = collect(path, os.environ if environ is None else environ, flags)
        for each in found.unknown:
            events.SETTING_UNKNOWN.tell(reason=str(each))
        if found.problems:
            raise found.problems[0]
        return cls.made(found)

    @classmethod
    def from_toml(cls, text: str, where: str = "config") -> Self:
        """Read what :meth:`to_toml` writes, and nothing else; a setting that is left out has its default.

        Raises
        ------
        InvalidConfig
        """
        found = Found.of_file(File(where, text))
        if found.problems:
            raise found.problems[0]
        return cls.made(found)

    @classmethod
    def made(cls, found: Found) -> Self:
        """Make a config of what was found without problems."""
        return cls(**built(found), sources=found.sources, file=found.file)

    def to_toml(self) -> str:
        """Every setting that is not as it is by default, but for secrets and what a file may not have."""
        return to_toml(self)

    def shown(self) -> dict[str, Any]:
        """Every value by key, as JSON can hold it; secrets are hidden, if there are any."""
        return shown(self)

    def source(self, key: str) -> Source:
        """Where a value comes from.

        Raises
        ------
        KeyError
            There is no such setting.
        """
        own = known()[key]
        if key in self.sources:
            return self.sources[key]
        return Source() if value_of(self, key) == own.default else Source("argument")
