"""Changes of a fleet as they happen: ``python -m jobs.watch``, ``faultset watch``."""

from __future__ import annotations

from collections.abc import Mapping
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from jobs.connecting import Address, FleetName, SystemName, attached
from jobs.output import Json, app, finish, run
from jobs.terminal import console, moment, stdout

if TYPE_CHECKING:
    from faultset_ray.control.versions import Versions
    from faultset_ray.driver.watch import Change, RegionChange


def watch(
    position: Annotated[
        Path | None,
        typer.Option(help="File that holds where to go on; read at the start, written then and as changes are told."),
    ] = None,
    count: Annotated[int | None, typer.Option(help="End after so many changes.", min=1)] = None,
    idle: Annotated[float | None, typer.Option(help="End when nothing has changed for so many seconds.")] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            help="Seconds to find out where to begin; of regions that are silent, behind what was saved. By default "
            "limits.observe_s of the config."
        ),
    ] = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Tell each change of a node's state: who, from what, to what, and why; with --json one line each.

    Nodes that are removed or come to another region are told too, and where regions are short of survivors, in
    panic, or ejections are frozen.

    Ends with Ctrl-C, or as `--count` and `--idle` say. The last line is where to go on.
    """
    since = None if position is None else _read(position, system, fleet)
    told = 0
    with attached(address, system) as driver:
        changes = driver.watch(since=since, fleet=fleet, idle_s=idle, deadline_s=deadline)

        def note() -> None:
            if position is not None:
                _write(position, {"system": system, "fleet": fleet, "versions": changes.versions.to_dict()})

        note()  # before there is anything to tell: what happens from now on is told, also by a second run
        try:
            for change in changes:
                _tell(change)
                told += 1
                note()
                if told == count:
                    break
        except KeyboardInterrupt:
            console.print("stopped")
        note()
        versions = changes.versions
    finish({"fleet": fleet, "system": system, "changes": told, "versions": versions.to_dict()})


def _tell(change: Change | RegionChange) -> None:
    from faultset_ray.control.states import Mark
    from faultset_ray.driver.watch import RegionChange
    from faultset_ray.plain import plain

    if console.quiet:
        typer.echo(dumps(plain(change.to_dict()), allow_nan=False), file=stdout.stream)
        return
    at = moment(change.at_ms)
    value = "" if change.value is None else f" {change.value:g}"
    against = "" if change.threshold is None else f" against {change.threshold:g}"
    if isinstance(change, RegionChange):
        console.print(f"{at} {change.region or 'all regions'}: {change.rule.label}{value}{against}")
        return
    stays = {True: "survives", False: "out"}
    told = "" if change.survived == change.survives else f", {stays[change.survived]} → {stays[change.survives]}"
    mark = "" if change.mark == Mark.NONE else f", mark {change.mark.label}"
    console.print(
        f"{at} {change.region} {change.id}: {change.before.label} → {change.after.label} "
        f"({change.rule.label}{value}{against}){told}{mark}"
    )


def _read(position: Path, system: str, fleet: str) -> Versions | None:
    from faultset_ray.control.versions import check_since

    if not position.exists():
        return None
    try:
        noted = loads(position.read_text())
        versions = check_since(noted["versions"])
        where = noted["system"], noted["fleet"]
    except (ValueError, TypeError, KeyError, RecursionError):  # an InputError is a ValueError
        raise InputError(f"{position} is no position of a watch of this version; delete it to begin from now") from None
    if where != (system, fleet):
        raise InputError(
            f"{position} is a position in fleet {shown(where[1])} of system {shown(where[0])}, not in fleet {fleet!r} "
            f"of {system!r}; name another file, or delete it to begin from now"
        )
    return versions


def _write(position: Path, noted: Mapping[str, Any]) -> None:
    from faultset_ray.plain import plain

    fresh = position.with_name(position.name + ".new")
    fresh.write_text(dumps(plain(noted)))
    fresh.replace(position)


if __name__ == "__main__":
    run(app(watch))
