"""An object's bytes: ``python -m jobs.get``, ``faultset get``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from jobs.connecting import Address, Name, SystemName, attached
from jobs.output import Json, app, data_on_stdout, finish, reached, run, shown
from jobs.terminal import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from faultset_ray.driver.sync import Driver
    from faultset_ray.objects.intake import SoFar

    Bytes = NDArray[np.uint8]

Span = tuple[int, int]


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
    with attached(address, system) as driver, reached("get") as told:
        size = fetch(driver, name, file, span, told) if out is None else _pour(driver, name, out, span, told)
    seconds = time.perf_counter() - begun
    console.print(f"{shown(name)} → {file}, {size:,} bytes in {seconds:.2f} s", soft_wrap=True)
    finish({"system": system, "name": name, "file": str(file), "size": size, "seconds": round(seconds, 3)})


def fetch(driver: Driver, name: str, file: Path, span: Span | None = None, told: SoFar | None = None) -> int:
    """Bring an object, or some bytes of it, into a file, which appears whole or not at all; how many they are."""
    from faultset_ray.objects.sink import sink_for

    with sink_for(file, 0) as sink:
        size = _copied(driver, name, span, told, sink.write)
        sink.finish()
    return size


def _pour(driver: Driver, name: str, out: BinaryIO, span: Span | None, told: SoFar | None) -> int:
    size = _copied(driver, name, span, told, lambda _at, piece: out.write(piece.data))
    out.flush()
    return size


def _copied(
    driver: Driver, name: str, span: Span | None, told: SoFar | None, write: Callable[[int, Bytes], object]
) -> int:
    """Hand every piece on with where it begins; how many bytes there were."""
    size = 0
    for piece in driver.get_stream(name, span, progress=told):
        write(size, piece)
        size += piece.size
    return size


def _span(text: str) -> Span:
    try:
        start, stop = text.split(":")
        return int(start), int(stop)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not START:STOP, two numbers of bytes", param_hint="--range") from None


if __name__ == "__main__":
    run(app(get))
