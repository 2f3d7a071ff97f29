"""A config as TOML, and as people and programs may see it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from faultset_ray.config.sections import Root
from faultset_ray.config.tree import Section, sections, settings, value_of
from faultset_ray.errors.base import without_login
from faultset_ray.policy import Policy

HIDDEN: Final = "***"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(r"secret|token|passw|credential|private|(^|_)(api_?)?key$", re.IGNORECASE)


def to_toml(config: Root) -> str:
    """Every setting that is not as it is by default, and that a file may have."""
    return "\n".join("\n".join(lines) + "\n" for lines in _tables(config, Root, ""))


def shown(config: Root) -> dict[str, Any]:
    """Every value by key, as JSON can hold it; secrets, and what looks like one among a plug-in's options, hidden."""
    found: dict[str, Any] = {}
    for key, own in settings(Root).items():
        value = value_of(config, key)
        if own.secret:
            found[key] = None if value is None else HIDDEN
        elif key == "policies":
            found[key] = {name: asdict(policy) for name, policy in value.items()}
        else:
            found[key] = _open(value)
    return found


def _open(value: Any) -> Any:
    """A value without what looks like a secret, among options and in URLs."""
    if isinstance(value, str):
        return without_login(value)
    if isinstance(value, Mapping):
        return {key: HIDDEN if _SECRET.search(key) else _open(each) for key, each in value.items()}
    return [_open(each) for each in value] if isinstance(value, list) else value


def _tables(config: Root, of: type[Section], prefix: str) -> Iterator[list[str]]:
    own = []
    inner: list[list[str]] = []
    for key, each in settings(of, prefix).items():
        name, value = key.removeprefix(prefix), value_of(config, key)
        if "." in name or not each.in_file or value == each.default:
            continue
        if isinstance(value, Mapping):
            inner += _table(key, value)
        else:
            own.append(f"{name} = {_value(value)}")
    if own:
        yield [f"[{prefix[:-1]}]", *own] if prefix else own
    yield from inner
    for name, kind in sections(of).items():
        yield from _tables(config, kind, f"{prefix}{name}.")


def _table(header: str, pairs: Mapping[str, Any]) -> Iterator[list[str]]:
    """A mapping under its header, each one in it under its own."""
    plain = {key: each for key, each in pairs.items() if not isinstance(each, (Mapping, Policy))}
    if plain or not pairs:
        yield [f"[{header}]", *(f"{_key(key)} = {_value(each)}" for key, each in plain.items())]
    for key, each in pairs.items():
        if isinstance(each, Policy):
            yield [f"[{header}.{_key(key)}]", *each.to_toml().splitlines()]
        elif isinstance(each, Mapping):
            yield from _table(f"{header}.{_key(key)}", each)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)


def _text(text: str) -> str:
    """A basic string of TOML."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c) or (f"\\u{ord(c):04x}" if c < " " or c == "\x7f" else c) for c in text) + '"'
