"""The command ``faultset``: every job is a verb of it, loaded when it is chosen."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from faultset_ray._version import __version__
from jobs import completing
from jobs.output import app, run
from jobs.settings import session, takes_settings

VERBS: Final = (
    *("failover", "register", "observe", "survivors", "why", "plan", "watch", "mark", "regions", "map", "replay"),
    *("put", "get", "ls", "stat", "rm", "status", "scrub", "repair", "decommission", "rebuild"),
    *("up", "down", "serve", "submit", "doctor"),
    *("encode", "decode", "verify", "drill", "bench"),
    *("config", "token", "schema"),
)
"""Each is a module of this package, with a function of its name, or an ``application`` of several."""


@cache
def command(verb: str) -> Any:
    """The command of a verb; its module is loaded for it, which must load no more than names and options need."""
    module = import_module(f"jobs.{verb}")
    several = getattr(module, "application", None)
    made = get_command(app(getattr(module, verb)) if several is None else several)
    made.name = verb
    return made


class _Commands(MutableMapping[str, Any]):
    """The verbs by name; each is loaded when it is looked at."""

    def __getitem__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise KeyError(verb)
        return command(verb)

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __contains__(self, verb: object) -> bool:
        return verb in VERBS

    def __setitem__(self, verb: str, made: Any) -> None:
        raise NotImplementedError(f"{verb} is to be one of VERBS, and a module")

    def __delitem__(self, verb: str) -> None:
        raise NotImplementedError(f"{verb} is one of VERBS")


class _Verbs(TyperGroup):
    """What has the verbs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()


application = typer.Typer(cls=_Verbs, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@application.callback()
@takes_settings
def faultset(
    version: Annotated[  # noqa: ARG001 - takes effect where it is parsed
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    **given: Any,
) -> None:
    """Which nodes can be trusted, region by region, and no data lost when some are gone."""
    session.before(**{name.removesuffix("_"): value for name, value in given.items()})


def main() -> None:
    """Entry point of the console script."""
    if os.environ.get(completing.VARIABLE) == "complete_bash":
        completing.in_bash(application)
    else:
        run(application)


if __name__ == "__main__":
    main()
