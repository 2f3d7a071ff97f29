"""One error of each class, made from its constructor's annotations."""

from __future__ import annotations

import inspect
from typing import Any

from faultset_ray import errors
from faultset_ray.errors import FaultsetError

VALUES: dict[str, Any] = {
    "int": 7,
    "int | None": 4096,
    "bool": False,
    "float": 2.5,
    "str": "ein Wort: [x]",
    "str | None": "node-1",
    "object": b"\x00odd",
    "Iterable[str]": ("one", "two"),
    "Iterable[int]": (2, 5),
    "Mapping[str, int]": {"lat": 3, "lon": 4},
    "Mapping[str, str]": {"uuid-1": "gone", "uuid-2": "full"},
    "Mapping[int, str]": {2: "missing", 5: "corrupt"},
    "Mapping[int, str] | None": {0: "can't be read", 3: "ends within the header"},
    "Mapping[int, int] | int": {0: 64, 1: 128},
}


def classes() -> list[type[FaultsetError]]:
    """Every class of the tree, in no order that matters."""
    found: list[type[FaultsetError]] = []
    pending: list[type[FaultsetError]] = [FaultsetError]
    while pending:
        found.append(pending.pop())
        pending.extend(cls for cls in found[-1].__subclasses__() if cls.__module__.startswith(errors.__name__))
    return sorted(set(found), key=lambda cls: cls.__name__)


def has_constructor(cls: type[FaultsetError]) -> bool:
    """Whether it, or a base of ours, takes arguments of its own."""
    return any("__init__" in vars(base) for base in cls.__mro__ if base.__module__.startswith(errors.__name__))


def sample(cls: type[FaultsetError]) -> FaultsetError:
    """An error of the class with all its arguments given; a class without a constructor gets a text."""
    if not has_constructor(cls):
        return cls() if "__str__" in vars(cls) else cls("what went wrong")
    parameters = list(inspect.signature(cls).parameters.values())
    return cls(*(VALUES[parameter.annotation] for parameter in parameters))


async def raise_sample(_net: object, name: str) -> None:
    """Raise it, as a task."""
    raise sample(getattr(errors, name))
