"""Stores emptied and let go: ``python -m jobs.decommission``, ``faultset decommission``."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from faultset_ray.errors import InputError
from jobs.connecting import Address, SystemName, attached
from jobs.output import NOT_RECOVERABLE, BytesPerSecond, Json, app, finish, reached, run, shown
from jobs.terminal import console


def decommission(
    which: Annotated[str, typer.Argument(metavar="PLACE|STORE", help="A place (a Ray NodeID), or a store's UUID.")],
    bytes_per_s: BytesPerSecond = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which to give up; no limit by default.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let a store go that is gone for good, although objects are lost with it.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Have stores that are being emptied take part again, and do nothing else.")
    ] = False,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Empty the stores of a place, or one store, and end them, so that the place may go.

    Every shard is verified where it went before its store is let go. Where the other stores can't keep what was
    promised, nothing is changed and the exit code is 5. Interrupted, it leaves what has moved where it is, and the
    store takes part again; killed, it leaves the store to be emptied in the background: run again, it goes on, and
    with --cancel the store takes part again. Ends with 3 if a store was let go of by force, and objects are lost.
    """
    if cancel:
        _cancel(which, system, address, others=(bytes_per_s, timeout, force or None))
        return
    begun = time.perf_counter()
    with attached(address, system) as driver, reached(f"decommission {which}") as told:
        done = driver.decommission(which, bytes_per_s=bytes_per_s, timeout_s=timeout, force=force, progress=told)
    stores = ", ".join(done.stores)
    console.print(f"{stores} let go: {done.shards:,} shards of {done.objects:,} objects moved", soft_wrap=True)
    for name in done.lost:
        console.print(f"  {shown(name)}: too few of its shards are left", soft_wrap=True)
    finish({"system": system, "which": which, **asdict(done), "seconds": round(time.perf_counter() - begun, 3)})
    if done.lost:
        raise typer.Exit(NOT_RECOVERABLE)


def _cancel(which: str, system: str, address: str | None, others: tuple[object, ...]) -> None:
    if any(option is not None for option in others):
        raise InputError("--cancel takes no other option than --system and --address: it empties nothing")
    with attached(address, system) as driver:
        stores = driver.cancel_decommission(which)
    for store in stores:
        console.print(f"{store} takes part again", soft_wrap=True)
    if not stores:
        console.print("no store was being emptied there")
    finish({"system": system, "which": which, "cancelled": list(stores)})


if __name__ == "__main__":
    run(app(decommission))
