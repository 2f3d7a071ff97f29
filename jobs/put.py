"""A file stored as an object: ``python -m jobs.put``, ``faultset put``."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

from jobs import completing
from jobs.connecting import Address, Name, SystemName, attached
from jobs.output import Json, app, finish, reached, run, shown
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.driver.room import Durability


def put(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file to store; - for stdin.")],
    code: Annotated[
        str | None,
        typer.Option(
            help="The code, such as rs:10+4: 10 data shards and 4 of parity. By default codes.put of the config.",
            autocompletion=completing.codes,
        ),
    ] = None,
    tolerate: Annotated[
        int | None, typer.Option(help="Losses of stores that it must bear; by default as many as the code does.")
    ] = None,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if there is no object of that name.")] = False,
    if_generation: Annotated[int | None, typer.Option(help="Only in place of this generation.")] = None,
    durability: Annotated[
        str | None,
        typer.Option(
            help="fsync: only on stores that outlive their machines' power; none: on any.",
            autocompletion=completing.words("fsync", "none"),
        ),
    ] = None,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Store a file as an object, in place of the one of that name. Makes the system if there is none.

    Ends with 0 when the object is durable on as many stores as were promised. After an error it is wholly there or
    wholly absent; `stat` tells.
    """
    from faultset_ray.driver.described import told_receipt

    begun = time.perf_counter()
    with (
        _source(file) as data,
        attached(address, system, create=True) as driver,
        reached("put") as told,
    ):
        receipt = driver.put(
            name,
            data,
            code=code,
            tolerate=tolerate,
            if_absent=if_absent,
            if_generation=if_generation,
            durability=cast("Durability | None", durability),
            progress=told,
        )
    seconds = time.perf_counter() - begun
    console.print(
        f"{shown(name)}: {receipt.size:,} bytes as {receipt.spec}, {receipt.n_durable} shards, in {seconds:.2f} s; "
        + (
            f"any {receipt.survivable} stores may be lost" if receipt.survivable else "no store may be lost for certain"
        ),
        soft_wrap=True,
    )
    if receipt.durability == "none":
        console.print("  not durable: some stores have no directory of their own and end with their processes")
    finish({"system": system, **told_receipt(receipt), "seconds": round(seconds, 3)})


def _source(file: Path) -> AbstractContextManager[Path | BinaryIO]:
    """What is put: a file by its path, so that its size is known from the start, and held to; else what can be read."""
    if file == Path("-"):
        return nullcontext(sys.stdin.buffer)
    return nullcontext(file) if file.is_file() else file.open("rb")


if __name__ == "__main__":
    run(app(put))
