"""JSON Schemas (draft 2020-12) of what verbs print, made of the types in :mod:`jobs.results`."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, ClassVar, Final, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from faultset_ray._version import __version__
from faultset_ray.control.states import Named
from jobs.results import LINES, RESULTS

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NUMBER: Final = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}
"""JSON has no infinity: it is a text."""
_PLAIN: Final = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    NoneType: {"type": "null"},
}
_ERROR: Final = {
    "description": "Why it failed: a stable code, a text for people, and numbers by their names.",
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}


def result_schema(verb: str) -> dict[str, Any]:
    """The schema of a verb's last line: its result, or an error with as much of the result as was known.

    Raises
    ------
    KeyError
        There is no such verb.
    """
    whole = schema_of(RESULTS[verb])
    choices = whole.get("anyOf", [whole])
    failed = {
        "type": "object",
        "properties": {**{key: each for one in choices for key, each in one["properties"].items()}, "error": _ERROR},
        "required": ["error"],
        "additionalProperties": False,
    }
    title = f"faultset {verb}, {__version__}"
    return {"$schema": DRAFT, "title": title, "anyOf": [*choices, failed]}


def line_schema(verb: str) -> dict[str, Any]:
    """The schema of each line before the last, of verbs that have some.

    Raises
    ------
    KeyError
        The verb has none.
    """
    return {"$schema": DRAFT, "title": f"faultset {verb}, a line, {__version__}", **schema_of(LINES[verb])}


def schema_of(kind: Any) -> dict[str, Any]:
    """The schema of values of a type, as JSON has them; objects have the keys that are named, and no others."""
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if kind is float:
        return dict(_NUMBER)
    if kind is Any:
        return {}
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return {"anyOf": [schema_of(each) for each in inner]}
    if origin is Literal:
        return {"enum": [*inner]}
    if origin in {list, Sequence} or (origin is tuple and inner[-1] is ...):
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is tuple:
        items = [schema_of(each) for each in inner]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin in {dict, Mapping}:
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [each.label if isinstance(each, Named) else each.value for each in kind]}
    return _object(kind)


def _object(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    fields = {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}
    if not (is_typeddict(kind) or dataclasses.is_dataclass(kind)):
        raise TypeError(f"{kind} has no schema")
    optional = {name for name, hint in fields.items() if get_origin(hint) is NotRequired}
    bare = {name: get_args(hint)[0] if name in optional else hint for name, hint in fields.items()}
    return {
        "type": "object",
        "properties": {name: schema_of(hint) for name, hint in bare.items()},
        "required": [name for name in bare if name not in optional],
        "additionalProperties": False,
    }
