"""Objects deleted and brought back: ``python -m jobs.rm``, ``faultset rm``."""

from __future__ import annotations

from typing import Annotated

import typer

from faultset_ray.errors import FaultsetError
from jobs.connecting import Address, SystemName, attached
from jobs.output import Json, app, fail, finish, run, shown
from jobs.terminal import console


def rm(
    names: Annotated[list[str], typer.Argument(help="Names of objects.")],
    undo: Annotated[bool, typer.Option("--undo", help="Bring them back.")] = False,
    grace: Annotated[
        float | None,
        typer.Option(
            help="For so many seconds they can be brought back; by default stores.delete_grace_s of the config."
        ),
    ] = None,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Delete objects: out of sight at once, gone for good when the period of grace, a day, is over.

    Each is deleted by itself. If one can't be, the others are, and the exit code is that of the first that was not.
    """
    if undo and grace is not None:
        raise typer.BadParameter("what is brought back has no period of grace", param_hint="--grace")
    done: dict[str, int] = {}
    failed: dict[str, FaultsetError] = {}
    with attached(address, system) as driver:
        for name in names:
            try:
                done[name] = (driver.undelete(name) if undo else driver.delete(name, grace_s=grace)).generation
            except FaultsetError as error:
                failed[name] = error
                console.print(f"{shown(name)}: {error}", soft_wrap=True)
            else:
                console.print(f"{shown(name)} {'is back' if undo else 'deleted'}", soft_wrap=True)
    told = {name: str(error) for name, error in failed.items()}
    result = {"system": system, "undo": undo, "generations": done, "failed": told}
    if failed:
        raise fail(next(iter(failed.values())), result)
    finish(result)


if __name__ == "__main__":
    run(app(rm))
