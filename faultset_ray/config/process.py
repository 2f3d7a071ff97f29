"""Where a config takes hold outside of the driver that was given it: in processes, and at places."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faultset_ray.codes import engine, registry
from faultset_ray.config import Config
from faultset_ray.config.loading import CONFIG, collect, known
from faultset_ray.config.tree import value_of
from faultset_ray.errors import FaultsetError, InvalidConfig
from faultset_ray.telemetry import events, tracing


def apply(config: Config) -> None:
    """Make this process go by what a config says of processes; what it leaves open stays as it is.

    Raises
    ------
    InvalidConfig
        This machine has no such engine; a plug-in is not there, or refuses its options; no traces can be made so.
    """
    for problem in (_apply_engine(config), *_apply_plugins(config), _apply_tracing(config)):
        if problem is not None:
            raise problem


def variables(config: Config) -> dict[str, str]:
    """What a config says of processes, as environment variables of those that a driver starts."""
    found = {}
    for key, own in known().items():
        value = value_of(config, key)
        if own.reader == "process" and value != own.default:
            found[own.variables[0]] = _text(value)
    return found


def at_place(key: str) -> Any:
    """The value of a setting that each place has for itself, in the process that asks.

    It is that of this machine's environment, or of the file that ``FAULTSET_CONFIG`` names in it by an absolute path:
    a worker of Ray has a working directory of Ray's own, and what a driver's machine says of its disks means nothing
    here. What is wrong with other settings is only logged: it must keep no store from its shards.

    Raises
    ------
    InvalidConfig
        The file can't be read, or the value can't be used.
    """
    path = os.environ.get(CONFIG) or None
    if path is not None and not Path(path).is_absolute():
        raise InvalidConfig(f"variable {CONFIG}", "", f"is {path!r}; at a place it must be an absolute path")
    found = collect(None, os.environ, here=False)
    for problem in found.problems:
        if problem.key in {"", key}:
            raise problem
        events.SETTING_UNUSABLE.tell(error=problem)
    return found.values.get(key, known()[key].default)


def examine(config: Config) -> list[InvalidConfig]:
    """What of a config can't work on this machine: codes that can't be built, promises they can't keep, plug-ins."""
    problems = [problem for problem in (_apply_engine(config), *_apply_plugins(config)) if problem is not None]
    for key in ("codes.put", "codes.encode"):
        try:
            code = registry.get(value_of(config, key))
        except FaultsetError as error:
            problems.append(_problem(config, key, str(error)))
            continue
        promised = config.codes.tolerate
        if key == "codes.put" and promised is not None and promised > code.tolerance:
            reason = f"is {promised}; {code.spec} bears {code.tolerance} losses"
            problems.append(_problem(config, "codes.tolerate", reason))
    if config.health.repair.after_s < config.health.repair.soon_s:
        reason = f"is {config.health.repair.after_s:g}; it can't be before soon_s, {config.health.repair.soon_s:g}"
        problems.append(_problem(config, "health.repair.after_s", reason))
    exposed = config.http.unguarded()
    if exposed is not None:
        problems.append(_problem(config, exposed.key, exposed.reason))
    return problems


# -- Inside


def _apply_engine(config: Config) -> InvalidConfig | None:
    try:
        if config.codes.engine is not None:
            engine.choose(config.codes.engine)
    except FaultsetError as error:
        return _problem(config, "codes.engine", str(error))
    return None


def _apply_plugins(config: Config) -> list[InvalidConfig]:
    problems = []
    for name, options in config.plugins.items():
        try:
            registry.configure(name, options)
        except FaultsetError as error:
            problems.append(_problem(config, f"plugins.{name}", str(error)))
    return problems


def _apply_tracing(config: Config) -> InvalidConfig | None:
    try:
        tracing.configure(config.tracing.setup, names=config.tracing.names)
    except FaultsetError as error:
        return _problem(config, "tracing.setup", str(error))
    return None


def _problem(config: Config, key: str, reason: str) -> InvalidConfig:
    source = config.source(key if key in known() else key.partition(".")[0])
    return InvalidConfig("" if source.kind in {"default", "argument"} else source.name, key, reason)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return "1" if value is True else str(value)
