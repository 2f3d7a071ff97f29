"""Who can be trusted now: ``python -m jobs.survivors``, ``faultset survivors``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from faultset_ray.errors import RegionTimeout
from jobs.connecting import Address, Deadline, FleetName, SystemName, attached
from jobs.output import NO_SURVIVORS, Json, app, fail, finish, run
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.control.answer import Survivors

_ROWS_SHOWN = 40


def survivors(
    threshold: Annotated[
        float | None, typer.Option(help="Ask the plain rule at so many ms, in place of the fleet's policy.")
    ] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this region (a geohash); may be repeated.")] = None,
    deadline: Deadline = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Tell who survives, region by region, and which regions did not answer, are short, or are in panic.

    Nodes that are named only since their region is in panic are no survivors, and are listed apart.

    Ends with exit code 1 when nobody survives, and 5 when no region answered that could tell.
    """
    from faultset_ray.driver.described import told_survivors

    with attached(address, system) as driver:
        answer = driver.survivors(threshold_ms=threshold, fleet=fleet, deadline_s=deadline)
        waited_s = driver.config.limits.survivors_s if deadline is None else deadline
    known = {*answer.by_region, *answer.empty_regions, *answer.missing_regions}
    if region is not None and (unknown := [name for name in region if name not in known]):
        raise typer.BadParameter(f"{unknown[0]!r} is no region of fleet {fleet!r}", param_hint="--region")
    wanted = list(answer.by_region) if region is None else region
    _show(answer, wanted)
    result = told_survivors(answer, region)
    surviving = result["survivors"]
    if not surviving and (silent := _might_tell(answer, region)):  # blind is not empty
        raise fail(RegionTimeout(silent, len(known), waited_s), result)
    finish(result)
    if not surviving:
        raise typer.Exit(NO_SURVIVORS)


def _might_tell(answer: Survivors, region: list[str] | None) -> list[str]:
    """Regions that did not answer and could name somebody: the wanted ones, and those that might lend to them."""
    borrows = answer.policy is not None and answer.policy.survivors_min > 0 and answer.policy.fallback != "none"
    return [name for name in answer.missing_regions if region is None or borrows or name in region]


def _show(answer: Survivors, wanted: list[str]) -> None:
    import numpy as np

    from faultset_ray.control.ladder import Tier

    nobody = np.empty(0, np.object_)
    named = int(np.count_nonzero(answer.tiers == Tier.PANIC))
    more = f", and {named:,} nodes named in panic" if named else ""
    table = Table(title=f"{len(answer) - named:,} survivors of fleet {answer.fleet}{more}")
    table.add_column("region")
    table.add_column("survivors", justify="right")
    table.add_column("nearest")
    table.add_column("")
    short, panic, withheld = answer.short, answer.panic, answer.panic_withheld
    for name in wanted[:_ROWS_SHOWN]:
        ids = answer.by_region.get(name, nobody)
        if name in panic:
            ids = ids[answer.tiers_of(name) != Tier.PANIC]
        note = f"{short[name][0]} of {short[name][1]} needed are its own" if name in short else ""
        table.add_row(name, f"{len(ids):,}", str(ids[0]) if len(ids) else "", panic.get(name, withheld.get(name, note)))
    console.print(table)
    if len(wanted) > _ROWS_SHOWN:
        console.print(f"… and {len(wanted) - _ROWS_SHOWN:,} more regions")
    if answer.frozen_until_ms is not None:
        console.print("ejections are frozen: most of the fleet turned bad at once, so the observer is doubted")
    if answer.directory_age_ms:
        age_s = answer.directory_age_ms / 1000
        console.print(f"the coordinator did not answer: nodes and regions are those of {age_s:.1f} s ago")
    if answer.clock_ahead_ms:
        ahead_s = answer.clock_ahead_ms / 1000
        console.print(f"this machine's clock is {ahead_s:.1f} s ahead of the regions', and was not believed: set it")
    for name, age_ms in answer.missing_age_ms.items():
        known = "nothing is known of it" if age_ms is None else f"what is known is {age_ms / 1000:.1f} s old"
        console.print(f"region {name} did not answer; {known}")


if __name__ == "__main__":
    run(app(survivors))
