"""Recorded measurements against policies: ``python -m jobs.replay``, ``faultset replay``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.output import Json, app, finish, run, told_torn
from jobs.terminal import console


def replay(
    trace: Annotated[Path, typer.Argument(help="Recorded measurements: .npz, .csv or .jsonl.")],
    policy: Annotated[list[Path], typer.Option(help="A policy to try, .toml or .json; may be repeated.")],
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Run a trace against policies and compare them: flaps, detection, false ejections. Needs no cluster."""
    from faultset_ray.control.replay import compare, table
    from faultset_ray.control.trace import Trace
    from faultset_ray.policy import Policy

    policies = {path.stem if [p.stem for p in policy].count(path.stem) == 1 else str(path): path for path in policy}
    recorded = Trace.read(trace)
    reports = compare(recorded, {name: Policy.load(path) for name, path in policies.items()})
    console.print(table(reports), end="")
    result = {"trace": str(trace), "policies": {name: asdict(report) for name, report in reports.items()}}
    finish({**result, "torn_lines": told_torn(recorded.torn)})


if __name__ == "__main__":
    run(app(replay))
