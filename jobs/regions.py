"""The regions of a fleet: ``python -m jobs.regions``, ``faultset regions``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from faultset_ray.errors import EmptyNodesError
from jobs.connecting import Address, Deadline, FleetName, SystemName, attached
from jobs.output import Json, app, finish, run
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.control.answer import Survivors
    from faultset_ray.model import Fleet

_ROWS_SHOWN = 100


def regions(
    deadline: Deadline = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """List regions: how many nodes each has, how many survive, and which did not answer."""
    import numpy as np

    from faultset_ray.control.ladder import Tier

    with attached(address, system) as driver:
        answer = driver.survivors(fleet=fleet, deadline_s=deadline)
        try:
            nodes = _nodes(driver.fleet(fleet), answer)
        except EmptyNodesError:  # all were removed
            nodes = {}
    missing = set(answer.missing_regions)
    own = {name: int(np.count_nonzero(answer.tiers_of(name) == Tier.OWN)) for name in answer.by_region}
    table = Table(title=f"{len(nodes):,} regions of fleet {fleet}")
    for name in ("region", "nodes", "survivors", ""):
        table.add_column(name, justify="right" if name in ("nodes", "survivors") else "left")
    for name in list(nodes)[:_ROWS_SHOWN]:
        note = "no answer" if name in missing else answer.panic.get(name, "short" if name in answer.short else "")
        table.add_row(name, f"{nodes[name]:,}", "?" if name in missing else f"{own.get(name, 0):,}", note)
    console.print(table)
    if len(nodes) > _ROWS_SHOWN:
        console.print(f"… and {len(nodes) - _ROWS_SHOWN:,} more regions")
    finish(
        {
            "fleet": fleet,
            "system": system,
            "regions": {
                name: {"nodes": count, "survivors": None if name in missing else own.get(name, 0)}
                for name, count in nodes.items()
            },
            "short": answer.short,
            "panic": answer.panic,
            "panic_withheld": answer.panic_withheld,
            "missing_regions": answer.missing_age_ms,
        }
    )


def _nodes(fleet: Fleet, answer: Survivors) -> dict[str, int]:
    """How many nodes each region has, in order of first registration."""
    import numpy as np

    from faultset_ray.geohash import cells_to_strings, encode_many, group

    groups = group(encode_many(fleet.lat, fleet.lon, answer.precision))
    return dict(zip(cells_to_strings(groups.cells).tolist(), np.diff(groups.starts).tolist(), strict=True))


if __name__ == "__main__":
    run(app(regions))
