"""Why a node is trusted, or not: ``python -m jobs.why``, ``faultset why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from jobs.connecting import Address, FleetName, SystemName, attached
from jobs.output import Json, app, finish, run
from jobs.terminal import console, moment

if TYPE_CHECKING:
    from faultset_ray.control.explain import Verdict


def why(
    ids: Annotated[list[str], typer.Argument(help="Ids of nodes.")],
    deadline: Annotated[
        float | None,
        typer.Option(
            help="Seconds for each node; if its region has not answered by then, the exit code is 5. By default "
            "limits.survivors_s of the config."
        ),
    ] = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Explain nodes: state, rule, value against threshold (then and now), since and until when, what holds it there."""
    with attached(address, system) as driver:
        verdicts = [driver.why(node_id, fleet=fleet, deadline_s=deadline) for node_id in ids]
    _show(verdicts)
    finish({"fleet": fleet, "system": system, "verdicts": [verdict.to_dict() for verdict in verdicts]})


def _show(verdicts: list[Verdict]) -> None:
    table = Table()
    for name in ("id", "region", "state", "survives", "rule", "then", "now", "since", "until", "blocked by"):
        table.add_column(name, justify="right" if name in ("then", "now") else "left", overflow="fold")
    for verdict in verdicts:
        table.add_row(
            verdict.id,
            verdict.region,
            verdict.state.label,
            "yes" if verdict.survives else "no",
            verdict.rule.label,
            _against(verdict.value_then, verdict.threshold_then),
            _against(verdict.value, verdict.threshold),
            _moment(verdict.since_ms),
            _moment(verdict.until_ms),
            _blocked(verdict),
        )
    console.print(table)


def _against(value: float | None, threshold: float | None) -> str:
    """A value beside what it is compared with."""
    return "" if value is None else f"{value:,.6g}" if threshold is None else f"{value:,.6g} / {threshold:,.6g}"


def _blocked(verdict: Verdict) -> str:
    from faultset_ray.control.states import Blocked

    if verdict.blocked_by != Blocked.CAP:
        return verdict.blocked_by.label
    return f"cap: {verdict.region_out:,} of at most {verdict.region_out_max:,} are out"


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else moment(at_ms)


if __name__ == "__main__":
    run(app(why))
