"""Keep what each run of the benchmarks measured, draw it, and fail when something became slower.

``python benchmarks/history.py NOW.json``, with what ``--benchmark-json`` wrote. A run is compared with earlier ones on
the same processor and Python only, and apart from the pace of the whole run, since hired machines are quicker one night
than the next. A slowdown that stays is told until half of the runs that are looked at have it: then it is normal.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HISTORY = Path(__file__).parent / "results" / "history"
LOOK_BACK = 10
"""Newest earlier runs that a run is compared with."""
ENOUGH = 5
"""With fewer, nothing is said."""
SLOWER = 1.3
"""Times the median of the earlier runs, the pace of the run taken out: a drop."""
PACE = 1.5
"""Times, over all benchmarks: not the machine's mood any more."""


@dataclass(frozen=True)
class Run:
    """One run: medians in seconds, by the benchmark's name."""

    at: str
    commit: str
    machine: str
    """Processor and Python."""
    seconds: dict[str, float]


@dataclass(frozen=True)
class Drop:
    name: str
    ratio: float
    """This run's time over the median of the earlier ones."""
    pace: float
    """The same, in the middle of all benchmarks."""

    def __str__(self) -> str:
        return f"{self.name}: {self.ratio:.2f} times as long as in the runs before (this run in all: {self.pace:.2f})"


def read_run(measured: Path) -> Run:
    """What pytest-benchmark wrote.

    Raises
    ------
    KeyError, ValueError
        The file is not of that kind.
    """
    given = json.loads(measured.read_text())
    info = given["machine_info"]
    processor = info["cpu"].get("brand_raw", info["machine"])
    python = ".".join(info["python_version"].split(".")[:2])
    return Run(
        at=given["datetime"],
        commit=(given.get("commit_info") or {}).get("id") or "unknown",
        machine=f"{processor}, Python {python}",
        seconds={each["fullname"]: each["stats"]["median"] for each in given["benchmarks"]},
    )


def drops(now: Run, history: Sequence[Run]) -> list[Drop]:
    """What became slower, the worst first; with less than :data:`ENOUGH` comparable runs, nothing."""
    earlier = [run for run in history if run.machine == now.machine][-LOOK_BACK:]
    before = {name: [run.seconds[name] for run in earlier if name in run.seconds] for name in now.seconds}
    before = {name: times for name, times in before.items() if len(times) >= ENOUGH}
    ratios = {name: now.seconds[name] / statistics.median(times) for name, times in before.items()}
    if not ratios:
        return []
    pace = statistics.median(ratios.values())
    found = [
        Drop(name, ratio, pace)
        for name, ratio in ratios.items()
        # slower than ever, too: some benchmarks swing by more than SLOWER from night to night
        if ratio > SLOWER * max(pace, 1.0) and now.seconds[name] > max(before[name])
    ]
    if pace > PACE:
        found.append(Drop("all benchmarks", pace, pace))
    return sorted(found, key=lambda drop: -drop.ratio)


def load(path: Path) -> list[Run]:
    """The runs, the oldest first; none where there is no file yet."""
    return [Run(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, run: Run) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(asdict(run), sort_keys=True) + "\n")


def draw(runs: Sequence[Run], chart: Path) -> None:
    """A small chart for each benchmark: seconds by run, a line for each machine."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = sorted({name for run in runs for name in run.seconds})
    colours = {machine: f"C{number}" for number, machine in enumerate(sorted({run.machine for run in runs}))}
    columns = 4
    rows = -(-len(names) // columns)
    high = 2.2 * rows + 0.3 * len(colours)  # inches; the legend has a line for each machine
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, high), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        for machine, colour in colours.items():
            seconds = [run.seconds.get(name) if run.machine == machine else None for run in runs]
            points = [(number, value) for number, value in enumerate(seconds) if value is not None]
            if points:
                axis.plot(*zip(*points, strict=True), marker=".", color=colour)
        axis.set_title(name.partition("::")[2][-48:], fontsize=8)
        axis.set_xlim(-0.5, len(runs) - 0.5)
        axis.set_ylim(0, 1.15 * max(run.seconds.get(name, 0.0) for run in runs))
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    lines = [plt.Line2D([], [], color=colour, marker=".") for colour in colours.values()]
    figure.legend(lines, colours, loc="lower center", fontsize=8)
    figure.tight_layout(rect=(0, (0.3 + 0.2 * len(colours)) / high, 1, 1))
    figure.savefig(chart)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("measured", type=Path)
    parser.add_argument("--history", type=Path, default=HISTORY)
    options = parser.parse_args(arguments)
    kept = options.history / "runs.jsonl"
    now, history = read_run(options.measured), load(kept)
    append(kept, now)
    draw([*history, now], options.history / "chart.svg")
    found = drops(now, history)
    comparable = sum(run.machine == now.machine for run in history)
    print(f"{len(now.seconds)} benchmarks on {now.machine}, {comparable} runs before; {options.history / 'chart.svg'}")
    for drop in found:
        print(f"SLOWER {drop}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
