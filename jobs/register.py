"""Nodes of a file made known to a system: ``python -m jobs.register``, ``faultset register``."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs import completing
from jobs.connecting import Address, FleetName, SystemName, attached
from jobs.failover import duplicates
from jobs.output import Json, app, finish, run
from jobs.terminal import console


def register(
    nodes_file: Annotated[Path, typer.Argument(help="CSV with a header, or JSONL: id, lat, lon, latency_ms.")],
    precision: Annotated[int, typer.Option(help="Geohash precision of the regions, 1 to 12.")] = 6,
    policy: Annotated[Path | None, typer.Option(help="The fleet's policy from now on: a .toml or .json file.")] = None,
    on_duplicate: Annotated[
        str | None,
        typer.Option(
            help="Of nodes with one id 'keep' the first, or the one of 'min' latency.",
            autocompletion=completing.words("keep", "min"),
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            help="Seconds; by default limits.register_s of the config, else as long as region actors need for a place."
        ),
    ] = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Register the nodes of a file: new ones are added, known ones take these values."""
    from faultset_ray.model import Fleet
    from faultset_ray.policy import Policy

    begun = time.perf_counter()
    given = Fleet.of(nodes_file, name=fleet, on_duplicate=duplicates(on_duplicate))
    rules = None if policy is None else Policy.load(policy)
    with attached(address, system, create=True) as driver:
        registered = driver.register(given, precision, policy=rules, deadline_s=deadline)
    seconds = round(time.perf_counter() - begun, 3)
    console.print(f"{len(registered):,} nodes registered in fleet {fleet} of system {system}, in {seconds:g} s")
    finish(
        {
            "fleet": fleet,
            "system": system,
            "nodes": len(registered),
            "precision": precision,
            "policy": None if rules is None else asdict(rules),
            "seconds": seconds,
        }
    )


if __name__ == "__main__":
    run(app(register))
