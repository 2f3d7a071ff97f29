"""How the objects of a system fare: ``python -m jobs.status``, ``faultset status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.table import Table

from jobs.connecting import Address, SystemName, attached
from jobs.output import DAMAGED, NOT_RECOVERABLE, OK, Json, app, finish, run, shown
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.driver.upkeep import StoreStatus, SystemStatus


def status(
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Tell how the objects of a system fare: how many lack shards, the stores, and what is under way.

    Ends with exit code 0 if every object has all its shards, 4 if some lack shards but none too many, 3 if too few
    of some are within reach now.
    """
    from faultset_ray.driver.described import told_status

    with attached(address, system) as driver:
        found = driver.status()
    _show(found)
    finish({"system": system, **told_status(found)})
    if code := exit_code(found):
        raise typer.Exit(code)


def exit_code(found: SystemStatus) -> int:
    """What a system's state is as an exit code."""
    if not found.margins:
        return OK
    return NOT_RECOVERABLE if min(found.margins) < 0 else DAMAGED


def _show(found: SystemStatus) -> None:
    tally = found.tally
    console.print(f"{tally.objects:,} objects, {tally.bytes:,} bytes; {found.healthy:,} have all their shards")
    for margin, count in found.margins.items():
        bears = "too few shards within reach" if margin < 0 else f"bear {margin} further losses"
        console.print(f"  {count:,} lack shards: {bears}")
        for name in found.lost if margin < 0 else ():
            console.print(f"    {shown(name)}", soft_wrap=True)
    counts = {
        "on stores that are being emptied": found.leaving,
        "deleted, can be brought back": tally.deleted,
        "writes under way": tally.open_writes + tally.aborting,
        "shards on the move": tally.moves,
        "reports of damage": tally.damage,
        "things that stores have still to drop": tally.garbage,
        "shards that no object needs": found.orphans,
    }
    for what, count in counts.items():
        if count:
            console.print(f"  {count:,} {what}")
    table = Table(title=f"{len(found.stores)} stores")
    for heading in ("place", "region", "store", "state"):
        table.add_column(heading)
    for heading in ("shards", "used", "free"):
        table.add_column(heading, justify="right")
    for store in found.stores:
        row = store.row
        numbers = row.shards, row.used_bytes, row.free_bytes
        table.add_row(row.place[:12], row.region, row.uuid[:8], _state(store), *(f"{number:,}" for number in numbers))
    console.print(table)


def _state(store: StoreStatus) -> str:
    if store.row.state == "retired":
        return "retired"
    leaving = ", leaving" if store.leaving else ""
    return f"{'here' if store.here else f'away for {store.unseen_s:,.0f} s'}{leaving}"


if __name__ == "__main__":
    run(app(status))
