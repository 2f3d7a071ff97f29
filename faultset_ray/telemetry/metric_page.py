"""The part of docs/metrics.md that lists every metric; ``jobs.pages`` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from faultset_ray.telemetry.metric_table import METRICS, Metric

MARK: Final = "<!-- What follows is made of the table of metrics: make docs-metrics -->\n"
"""Stands in the page before what is made."""


def made() -> str:
    """What stands behind the mark."""
    return "\n" + "\n".join(_sections()).rstrip() + "\n"


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
