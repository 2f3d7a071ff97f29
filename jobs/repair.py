"""A file's lost and damaged shards made anew: ``python -m jobs.repair``, ``faultset repair``."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from faultset_ray.backend.local import LocalBackend
from faultset_ray.objects.repair import Repaired, repair_directory
from jobs.connecting import closing
from jobs.output import Json, ObjectName, app, console, finish, progress, run
from jobs.verify import described, show


def repair(
    directory: Annotated[Path, typer.Argument(help="Directory of the shard files.")],
    wanted: ObjectName = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Make a file's lost and damaged shards again, where they were, from those that are left.

    They appear together, once the whole file was found right; or nothing changes. Damaged further copies of
    shards are then removed.
    """
    begun = time.perf_counter()
    done = asyncio.run(_repair(directory, wanted))
    show(done.before)
    for index, path in done.paths.items():
        console.print(f"  shard {index} made again: {path}", soft_wrap=True)
    for path in done.removed:
        console.print(f"  removed a damaged copy: {path}", soft_wrap=True)
    finish(
        {
            **described(done.before),
            "repaired": {str(index): str(path) for index, path in done.paths.items()},
            "removed": list(map(str, done.removed)),
            "seconds": round(time.perf_counter() - begun, 3),
        }
    )


async def _repair(directory: Path, wanted: str | None) -> Repaired:
    async with closing(LocalBackend()) as backend:
        with progress("repair") as done:
            return await repair_directory(backend, directory, wanted=wanted, progress=done)


if __name__ == "__main__":
    run(app(repair))
