"""How a file's shards are: ``python -m jobs.verify``, ``faultset verify``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.connecting import closing
from jobs.output import DAMAGED, Json, ObjectName, app, fail, finish, progress, run
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.objects.verify import Report, ShardState


def verify(
    directory: Annotated[Path, typer.Argument(help="Directory of the shard files.")],
    wanted: ObjectName = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Read all of a file's shards, tell which are damaged and where, and whether the file would come back.

    Shards are the files of the directory that are called `*.shard`.

    Ends with exit code 0 if every shard is sound, 4 if some are not and `repair` would make them again, 3 if
    too little is left.
    """
    begun = time.perf_counter()
    report = asyncio.run(_verify(directory, wanted))
    show(report)
    result = {**described(report), "seconds": round(time.perf_counter() - begun, 3)}
    if report.failure is not None:
        raise fail(report.failure, result)
    finish(result)
    if report.damaged or report.copies:
        raise typer.Exit(DAMAGED)


async def _verify(directory: Path, wanted: str | None) -> Report:
    from faultset_ray.backend.local import LocalBackend
    from faultset_ray.objects.verify import verify_directory

    async with closing(LocalBackend()) as backend:
        with progress("verify") as done:
            return await verify_directory(backend, directory, wanted=wanted, progress=done)


def show(report: Report) -> None:
    """Tell people of each damaged shard."""
    sound = len(report.shards) - len(report.damaged)
    console.print(f"{report.spec}, {report.size:,} bytes: {sound} of {len(report.shards)} shards are sound")
    for shard in report.shards:
        if shard.reason:
            console.print(f"  shard {shard.index}: {shard.reason}", soft_wrap=True)
    for copy in report.copies:
        console.print(f"  another copy of shard {copy.index}, {copy.path}: {copy.reason}", soft_wrap=True)


def described(report: Report) -> Mapping[str, Any]:
    """A report as JSON has it."""
    return {
        "code": report.spec,
        "size": report.size,
        "sha256": report.sha256,
        "write_id": report.write_id,
        "recoverable": report.failure is None,
        "damaged": {str(shard.index): _described(shard) for shard in report.shards if shard.reason},
        "damaged_copies": [{"index": shard.index, **_described(shard)} for shard in report.copies],
    }


def _described(shard: ShardState) -> Mapping[str, Any]:
    file = None if shard.path is None else str(shard.path)
    return {"file": file, "reason": shard.reason, "corrupt": shard.corrupt}


if __name__ == "__main__":
    run(app(verify))
