"""Why a node is trusted, or not: ``python -m jobs.why``, ``faultset why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from faultset_ray.errors import FaultsetError, RegionTimeout, UnknownNode
from jobs.connecting import Address, FleetName, SystemName, attached
from jobs.output import Json, app, fail, finish, run
from jobs.terminal import console, moment

if TYPE_CHECKING:
    from faultset_ray.control.explain import Verdict

_WIDE = 10_000
"""Columns, more than any table has."""


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
    """Explain nodes: state, rule, value against threshold (then and now), since and until when, what holds it there.

    Where one is unknown, or its region is silent, the others are explained all the same, and the exit code tells.
    """
    verdicts: list[Verdict] = []
    failed: list[UnknownNode | RegionTimeout] = []
    with attached(address, system) as driver:
        for node_id in ids:
            try:
                verdicts.append(driver.why(node_id, fleet=fleet, deadline_s=deadline))
            except (UnknownNode, RegionTimeout) as error:
                failed.append(error)
    if not verdicts:
        raise _together(failed)
    _show(verdicts)
    result = {"fleet": fleet, "system": system, "verdicts": [verdict.to_dict() for verdict in verdicts]}
    if failed:
        raise fail(_together(failed), result)
    finish(result)


def _together(failed: list[UnknownNode | RegionTimeout]) -> FaultsetError:
    """One error of several: that a region is silent may pass, so unknown nodes come first."""
    unknown = [error for error in failed if isinstance(error, UnknownNode)]
    return UnknownNode(unknown[0].node_id, unknown[0].fleet, len(unknown)) if unknown else failed[0]


def _show(verdicts: list[Verdict]) -> None:
    """A row for each; where that is too wide for the terminal, a column for each."""
    rows = [_facts(verdict) for verdict in verdicts]
    wide = Table()
    for name in rows[0]:
        wide.add_column(name, justify="right" if name in ("then", "now") else "left")
    for row in rows:
        wide.add_row(*row.values())
    if wide.__rich_measure__(console, console.options.update(width=_WIDE)).maximum <= console.width:
        console.print(wide)
        return
    narrow = Table(show_header=False)
    for name in rows[0]:
        narrow.add_row(name, *(row[name] for row in rows))
    console.print(narrow)


def _facts(verdict: Verdict) -> dict[str, str]:
    return {
        "id": verdict.id,
        "region": verdict.region,
        "state": verdict.state.label,
        "survives": "yes" if verdict.survives else "no",
        "rule": verdict.rule.label,
        "then": _against(verdict.value_then, verdict.threshold_then),
        "now": _against(verdict.value, verdict.threshold),
        "since": _moment(verdict.since_ms),
        "until": _moment(verdict.until_ms),
        "blocked by": _blocked(verdict),
    }


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
