"""What stores hold, compared with the catalog: ``python -m jobs.scrub``, ``faultset scrub``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from jobs.connecting import Address, SystemName, attached
from jobs.output import DAMAGED, UNREACHED, BytesPerSecond, Json, app, finish, reached, run
from jobs.terminal import console


def scrub(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte, and verify its digest.")] = False,
    drop_orphans: Annotated[
        bool, typer.Option("--drop-orphans", help="Have the stores delete shards that no object needs.")
    ] = False,
    bytes_per_s: BytesPerSecond = None,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Compare what the stores hold with what the catalog says of them. What is damaged is queued for repair.

    Ends with exit code 4 if something is missing or damaged, else with 5 if stores did not answer, else 0.
    """
    begun = time.perf_counter()
    with attached(address, system) as driver, reached("scrub", "bytes" if deep else "shards") as told:
        found = driver.scrub(deep=deep, drop_orphans=drop_orphans, bytes_per_s=bytes_per_s, progress=told)
    looked = f"{found.shards:,} shards on {found.stores} stores"
    console.print(f"{looked}: {found.missing:,} missing, {found.corrupt:,} damaged")
    if found.silent:
        console.print(f"  these stores did not answer: {', '.join(sorted(set(found.silent)))}", soft_wrap=True)
    if found.leftovers:
        console.print(f"  {found.leftovers:,} shards go: their objects have them elsewhere, or they were never sealed")
    if found.orphans:
        nbytes = sum(orphan.file_bytes for orphan in found.orphans)
        what = "--drop-orphans deletes them"
        if drop_orphans:
            what = f"{found.dropped:,} deleted, {found.freed_bytes:,} bytes freed"
            if found.silent and not found.dropped:
                what = "none deleted, as a record of them may be on a store that did not answer"
        console.print(f"  {len(found.orphans):,} shards, {nbytes:,} bytes, that no object needs: {what}")
    finish(
        {
            "system": system,
            "deep": deep,
            "stores": found.stores,
            "shards": found.shards,
            "bytes": found.bytes,
            "missing": found.missing,
            "corrupt": found.corrupt,
            "records": found.records,
            "leftovers": found.leftovers,
            "silent": sorted(set(found.silent)),
            "orphans": [
                {
                    "store": orphan.store,
                    "write_id": orphan.write_id.hex(),
                    "index": orphan.index,
                    "file_bytes": orphan.file_bytes,
                }
                for orphan in found.orphans
            ],
            "dropped": found.dropped,
            "freed_bytes": found.freed_bytes,
            "seconds": round(time.perf_counter() - begun, 3),
        }
    )
    if found.missing or found.corrupt:
        raise typer.Exit(DAMAGED)
    if found.silent:
        raise typer.Exit(UNREACHED)


if __name__ == "__main__":
    run(app(scrub))
