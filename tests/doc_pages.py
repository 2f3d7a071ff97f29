"""Where the pages of the documentation are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def sources(*endings: str) -> list[Path]:
    """Files below ``docs`` with one of some endings, in order; not those that ``make docs`` has built of them."""
    found = (path for ending in endings for path in DOCS.rglob(f"*{ending}"))
    return sorted(path for path in found if "_build" not in path.parts)
