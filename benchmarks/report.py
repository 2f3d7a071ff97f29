"""What benchmarks found, beside the targets: printed as it comes, and kept in ``benchmarks/results/``."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("ray", "numpy", "numba")


class Report:
    """Rows of one run.

    Parameters
    ----------
    name
        Of the file in ``results/``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.missed: list[str] = []
        self._rows = ["| what | found | target |", "|---|---|---|"]

    def add(
        self, what: str, value: float, *, least: float | None = None, most: float | None = None, unit: str = ""
    ) -> None:
        """One row; where there is a target, whether it was met."""
        met = (least is None or value >= least) and (most is None or value <= most)
        target = "" if least is None and most is None else f"≥ {least:g}" if most is None else f"≤ {most:g}"
        verdict = target and (" ok" if met else " MISSED")
        found = f"{value:.3g} {unit}".strip() if value < 1_000 else f"{value:,.0f} {unit}".strip()
        print(f"{what:90}{found:>16}   {target}{verdict}", flush=True)
        self._rows.append(f"| {what} | {found} | {target}{verdict} |")
        if not met:
            self.missed.append(what)

    def close(self) -> int:
        """Keep the rows, and return the exit status: 1 if a target was missed."""
        text = "\n".join([about(), "", *self._rows, ""])
        (RESULTS / f"{self.name}.md").write_text(text, encoding="utf-8")
        return 1 if self.missed else 0


def about() -> str:
    """When, of which commit, and where figures were taken."""
    git = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, check=False, capture_output=True, text=True).stdout.strip() or "no checkout"
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {_cpu()}, Python {platform.python_version()}, {versions}."


def _cpu() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(names)} of {names[0]}" if names else platform.machine()
