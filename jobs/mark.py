"""Nodes drained or pinned by hand: ``python -m jobs.mark``, ``faultset mark``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from jobs import completing
from jobs.connecting import Address, Deadline, FleetName, SystemName, attached
from jobs.output import Json, app, finish, run, told_missing
from jobs.terminal import console

_MARKS: dict[str, Literal["drain", "pin"] | None] = {"drain": "drain", "pin": "pin", "none": None}


def mark(
    how: Annotated[
        str,
        typer.Argument(
            help="'drain': never a survivor; 'pin': always one; 'none': as measured.",
            autocompletion=completing.words("drain", "pin", "none"),
        ),
    ],
    ids: Annotated[list[str], typer.Argument(help="Ids of nodes.")],
    deadline: Deadline = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Mark nodes by hand; a mark bypasses measurements and caps, and stays until it is taken away.

    Regions that did not answer in time are named, and learn of it later.
    """
    if how not in _MARKS:
        raise typer.BadParameter(f"{how!r} is none of drain, pin, none", param_hint="HOW")
    with attached(address, system) as driver:
        marked = driver.mark(ids, _MARKS[how], fleet=fleet, deadline_s=deadline)
    console.print(f"{marked:,} nodes marked {how}")
    result = {"fleet": fleet, "system": system, "mark": _MARKS[how], "marked": int(marked)}
    finish({**result, "missing_regions": told_missing(marked)})


if __name__ == "__main__":
    run(app(mark))
