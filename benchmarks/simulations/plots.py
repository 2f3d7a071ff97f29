"""Run all scenarios under four policies and put what came of it into docs/guides/policies.md: plots and a table.

``make docs-plots`` runs it; the same seeds give the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.simulations import page
from benchmarks.simulations.scenarios import EVERY_S, SCENARIOS
from benchmarks.simulations.simulate import Seen, simulate
from faultset_ray.policy import Policy

NODES, HOURS, SEED = 10_000, 0.5, 1

STEADY = Policy.load(page.ROOT / "examples" / "steady.toml")
POLICIES = {
    "plain": Policy(threshold_ms=STEADY.threshold_ms),
    "steady": STEADY,
    "guarded": replace(STEADY, freeze_at=0.5),
    "capped": replace(STEADY, eject_max=0.5, survivors_min=0, fallback="none", panic="none"),
}
COLOURS = {"plain": "#b08c3a", "steady": "#1f6f8b", "guarded": "#5f8f3e", "capped": "#8f5a8a"}
STYLES = {"plain": "-", "steady": "-", "guarded": "--", "capped": "-"}
ROWS = {
    "ejections": "ejections",
    "flaps": "flaps",
    "false_ejections": "false ejections",
    "false_out_s": "good nodes out, node-seconds",
    "unseen_bad_s": "bad nodes among the survivors, node-seconds",
    "detected": "episodes detected",
    "detection_samples_max": "samples until detected, at most",
    "peak_out": "largest share of a region out",
}

Runs = Mapping[str, Mapping[str, Seen]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--hours", type=float, default=HOURS)
    arguments = parser.parse_args()
    runs: dict[str, dict[str, Seen]] = {}
    for scenario in SCENARIOS:
        runs[scenario] = {}
        for name, policy in POLICIES.items():
            print(scenario, name, flush=True)
            runs[scenario][name] = simulate(
                scenario, policy, nodes=arguments.nodes, hours=arguments.hours, seed=SEED, ranges=2
            )
    page.style()
    _draw_scenarios(runs)
    _draw_outage(runs["regional outage"]["steady"])
    _write_table(runs, arguments.nodes, arguments.hours)


def _draw_scenarios(runs: Runs) -> None:
    """Nodes out, beside those that are truly bad, scenario by scenario."""
    rows = -(-len(runs) // 2)
    figure, panels = plt.subplots(rows, 2, figsize=(9, 2.5 * rows), layout="constrained")
    for panel in panels.flat[len(runs) :]:
        panel.set_axis_off()
    for panel, (scenario, by_policy) in zip(panels.flat, runs.items(), strict=False):
        plain = by_policy["plain"]
        truth = _turns(plain, _percent(plain.bad))
        panel.fill_between(*truth, color="#d9d9d9", step="post", label="truly bad")
        for name, seen in by_policy.items():
            out = _turns(seen, _percent([1 - share for share in seen.survivors]))
            panel.step(*out, STYLES[name], where="post", color=COLOURS[name], lw=1.2, label=f"out under {name}")
        panel.set_title(scenario, loc="left")
        panel.set_ylim(0)
        panel.set_ylabel("% of nodes")
        panel.set_xlabel("minutes")
    figure.legend(*panels.flat[1].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=5)
    page.save(figure, "policies.svg")


def _draw_outage(seen: Seen) -> None:
    """What the regions of a fleet with an outage do about it."""
    figure, panel = plt.subplots(figsize=(9, 2.6), layout="constrained")
    panel.step(*_turns(seen, seen.short), where="post", color="#1f6f8b", label="regions below their need")
    panel.step(*_turns(seen, seen.panic), where="post", color="#a33b2f", label="of these in panic")
    panel.set_ylim(0)
    panel.set_ylabel("regions")
    panel.set_xlabel("minutes")
    _served(panel, seen)
    page.save(figure, "outage.svg")


def _served(panel: Axes, seen: Seen) -> None:
    other = panel.twinx()
    other.step(
        *_turns(seen, _percent(seen.served)),
        "--",
        where="post",
        color="#7a7a7a",
        lw=1,
        label="short regions served in full (right)",
    )
    other.set_ylim(0, 105)
    other.set_ylabel("%")
    handles = [*panel.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
    panel.legend(handles=handles, frameon=False, loc="center right")


def _turns(seen: Seen, values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Minutes and values of a line in steps: where it turns, and its end."""
    last = len(values) - 1
    turns = [at for at, value in enumerate(values) if at in (0, last) or value != values[at - 1]]
    return [seen.seconds[at] / 60 for at in turns], [values[at] for at in turns]


def _percent(shares: list[float]) -> list[float]:
    return [100 * share for share in shares]


def _write_table(runs: Runs, nodes: int, hours: float) -> None:
    lines = [f"{nodes:,} nodes, {hours:g} h, measured every {EVERY_S} s, seed {SEED}:", ""]
    for scenario, by_policy in runs.items():
        lines += [f"| {scenario} | {' | '.join(by_policy)} |", f"| --- |{' ---: |' * len(by_policy)}"]
        for field, title in ROWS.items():
            cells = [_cell(field, seen) for seen in by_policy.values()]
            if any(cells):
                lines.append(f"| {title} | {' | '.join(cells)} |")
        lines.append("")
    page.write("policies.md", lines[:-1])


def _cell(field: str, seen: Seen) -> str:
    value = getattr(seen.report, field)
    if value is None:
        return ""
    if field == "peak_out":
        return f"{100 * value:.0f} %"
    return f"{value:,.0f} of {seen.report.episodes:,}" if field == "detected" else f"{value:,.0f}"


if __name__ == "__main__":
    main()
