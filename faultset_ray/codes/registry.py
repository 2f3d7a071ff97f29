"""Codes by name, loaded when first asked for."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Final

from .base import Code
from .spec import Spec, parse

_HOME: Final = {"rs": "rs:ReedSolomon"}
_INSTANCES_MAX = 256


def get(spec: str) -> Code:
    """Return the code that ``spec`` names, such as ``"rs:10+4"``; the same object for the same code.

    Raises
    ------
    InvalidCodeSpec
        If the text can't be understood, or its numbers are out of the code's range.
    """
    return _cached(spec if isinstance(spec, str) else str(parse(spec)))


@lru_cache(_INSTANCES_MAX)
def _cached(text: str) -> Code:
    spec = parse(text)
    code = _type(spec).from_spec(spec)
    return code if code.spec == text else _cached(code.spec)


def _type(spec: Spec) -> type[Code]:
    home = _HOME.get(spec.name)
    if home is None:
        raise spec.fail(f"unknown code; there are: {', '.join(sorted(_HOME))}")
    module, name = home.split(":")
    found: type[Code] = getattr(import_module(f".{module}", __package__), name)
    return found
