"""Codes beside each other: how likely an object is lost within a year, and what that costs."""

from __future__ import annotations

from faultset_ray import codes
from faultset_ray.codes import Code
from faultset_ray.objects.durability import Rates, annual_loss, nines, reads, repair_hours

CODES = ("copy:2", "copy:3", "xor:4+1", "rs:4+2", "rs:6+3", "rs:10+4", "rs:16+4", "lrc:4+2+2", "lrc:12+2+2")
ALONE = Rates()
REGIONS = Rates(region_losses_a_year=0.001)
TOGETHER = (1, 2, 3)
"""Shards of an object in one region."""


def table() -> list[str]:
    """Lines of Markdown."""
    together = " | ".join(f"{number} a region" for number in TOGETHER)
    stores = f"Stores of {ALONE.store_bytes / 1e12:g} TB, {ALONE.store_losses_a_year:.0%} lost a year"
    reading = f"repaired by reading {ALONE.repair_bytes_a_second / 1e6:g} MB/s"
    repair = f"believed after {60 * ALONE.detect_hours:g} minutes and {reading}"
    years = f"once in {1 / REGIONS.region_losses_a_year:,.0f} years"
    lines = [
        f"{stores}, a loss {repair}.",
        f"On the right each region is also lost with all its stores, {years}.",
        "",
        f"| Code | Size | Any losses | Reads for one | Repair | Traffic | Loss a year | Nines | {together} |",
        f"| --- |{' ---: |' * (7 + len(TOGETHER))}",
    ]
    return lines + [_row(codes.get(spec), spec) for spec in CODES]


def _row(code: Code, spec: str) -> str:
    # Read a year to repair what is lost, for each byte of objects.
    traffic = code.n / code.k * ALONE.store_losses_a_year * reads(code)
    alone = annual_loss(code, ALONE)
    cells = [
        f"`{spec}`",
        f"{code.n / code.k:.2f}",
        str(code.tolerance),
        f"{reads(code):.3g}",
        f"{repair_hours(code, ALONE):.0f} h",
        f"{traffic:.0%}",
        f"{alone:.1e}",
        _nines(alone),
        *(_nines(annual_loss(code, REGIONS, per_region=number)) if number <= code.n else "" for number in TOGETHER),
    ]
    return f"| {' | '.join(cells)} |"


def _nines(loss: float) -> str:
    return f"{nines(loss):.1f}"
