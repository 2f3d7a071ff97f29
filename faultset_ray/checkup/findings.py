"""What a check says: how bad, where, what was found, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is."""

    SKIPPED = "skipped"
    """It could not be looked at; the text says why."""
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """Its stable name, as ``store_disk``."""
    level: Level
    text: str
    """What was found, with its numbers."""
    place: str = ""
    """Where; empty for this machine, or for all."""
    remedy: str = ""
    """What to do."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs."""


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among findings, ``OK`` at least."""
    order = list(Level)
    return max((Level.OK, *(finding.level for finding in findings)), key=order.index)
