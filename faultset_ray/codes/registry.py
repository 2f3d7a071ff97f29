"""Codes by name, built in or from other distributions, each loaded when first asked for.

A distribution adds a code with an entry point of the group ``faultset_ray.codes`` whose name is the
code's and whose object is a subclass of :class:`~faultset_ray.codes.base.Code`::

    [project.entry-points."faultset_ray.codes"]
    mirror = "my_package.mirror:Mirror"

What it is to know beyond its spec are options, the table ``plugins.mirror`` of the config: its ``configure`` is given
them once, before the first code of it is made in a process. A driver hands them to the processes that it starts in
``FAULTSET_PLUGINS``, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from faultset_ray.errors import FaultsetError, InputError, InvalidCodeSpec
from faultset_ray.limits import FORMAT_SHARDS_MAX

from .base import Code
from .spec import Spec, is_name, parse

GROUP: Final = "faultset_ray.codes"

_BUILT_IN: Final = {
    "copy": "small:Copy",
    "ldpc": "ldpc:Staircase",
    "lrc": "lrc:LocalReconstruction",
    "rs": "rs:ReedSolomon",
    "xor": "small:Xor",
}
_INSTANCES_MAX = 256
_PLUGINS: Final = "FAULTSET_PLUGINS"

_options: dict[str, Mapping[str, Any]] = {}
"""What plug-ins were configured with; nothing, where they made codes without."""


def get(spec: str | Code) -> Code:
    """Return the code that ``spec`` names, such as ``"rs:10+4"``; equal codes for equal specs.

    It is the same object as long as it is one of the 256 used last. A code stands for its own spec.

    Raises
    ------
    InvalidCodeSpec
        If the text can't be understood, or its numbers are out of the code's range.
    """
    text = spec.spec if isinstance(spec, Code) else spec
    return _cached(text if isinstance(text, str) else str(parse(text)))


def available() -> tuple[str, ...]:
    """Return the names of all codes that :func:`get` can build, plug-ins among them, sorted.

    Not those of entry points that are no name of a code, or one that is built in: a warning tells of them.
    """
    return tuple(sorted({*_BUILT_IN, *_plugins()}))


def from_config(config: Mapping[str, Any]) -> Code:
    """Return the code whose :meth:`~faultset_ray.codes.base.Code.get_config` this is.

    Raises
    ------
    InvalidCodeSpec
        If it is none.
    """
    text = repr(config)[:100]
    if not isinstance(config, Mapping) or set(config) != {"name", "shape", "options"}:
        raise InvalidCodeSpec(text, "expected a mapping with the keys name, shape and options")
    name, shape, options = config["name"], config["shape"], config["options"]
    if not isinstance(name, str):
        raise InvalidCodeSpec(text, "name is no text")
    if not isinstance(shape, list | tuple) or not all(type(number) is int for number in shape):
        raise InvalidCodeSpec(text, "shape is no list of integers")
    if not isinstance(options, Mapping) or not all(isinstance(item, str) for pair in options.items() for item in pair):
        raise InvalidCodeSpec(text, "options are no mapping of text to text")
    return get(str(Spec(name, tuple(shape), options)))


def configure(name: str, options: Mapping[str, Any]) -> None:
    """Hand options to the plug-in of an entry point, in this process. The same again do nothing.

    Raises
    ------
    InvalidCodeSpec
        There is no such plug-in, or it can't be loaded.
    InputError
        It takes no such options; or it was given others before.
    """
    if name in _options:
        if dict(options) != _options[name]:
            raise InputError(
                f"plug-in {name!r} made codes in this process before, with other options or none: start another one"
            )
        return
    if name not in _plugins():
        raise InvalidCodeSpec(name, f"no plug-in; there are: {', '.join(sorted(_plugins())) or 'none'}")
    _configured(name, _loaded(Spec(name, (), {}), _plugins()[name]), options)


@lru_cache(_INSTANCES_MAX)
def _cached(text: str) -> Code:
    spec = parse(text)
    kind = _type(spec)
    code = _built(kind, spec)
    if code.spec == text:
        return code
    if _built(kind, parse(code.spec)).spec != code.spec:
        raise spec.fail(f"its canonical form {code.spec!r} is not stable: the code's from_spec is at fault")
    return _cached(code.spec)


def _built(kind: type[Code], spec: Spec) -> Code:
    """What ``from_spec`` makes, once it is known to be a code that the rest can work with."""
    try:
        code = kind.from_spec(spec)
        k, n, made = code.k, code.n, code.spec
    except FaultsetError:
        raise
    except Exception as error:
        raise spec.fail(f"{_home(kind)} raised {type(error).__name__}: {error}") from error
    if not isinstance(made, str) or type(k) is not int or type(n) is not int or not 1 <= k <= n <= FORMAT_SHARDS_MAX:
        raise spec.fail(
            f"{_home(kind)} made a code of k = {k!r}, n = {n!r} and spec {made!r}; "
            f"expected integers, 1 or more, k up to n and n up to {FORMAT_SHARDS_MAX}, and a text"
        )
    return code


def _home(kind: type[Code]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _type(spec: Spec) -> type[Code]:
    home = _BUILT_IN.get(spec.name)
    if home is not None:
        module, name = home.split(":")
        built_in: type[Code] = getattr(import_module(f".{module}", __package__), name)
        return built_in
    point = _plugins().get(spec.name)
    if point is None:
        raise spec.fail(f"unknown code; there are: {', '.join(available())}")
    found = _loaded(spec, point)
    if spec.name not in _options:
        given = _given_by_environment(spec)
        if given is None:
            _options[spec.name] = {}
        else:
            _configured(spec.name, found, given)
    return found


def _given_by_environment(spec: Spec) -> Mapping[str, Any] | None:
    """The options that the driver which started this process has for a plug-in."""
    try:
        options = json.loads(os.environ.get(_PLUGINS) or "{}").get(spec.name)
        return None if options is None else dict(options)
    except (ValueError, TypeError, AttributeError) as error:
        raise spec.fail(f"{_PLUGINS} is no JSON object of objects: {error}") from None


def _configured(name: str, kind: type[Code], options: Mapping[str, Any]) -> None:
    try:
        kind.configure(dict(options))
    except FaultsetError:
        raise
    except Exception as error:
        raise InputError(f"{_home(kind)}.configure raised {type(error).__name__}: {error}") from error
    _options[name] = dict(options)


def _loaded(spec: Spec, point: EntryPoint) -> type[Code]:
    try:
        found = point.load()
    except Exception as error:
        place = f" of {point.dist.name}" if point.dist else ""
        raise spec.fail(
            f"entry point {point.value!r}{place} can't be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Code)):
        raise spec.fail(f"entry point {point.value!r} is no subclass of faultset_ray.codes.Code")
    return found


def _plugins() -> Mapping[str, EntryPoint]:
    """Codes of other distributions by name; looked for again once something was installed."""
    return _plugins_of(tuple((place, Path(place).stat().st_mtime_ns) for place in sys.path if Path(place).is_dir()))


@lru_cache(1)
def _plugins_of(_places: tuple[tuple[str, int], ...]) -> Mapping[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in reversed(tuple(entry_points(group=GROUP))):  # the first of a name counts
        if point.name in _BUILT_IN or not is_name(point.name):
            why = "is a code that is built in" if point.name in _BUILT_IN else "is no name of a code"
            warnings.warn(f"entry point {point.value!r} is left out: {point.name!r} {why}", stacklevel=2)
        else:
            found[point.name] = point
    return found
