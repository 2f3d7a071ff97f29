"""Measurements told to a system: ``python -m jobs.observe``, ``faultset observe``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.connecting import Address, Deadline, FleetName, SystemName, attached
from jobs.output import Json, app, finish, run, told_missing, told_torn
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.control.trace import Trace

_FAILED = "fail"


def observe(
    trace: Annotated[
        Path | None, typer.Argument(help="Recorded measurements, .npz, .csv or .jsonl, as `replay` takes them.")
    ] = None,
    sample: Annotated[
        list[str] | None, typer.Option(help="A measurement of now: ID=MS, or ID=fail; may be repeated.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Also write them to the end of this .jsonl trace, for `replay`.")
    ] = None,
    deadline: Deadline = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Report measurements of registered nodes. Those older than what is known are passed over.

    Regions that did not answer in time are named: what they were told may be lost.
    """
    from faultset_ray.control.trace import Trace

    if (trace is None) == (sample is None):
        raise typer.BadParameter("give a trace, or samples with --sample", param_hint="TRACE")
    recorded = None if trace is None else Trace.read(trace)
    ids, told = _given(sample or []) if recorded is None else _told(recorded)
    with attached(address, system) as driver:
        handles = driver.handles(ids, fleet=fleet, deadline_s=deadline)
        with nullcontext() if record is None else driver.record(record, fleet=fleet):
            taken = driver.observe(handles, fleet=fleet, deadline_s=deadline, **told)
    console.print(f"{taken:,} of {len(ids):,} observations taken")
    if ids and not taken and taken.whole:
        console.print("none was: newer is known of these nodes")
    missing = told_missing(taken)
    result = {"fleet": fleet, "system": system, "observations": len(ids), "taken": int(taken)}
    torn = told_torn(() if recorded is None else recorded.torn)
    finish({**result, "missing_regions": missing, "torn_lines": torn})


def _told(trace: Trace) -> tuple[Sequence[str], dict[str, Any]]:
    return trace.ids[trace.nodes].tolist(), {"latency_ms": trace.latency_ms, "ok": trace.ok, "at_ms": trace.at_ms}


def _given(samples: Sequence[str]) -> tuple[Sequence[str], dict[str, Any]]:
    import numpy as np

    ids, latencies = [], []
    for text in samples:
        node_id, _, value = text.rpartition("=")
        try:
            latencies.append(np.nan if value == _FAILED else float(value))
        except ValueError:
            node_id = ""
        if not node_id:
            raise typer.BadParameter(f"{text!r} is not ID=MS or ID={_FAILED}", param_hint="--sample")
        ids.append(node_id)
    return ids, {"latency_ms": np.array(latencies)}


if __name__ == "__main__":
    run(app(observe))
