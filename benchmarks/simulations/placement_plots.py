"""Figures and tables of docs/guides/placement.md: a run of the simulation, and durability.

``make docs-plots`` runs it; the same seeds give the same files.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.simulations import durability, page
from benchmarks.simulations.placement import (
    CODE,
    OBJECTS,
    REGIONS,
    SEED,
    STORES,
    Cluster,
    Step,
    Unaware,
    steps,
    stores_of,
)
from faultset_ray import codes
from faultset_ray.objects.durability import Rates, annual_loss, nines

LOCAL = "lrc:12+2+2"
OURS, OTHER, LIGHT = "#1f6f8b", "#b08c3a", "#d9d9d9"


def main() -> None:
    page.style()
    runs = {}
    for spec in (CODE, LOCAL):
        runs[spec] = []
        for step in steps(STORES, REGIONS, OBJECTS, spec, SEED):
            print(spec, step, flush=True)
            runs[spec].append(step)
    _draw_placement(runs[CODE])
    _draw_durability()
    page.write("placement.md", _table(runs))
    page.write("placement.md", durability.table(), "durability")


def _draw_placement(run: list[Step]) -> None:
    """How full stores are, and what moved beside the least that any plan moves."""
    figure, (full, moved) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    edges = np.linspace(0.75, 1.25, 81)
    for kind, colour, label in (
        (Unaware, OTHER, "hashing by capacity alone"),
        (None, OURS, "and by how full they are"),
    ):
        sites = stores_of(STORES, REGIONS, SEED)
        cluster = Cluster(sites, OBJECTS, CODE, SEED, kind) if kind else Cluster(sites, OBJECTS, CODE, SEED)
        cluster.place()
        full.hist(cluster.fill(), edges, histtype="stepfilled", alpha=0.7, color=colour, label=label)
    full.axvline(1.05, color="#7a7a7a", lw=0.8, ls="--")
    full.set_xlabel("used share of a disk over the mean")
    full.set_ylabel("stores")
    full.legend(frameon=False, loc="upper right")
    changes = run[1:]
    rows = np.arange(len(changes))
    moved.barh(
        rows - 0.2, [100 * step.least for step in changes], 0.35, color=LIGHT, label="the least that any plan moves"
    )
    moved.barh(rows + 0.2, [100 * step.moved for step in changes], 0.35, color=OURS, label="moved")
    moved.set_yticks(rows, [step.what for step in changes])
    moved.invert_yaxis()
    moved.set_xlabel("% of all bytes")
    moved.set_xlim(0, 180 * max(step.moved for step in changes))
    moved.legend(frameon=False, loc="lower right")
    page.save(figure, "placement.svg")


def _draw_durability() -> None:
    """What spreading over regions is worth, by how often one is lost."""
    figure, panel = plt.subplots(figsize=(9, 2.8), layout="constrained")
    rates = np.logspace(-5, -1, 41)
    for spec, style in (("rs:10+4", "-"), ("copy:3", "--")):
        for together, colour in ((1, OURS), (2, OTHER), (5 if spec == "rs:10+4" else 3, "#a33b2f")):
            losses = [
                annual_loss(codes.get(spec), Rates(region_losses_a_year=rate), per_region=together) for rate in rates
            ]
            panel.plot(
                rates,
                [nines(loss) for loss in losses],
                style,
                color=colour,
                lw=1.2,
                label=f"{spec}, {together} a region",
            )
    panel.set_xscale("log")
    panel.set_ylim(0)
    panel.set_xlabel("losses of a region a year")
    panel.set_ylabel("nines a year")
    panel.legend(frameon=False, ncols=2)
    page.save(figure, "durability.svg")


def _table(runs: dict[str, list[Step]]) -> list[str]:
    lines = [f"{STORES:,} stores in {REGIONS} regions, {OBJECTS:,} objects, seed {SEED}:"]
    for spec, run in runs.items():
        lines += [
            "",
            f"| `{spec}` | fullest store | emptiest | moved | at least |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for step in run:
            shares = (f"{step.moved:.2%}", f"{step.least:.2%}") if step.least else ("", "")
            lines.append(f"| {step.what} | {step.fullest:.3f} | {step.emptiest:.3f} | {' | '.join(shares)} |")
    return lines


if __name__ == "__main__":
    main()
