"""A file into shard files: ``python -m jobs.encode``, ``faultset encode``."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from faultset_ray.backend.protocol import Backend
from faultset_ray.objects.files import EncodedFile, encode_file
from jobs.connecting import Address, BackendName, private_backend
from jobs.output import app, console, finish, run


def encode(
    file: Annotated[Path, typer.Argument(help="The file to encode.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the shard files; made if need be.")],
    code: Annotated[str, typer.Option(help="The code, such as rs:10+4: 10 data shards and 4 of parity.")] = "rs:10+4",
    backend: BackendName = "auto",
    address: Address = None,
) -> None:
    """Encode a file into one file for each shard; from enough of them it can be decoded again."""
    begun = time.perf_counter()
    done = asyncio.run(_encode(private_backend(backend, address), file, code, out))
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


async def _encode(backend: Backend, file: Path, code: str, out: Path) -> EncodedFile:
    try:
        return await encode_file(backend, file, code, out)
    finally:
        await backend.close()


if __name__ == "__main__":
    run(app(encode))
