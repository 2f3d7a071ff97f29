"""Which nodes of a file survive: ``python -m jobs.failover``, ``faultset failover``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from jobs import completing
from jobs.connecting import Address, BackendName, private
from jobs.output import NO_SURVIVORS, Json, app, finish, run
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.control.answer import Survivors
    from faultset_ray.model import Fleet

_ROWS_SHOWN = 20


def failover(
    nodes_file: Annotated[Path, typer.Option(help="CSV with a header, or JSONL: id, lat, lon, latency_ms.")],
    threshold: Annotated[float, typer.Option(help="Nodes with a latency of at most so many ms survive.")],
    precision: Annotated[int, typer.Option(help="Geohash precision of the regions, 1 to 12.")] = 6,
    on_duplicate: Annotated[
        str | None,
        typer.Option(
            help="Of nodes with one id 'keep' the first, or the one of 'min' latency.",
            autocompletion=completing.words("keep", "min"),
        ),
    ] = None,
    backend: BackendName = "auto",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Cluster the nodes of a file by geohash, and tell which of each region survive.

    The result's `survivors` are ids, regions in order of first appearance, each by latency. Ends with
    exit code 1 when nobody survives.
    """
    from faultset_ray.model import Fleet

    begun = time.perf_counter()
    fleet = Fleet.of(nodes_file, on_duplicate=duplicates(on_duplicate))
    with private(backend, address) as driver:
        driver.register(fleet, precision)
        answer = driver.survivors(threshold_ms=threshold, partial=False)
        _show(fleet, answer)
    finish(
        {
            "survivors": answer.ids.tolist(),
            "regions": {region: len(ids) for region, ids in answer.by_region.items()},
            "empty_regions": answer.empty_regions,
            "nodes": len(fleet),
            "threshold_ms": threshold,
            "precision": precision,
            "seconds": round(time.perf_counter() - begun, 3),
        }
    )
    if not len(answer):
        raise typer.Exit(NO_SURVIVORS)


def duplicates(value: str | None) -> Any:
    """Check what ``--on-duplicate`` says."""
    if value not in (None, "keep", "min"):
        raise typer.BadParameter(f"{value!r} is neither 'keep' nor 'min'", param_hint="--on-duplicate")
    return value


def _show(fleet: Fleet, answer: Survivors) -> None:
    table = Table(title=f"{len(answer):,} of {len(fleet):,} nodes survive {answer.threshold_ms:g} ms")
    table.add_column("region")
    table.add_column("survivors", justify="right")
    table.add_column("nearest")
    regions = answer.by_region
    for region in list(regions)[:_ROWS_SHOWN]:
        table.add_row(region, f"{len(regions[region]):,}", str(regions[region][0]))
    console.print(table)
    if len(regions) > _ROWS_SHOWN:
        console.print(f"… and {len(regions) - _ROWS_SHOWN:,} more regions")


if __name__ == "__main__":
    run(app(failover))
