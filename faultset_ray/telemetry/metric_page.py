"""The part of docs/metrics.md that lists every metric: ``python -m faultset_ray.telemetry.metric_page PAGE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from faultset_ray.telemetry.metric_table import METRICS, Metric

MARK: Final = "<!-- What follows is made of the table of metrics: make docs-metrics -->\n"
"""Stands in the page before what is made."""


def made() -> str:
    """What stands behind the mark."""
    return "\n" + "\n".join(_sections()).rstrip() + "\n"


def write(page: Path) -> None:
    """Make the part of a page behind the mark anew."""
    before, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(before + mark + made(), encoding="utf-8")


def _sections() -> Iterator[str]:
    for section in dict.fromkeys(metric.section for metric in METRICS.values()):
        yield f"## {section}\n"
        yield "| Metric | Kind | Tags | Meaning |\n| --- | --- | --- | --- |"
        yield from (_row(metric) for metric in METRICS.values() if metric.section == section)
        yield ""


def _row(metric: Metric) -> str:
    tags = ", ".join(
        f"`{tag.name}`: {', '.join(tag.values)}" if tag.values else f"`{tag.name}`: up to {tag.most}"
        for tag in metric.tags
    )
    beside = f" Of now beside `{metric.beside}`." if metric.beside else ""
    name = metric.series[0].removesuffix("_bucket")
    return f"| `{name}` | {metric.kind} | {tags} | {metric.text}{beside} |"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
