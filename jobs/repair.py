"""Lost and damaged shards made anew, of files and of objects: ``python -m jobs.repair``, ``faultset repair``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.connecting import Address, SystemName, attached, closing
from jobs.output import (
    DAMAGED,
    BytesPerSecond,
    Json,
    ObjectName,
    app,
    finish,
    progress,
    reached,
    run,
    shown,
)
from jobs.status import exit_code
from jobs.terminal import console
from jobs.verify import described, show

if TYPE_CHECKING:
    from faultset_ray.objects.repair import Repaired


def repair(
    directory: Annotated[
        Path | None, typer.Argument(help="Directory of the shard files; without it, the objects of a system.")
    ] = None,
    wanted: ObjectName = None,
    bytes_per_s: BytesPerSecond = None,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Make lost and damaged shards again from those that are left.

    With a directory: a file's shards, where they were. They appear together, once the whole file was found right; or
    nothing changes. Damaged further copies of shards are then removed.

    Without one: those of a system's objects, the least safe first, without waiting for stores that are away to come
    back. Ends with exit code 4 if some objects could not be mended now, 3 if too few shards of some are within reach.
    """
    if directory is None:
        if wanted is not None:
            raise typer.BadParameter("it names a file in a directory, and no directory is given", param_hint="--object")
        _repair_objects(system, address, bytes_per_s)
        return
    if address is not None or bytes_per_s is not None:
        raise typer.BadParameter("a directory is repaired here, at full speed", param_hint="--address, --bytes-per-s")
    begun = time.perf_counter()
    done = asyncio.run(_repair_files(directory, wanted))
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


async def _repair_files(directory: Path, wanted: str | None) -> Repaired:
    from faultset_ray.backend.local import LocalBackend
    from faultset_ray.objects.repair import repair_directory

    async with closing(LocalBackend()) as backend:
        with progress("repair") as done:
            return await repair_directory(backend, directory, wanted=wanted, progress=done)


def _repair_objects(system: str, address: str | None, bytes_per_s: float | None) -> None:
    begun = time.perf_counter()
    with attached(address, system) as driver, reached("repair") as told:
        done = driver.repair(bytes_per_s=bytes_per_s, progress=told)
        left = exit_code(driver.status()) if done.failed or done.waiting else 0
    console.print(f"{done.shards:,} shards of {done.objects:,} objects made again, {done.bytes:,} bytes")
    for name, why in sorted(done.failed.items()):
        console.print(f"  {shown(name)}: {why}", soft_wrap=True)
    if done.waiting:
        console.print(f"  {done.waiting:,} objects wait for more stores")
    finish(
        {"system": system, **asdict(done), "waiting": done.waiting, "seconds": round(time.perf_counter() - begun, 3)}
    )
    if done.failed or done.waiting:
        raise typer.Exit(left or DAMAGED)


if __name__ == "__main__":
    run(app(repair))
