"""A file into shard files: ``python -m jobs.encode``, ``faultset encode``."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs import completing
from jobs.connecting import Address, BackendName, closing, private_backend
from jobs.output import Json, app, finish, progress, run
from jobs.settings import from_config
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.backend.protocol import Backend
    from faultset_ray.objects.files import EncodedFile


def encode(
    file: Annotated[Path, typer.Argument(help="The file to encode; - for stdin.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the shard files; made if need be.")],
    code: Annotated[
        str,
        typer.Option(
            help="The code, such as rs:10+4: 10 data shards and 4 of parity.",
            autocompletion=completing.codes,
            callback=from_config(lambda config: config.codes.encode),
        ),
    ] = "rs:10+4",
    name: Annotated[str, typer.Option(help="What shard files of stdin are called.")] = "stdin",
    generation: Annotated[
        int, typer.Option(min=0, max=(1 << 64) - 1, help="A higher number than before tells older shards as stale.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the shards of a file of this name.")] = False,
    backend: BackendName = "auto",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Encode a file into one file for each shard; from enough of them it can be decoded again."""
    if not name or "/" in name or not name.isprintable():
        raise typer.BadParameter(f"{name!r} can't be what files are called", param_hint="--name")
    if out == Path("-"):
        raise typer.BadParameter(
            "shards are several files and can't go to stdout; name a directory", param_hint="--out"
        )
    begun = time.perf_counter()
    size = file.stat().st_size if file.is_file() else None
    done = asyncio.run(_encode(private_backend(backend, address), file, size, code, out, name, generation, force))
    seconds = time.perf_counter() - begun
    console.print(f"{file} → {len(done.paths)} shards in {out} as {done.spec}, {done.size:,} bytes in {seconds:.2f} s")
    finish(
        {
            "shards": [str(path) for path in done.paths],
            "code": done.spec,
            "size": done.size,
            "sha256": done.sha256,
            "seconds": round(seconds, 3),
        }
    )


async def _encode(
    backend: Backend, file: Path, size: int | None, code: str, out: Path, name: str, generation: int, force: bool
) -> EncodedFile:
    from faultset_ray.objects.files import encode_file, encode_pipe

    async with closing(backend):
        if file == Path("-"):
            with progress("encode") as done:
                return await encode_pipe(
                    backend, sys.stdin.buffer, name, code, out, generation=generation, force=force, progress=done
                )
        with progress("encode", size) as done:
            return await encode_file(backend, file, code, out, generation=generation, force=force, progress=done)


if __name__ == "__main__":
    run(app(encode))
