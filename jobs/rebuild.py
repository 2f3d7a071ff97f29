"""A lost catalog made again from the stores: ``python -m jobs.rebuild``, ``faultset rebuild``."""

from __future__ import annotations

import time
from dataclasses import asdict

import typer

from jobs.connecting import Address, SystemName, attached
from jobs.output import NOT_RECOVERABLE, Json, app, finish, reached, run, shown
from jobs.terminal import console


def rebuild(
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Make a lost catalog again from what the stores hold. Nothing on them is changed.

    Start every store first: what only a store knows that does not answer is not in the catalog. Ends with exit code 3
    if of some objects too few shards were found, or two writes have one generation.
    """
    begun = time.perf_counter()
    with attached(address, system, create=True) as driver, reached("rebuild", "shards") as told:
        done = driver.rebuild(progress=told)
    console.print(f"catalog {done.catalog}: {done.objects:,} objects, {done.deleted:,} deleted ones", soft_wrap=True)
    if done.damage:
        console.print(f"  {done.damage:,} shards are missing or damaged: they are queued for repair")
    for lost in done.lost:
        console.print(f"  {shown(lost.name)}: {lost.have} shards were found, it needs {lost.need}", soft_wrap=True)
    for left in done.unfinished:
        console.print(
            f"  {shown(left.name)}: a newer write has {left.have} shards, it needs {left.need}, and {left.records} "
            f"records: if every store has answered, it was never acknowledged; generation {left.shown} counts",
            soft_wrap=True,
        )
    for pair in done.twice:
        console.print(
            f"  {shown(pair.name)} and {shown(pair.other)}: two writes have generation {pair.generation}; the second, "
            f"{pair.write_id.hex()}, is not in the catalog",
            soft_wrap=True,
        )
    if done.orphans:
        console.print(f"  {len(done.orphans):,} shards that no object needs: see `scrub`")
    if done.unreadable:
        console.print(f"  {done.unreadable:,} records can't be read")
    if done.foreign:
        console.print(f"  left out, stores of another catalog: {', '.join(done.foreign)}", soft_wrap=True)
    result = {
        "system": system,
        "catalog": done.catalog,
        "epoch": done.epoch,
        "objects": done.objects,
        "deleted": done.deleted,
        "garbage": done.garbage,
        "damage": done.damage,
        "orphans": len(done.orphans),
        "lost": [asdict(lost) for lost in done.lost],
        "unfinished": [asdict(left) for left in done.unfinished],
        "twice": [asdict(pair) | {"write_id": pair.write_id.hex()} for pair in done.twice],
        "unreadable": done.unreadable,
        "foreign": done.foreign,
        "seconds": round(time.perf_counter() - begun, 3),
    }
    finish(result)
    if done.lost or done.twice:
        raise typer.Exit(NOT_RECOVERABLE)


if __name__ == "__main__":
    run(app(rebuild))
