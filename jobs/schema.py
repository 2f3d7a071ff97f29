"""What the JSON of a verb is: ``python -m jobs.schema``, ``faultset schema``."""

from __future__ import annotations

from typing import Annotated

import typer

from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from jobs.output import Json, app, finish, run


def schema(
    verb: Annotated[list[str], typer.Argument(help="The verb: 'put', 'config show'.")],
    line: Annotated[
        bool, typer.Option("--line", help="Of the lines before the last: of `watch`, the changes.")
    ] = False,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Print the JSON Schema (draft 2020-12) of a verb's result, the last line that it prints; also of its errors.

    It is of exactly this version, and knows every key: a later one may have more.
    """
    from jobs.results import LINES, RESULTS
    from jobs.schemas import line_schema, result_schema

    name = " ".join(verb)
    there = LINES if line else RESULTS
    if name not in there:
        raise InputError(f"{shown(name)} is none of: {', '.join(there)}")
    finish(line_schema(name) if line else result_schema(name))


if __name__ == "__main__":
    run(app(schema))
