"""What another policy would change: ``python -m jobs.plan``, ``faultset plan``."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultset_ray.errors import RegionTimeout
from jobs.connecting import Address, Deadline, FleetName, SystemName, attached
from jobs.output import Json, app, fail, finish, run
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.control.answer import Survivors
    from faultset_ray.driver.planning import Served

_IDS_SHOWN = 20
_REGIONS_SHOWN = 20


def plan(
    policy: Annotated[Path, typer.Argument(help="The policy to try: a .toml or .json file.")],
    apply: Annotated[bool, typer.Option("--apply", help="Then make it the fleet's policy.")] = False,
    deadline: Deadline = None,
    fleet: FleetName = "default",
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Dry run of a policy on the live fleet: who would join the survivors, and who would leave them.

    With `--apply` it becomes the policy. Where a region did not answer, nothing is changed, and the exit code is 5.
    """
    from faultset_ray.policy import Policy

    proposed = Policy.load(policy)
    with attached(address, system) as driver:
        found = driver.plan(proposed, fleet=fleet, deadline_s=deadline)
        waited_s = driver.config.limits.survivors_s if deadline is None else deadline
        missing = found.live.missing_regions
        if apply and not missing:
            driver.set_policy(proposed, fleet=fleet, deadline_s=deadline)
    for verb, ids in (("join", found.joins), ("leave", found.leaves)):
        more = f" … and {len(ids) - _IDS_SHOWN:,} more" if len(ids) > _IDS_SHOWN else ""
        console.print(f"{len(ids):,} would {verb} the survivors: {', '.join(ids[:_IDS_SHOWN])}{more}", soft_wrap=True)
    shortages = list(found.shortages())
    for each in shortages[:_REGIONS_SHOWN]:
        console.print(f"region {each.region}: {_told(each.live)} → {_told(each.planned)}", soft_wrap=True)
    if len(shortages) > _REGIONS_SHOWN:
        console.print(f"… and {len(shortages) - _REGIONS_SHOWN:,} more regions")
    result = {
        "fleet": fleet,
        "system": system,
        "policy": asdict(proposed),
        "applied": apply and not missing,
        "joins": found.joins,
        "leaves": found.leaves,
        **_counted("live", found.live),
        **_counted("planned", found.planned),
        "shortages": {
            each.region: {"live": each.live.to_dict(), "planned": each.planned.to_dict()} for each in shortages
        },
        "missing_regions": missing,
    }
    if apply and missing:
        raise fail(RegionTimeout(missing, len(missing) + len(found.live.by_region), waited_s), result)
    if missing:
        console.print(f"not asked were {len(missing):,} regions that did not answer: {', '.join(missing[:_IDS_SHOWN])}")
    finish(result)


def _counted(which: str, answer: Survivors) -> dict[str, int]:
    """How many survive in an answer, and how many it names only since their regions are in panic."""
    import numpy as np

    from faultset_ray.control.ladder import Tier

    named = int(np.count_nonzero(answer.tiers == Tier.PANIC))
    return {f"survivors_{which}": len(answer) - named, f"named_in_panic_{which}": named}


def _told(served: Served) -> str:
    """What a region is given, in a few words."""
    from faultset_ray.control.ladder import Tier

    count = Counter(served.tiers)
    own = count.pop(Tier.OWN, 0)
    others = "".join(f", {count[tier]} {tier.name.lower()}" for tier in sorted(count))
    need = "enough" if served.short is None else f"short of {served.short[1]}"
    return f"{own} own{others} ({need}{', panic' if served.panic else ''})"


if __name__ == "__main__":
    run(app(plan))
