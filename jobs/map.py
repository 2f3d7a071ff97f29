"""A fleet on a map of the world: ``python -m jobs.map``, ``faultset map``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from jobs.connecting import Address, Deadline, FleetName, SystemName, attached, private
from jobs.output import Json, app, finish, run
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.maps.survey import FleetMap

_ROWS_SHOWN = 12
_PRECISION = 3


def map(  # noqa: A001 - the verb's name
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write: one HTML file.")] = Path("map.html"),
    png: Annotated[Path | None, typer.Option(help="Also a picture, of the same: needs the extra `map`.")] = None,
    nodes_file: Annotated[
        Path | None, typer.Option(help="In place of a fleet of a system: CSV with a header, or JSONL.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Ask the plain rule at so many ms; a file's nodes need it.")
    ] = None,
    precision: Annotated[
        int | None, typer.Option(help="Of a file's nodes: geohash precision of the regions; 3 by default.")
    ] = None,
    deadline: Deadline = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Draw the regions of a fleet on a map: who survives, who is out, which do not answer, where stores are.

    The page needs nothing but itself: no script, font or picture from elsewhere.
    """
    if nodes_file is None and precision is not None:
        raise typer.BadParameter("is of --nodes-file; a registered fleet has its own", param_hint="--precision")
    if png is not None and png.suffix.lower() != ".png":
        raise typer.BadParameter(f"{png} does not end in .png", param_hint="--png")
    if nodes_file is None:
        with attached(address, system) as driver:
            found = driver.map(threshold_ms=threshold, fleet=fleet, deadline_s=deadline)
    else:
        found = _of_file(nodes_file, threshold, _PRECISION if precision is None else precision, fleet)
    page = found.html()
    if png is not None:
        found.png(png)  # first, as it may need what is not installed
    out.write_text(page, encoding="utf-8")
    _show(found)
    written = [str(path) for path in (out, png) if path is not None]
    console.print(f"written: {', '.join(written)}")
    finish({**found.described(), "page": str(out), "page_bytes": len(page.encode()), "png": png and str(png)})


def _of_file(path: Path, threshold: float | None, precision: int, fleet: str) -> FleetMap:
    from faultset_ray.model import Fleet

    if threshold is None:
        raise typer.BadParameter("is needed with --nodes-file", param_hint="--threshold")
    nodes = Fleet.of(path, name=fleet)
    with private("local", None) as driver:
        driver.register(nodes, precision)
        return driver.map(threshold_ms=threshold, fleet=fleet, stores=False)


def _show(found: FleetMap) -> None:
    import numpy as np

    nodes, survivors = int(found.nodes.sum()), int(found.survivors.sum())
    table = Table(title=f"{survivors:,} of {nodes:,} nodes of fleet {found.fleet} survive")
    for name, justify in (("cell", "left"), ("nodes", "right"), ("out", "right"), ("state", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    worst = [at for at in np.lexsort((-found.out, -found.states.astype(np.int64))).tolist() if found.states[at]]
    for at in worst[:_ROWS_SHOWN]:
        table.add_row(found.cells[at], f"{found.nodes[at]:,}", f"{found.out[at]:,}", found.words(at))
    console.print(table)
    if len(worst) > _ROWS_SHOWN:
        console.print(f"… and {len(worst) - _ROWS_SHOWN:,} more")


if __name__ == "__main__":
    run(app(map))
