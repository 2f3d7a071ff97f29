"""Shard files back into the file: ``python -m jobs.decode``, ``faultset decode``."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from jobs.connecting import Address, BackendName, closing, private_backend
from jobs.output import Json, ObjectName, app, data_on_stdout, finish, progress, run
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.backend.protocol import Backend
    from faultset_ray.objects.files import DecodedFile


def decode(
    directory: Annotated[Path, typer.Argument(help="Directory of the shard files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: all of it, or nothing; - for stdout.")],
    wanted: ObjectName = None,
    backend: BackendName = "auto",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Bring a file back from whichever of its shards are left and sound.

    On stdout its bytes appear as they are made, the last of them only if all are right; messages and the
    result then go to stderr. Only a file is all or nothing: a program that reads stdout must heed the exit code.
    """
    begun = time.perf_counter()
    target = data_on_stdout() if out == Path("-") else out  # before anything is started that may print
    done = asyncio.run(_decode(private_backend(backend, address), directory, target, wanted))
    seconds = time.perf_counter() - begun
    console.print(f"{directory} → {out}, {done.size:,} bytes of {done.spec} in {seconds:.2f} s")
    for index, why in sorted(done.unusable.items()):
        console.print(f"  shard {index}: {why}")
    finish(
        {
            "file": str(out),
            "code": done.spec,
            "size": done.size,
            "sha256": done.sha256,
            "unusable": {str(index): why for index, why in sorted(done.unusable.items())},
            "seconds": round(seconds, 3),
        }
    )


async def _decode(backend: Backend, directory: Path, out: Path | BinaryIO, wanted: str | None) -> DecodedFile:
    from faultset_ray.objects.files import decode_directory

    async with closing(backend):
        with progress("decode") as done:
            return await decode_directory(backend, directory, out, wanted=wanted, progress=done)


if __name__ == "__main__":
    run(app(decode))
