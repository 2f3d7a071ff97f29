"""An object's bytes: ``python -m jobs.get``, ``faultset get``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from faultset_ray.objects.gather import Bytes
from faultset_ray.objects.sink import sink_for
from jobs.connecting import Address, Name, SystemName, attached
from jobs.output import Json, app, console, data_on_stdout, finish, progress, run, shown


def get(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file to write: all of it, or nothing; - for stdout.")],
    wanted: Annotated[
        str | None, typer.Option("--range", metavar="START:STOP", help="Only the bytes from START to before STOP.")
    ] = None,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Fetch an object, or some of its bytes, from whichever of its stores answer.

    On stdout its bytes appear as they come, the last of them only if all are right; messages and the result then go
    to stderr. Only a file is all or nothing: a program that reads stdout must heed the exit code.
    """
    begun = time.perf_counter()
    span = None if wanted is None else _span(wanted)
    out = data_on_stdout() if file == Path("-") else None
    size = 0
    with attached(address, system) as driver, progress("get") as told:
        pieces = _counted(driver.get_stream(name, span))
        if out is not None:
            for start, piece in pieces:
                out.write(piece.data)
                size = start + piece.size
                told(piece.size, None)
            out.flush()
        else:
            with sink_for(file, 0) as sink:
                for start, piece in pieces:
                    sink.write(start, piece)
                    size = start + piece.size
                    told(piece.size, None)
                sink.finish()
    seconds = time.perf_counter() - begun
    console.print(f"{shown(name)} → {file}, {size:,} bytes in {seconds:.2f} s", soft_wrap=True)
    finish({"system": system, "name": name, "file": str(file), "size": size, "seconds": round(seconds, 3)})


def _counted(pieces: Iterator[Bytes]) -> Iterator[tuple[int, Bytes]]:
    """Each piece, and where it starts."""
    start = 0
    for piece in pieces:
        yield start, piece
        start += piece.size


def _span(text: str) -> tuple[int, int]:
    try:
        start, stop = text.split(":")
        return int(start), int(stop)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not START:STOP, two numbers of bytes", param_hint="--range") from None


if __name__ == "__main__":
    run(app(get))
