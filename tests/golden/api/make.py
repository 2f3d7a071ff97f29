"""Write down the public face of this version, as ``tests/golden/test_api_golden.py`` compares later ones with it.

``PYTHONPATH=.:tests python -m golden.api.make``, when a version is released that may change it (docs/versioning.md).
"""

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

import faultset_ray as fs
from jobs.cli import application

WRITTEN = Path(__file__).with_name("api.json")


def describe() -> dict[str, Any]:
    """Names, parameters, errors, verbs and options, as plain data."""
    names = [name for name in fs.__all__ if not name.startswith("_")]
    return {
        "version": fs.__version__,
        "names": sorted(names),
        "calls": dict(sorted(calls(names))),
        "errors": {
            error.__name__: [error.code, int(error.exit_code)] for error in sorted(errors(), key=lambda e: e.__name__)
        },
        "verbs": dict(sorted(verbs())),
    }


def calls(names: list[str]) -> Iterator[tuple[str, list[list[Any]]]]:
    """What can be called: functions, constructors, and the drivers' methods."""
    for name in names:
        value = getattr(fs, name)
        if inspect.isclass(value):
            if not issubclass(value, Exception):
                yield name, parameters(value)
                methods = inspect.getmembers(value, lambda own: inspect.isfunction(own) or inspect.ismethod(own))
                yield from ((f"{name}.{own}", parameters(call)) for own, call in methods if not own.startswith("_"))
        elif callable(value):
            yield name, parameters(value)


def parameters(call: Callable[..., Any]) -> list[list[Any]]:
    """Name, kind and whether it may be left out; none where Python can't tell."""
    try:
        signature = inspect.signature(call)
    except ValueError:
        return []
    return [
        [
            each.name,
            each.kind.name,
            each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD),
        ]
        for each in signature.parameters.values()
        if each.name != "self"
    ]


def errors(base: type[fs.FaultsetError] = fs.FaultsetError) -> Iterator[type[fs.FaultsetError]]:
    yield base
    for child in base.__subclasses__():
        if child.__module__.startswith("faultset_ray.errors"):
            yield from errors(child)


def verbs() -> Iterator[tuple[str, list[list[Any]]]]:
    """Each verb's options and arguments, and whether they must be given."""
    for name, verb in get_command(application).commands.items():
        yield name, sorted([sorted(each.opts), each.required] for each in verb.params)


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(describe(), indent=1, sort_keys=True) + "\n")
