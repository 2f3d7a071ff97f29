"""The settings in force, and whether a file can be used: ``faultset config show``, ``faultset config check``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from jobs.output import USAGE, Json, finish, run
from jobs.settings import session, settled
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.config import InvalidConfig

application = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="The settings in force, where each comes from, and whether a file of them can be used.",
)


def show(
    changed: Annotated[bool, typer.Option("--changed", help="Only those that are not defaults.")] = False,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Tell every setting, its value, and where that comes from: a flag, a variable, a file and its line, a default.

    Secrets are not told, nor what looks like one among a plug-in's options.
    """
    from faultset_ray.config.loading import known

    config = session.config
    values = config.shown()
    sources = {key: config.source(key) for key in values}
    if changed:
        values = {key: value for key, value in values.items() if sources[key].kind != "default"}
    table = Table(title=config.file or "no file")
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    for key, value in values.items():
        table.add_row(key, "" if value is None else str(value), str(sources[key]))
    console.print(table)
    described = {
        key: {"value": value, "from": sources[key].kind, "where": sources[key].name, "reader": known()[key].reader}
        for key, value in values.items()
    }
    finish({"file": config.file, "settings": described})


def check(
    file: Annotated[
        Path | None, typer.Argument(help="A TOML file; by default the one that commands would read.")
    ] = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Tell everything that is wrong with a file of settings, the environment and the flags, not only the first thing.

    Also what can't work on this machine: codes that can't be built, an engine that it does not have, plug-ins that are
    not installed. Variables that look like ours and are none are only warned of. Ends with exit code 2 if anything
    is wrong.
    """
    from faultset_ray.config import Config
    from faultset_ray.config.loading import collect
    from faultset_ray.config.process import examine

    found = collect(file or session.path, os.environ, session.flags)
    problems = found.problems or examine(Config.made(found))
    for problem in problems:
        console.print(str(problem), soft_wrap=True)
    for warning in found.unknown:
        console.print(f"warning: {warning}", soft_wrap=True)
    read = found.file or (problems[0].where if found.problems and not problems[0].key else None)
    console.print(f"{read or 'no file'}: {len(problems):,} problems, {len(found.unknown):,} warnings", soft_wrap=True)
    finish({"file": read, "problems": [*map(_told, problems)], "warnings": [*map(_told, found.unknown)]})
    if problems:
        raise typer.Exit(USAGE)


def _told(problem: InvalidConfig) -> dict[str, Any]:
    return {**problem.fields(), "code": problem.code, "message": str(problem)}


for job in (show, check):
    application.command()(settled(job, checked=False))


if __name__ == "__main__":
    run(application)
