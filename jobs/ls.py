"""Which objects there are: ``python -m jobs.ls``, ``faultset ls``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from jobs.connecting import Address, SystemName, attached
from jobs.output import Json, app, finish, run, shown
from jobs.terminal import console


def ls(
    prefix: Annotated[str, typer.Argument(help="Only objects whose names begin so.")] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that `rm --undo` would bring back.")] = False,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """List objects in the order of their names: size, generation, code, name."""
    with attached(address, system) as driver:
        found = driver.list(prefix, deleted=deleted)
    for info in found:
        console.print(f"{info.size:>18,}  {info.generation:>14}  {info.spec}  {shown(info.name)}", soft_wrap=True)
    console.print(f"{len(found):,} objects, {sum(info.size for info in found):,} bytes")
    finish({"system": system, "prefix": prefix, "deleted": deleted, "objects": [asdict(info) for info in found]})


if __name__ == "__main__":
    run(app(ls))
