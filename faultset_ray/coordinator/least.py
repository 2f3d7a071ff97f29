"""The fewest losses that any write was to tolerate: readers count silent stores by it, the coordinator being away."""

from __future__ import annotations

from typing import Final

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.limits import SILENT_MAX

NOTE: Final = "least"
"""The note that has it."""


class Least:
    """Kept as a note; what changes it is called inside a transaction."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def now(self) -> int:
        """What every fence carries."""
        return self._number(NOTE)

    def told(self) -> int:
        """Down to which value enough stores remember it."""
        return self._number(f"{NOTE}/told")

    def lower(self, tolerate: int) -> None:
        """Writes may tolerate as little from now on."""
        self._put(NOTE, min(tolerate, self.now()))

    def remembered(self, tolerate: int) -> None:
        """Enough stores remember a value."""
        self._put(f"{NOTE}/told", min(tolerate, self.told()))

    def _number(self, name: str) -> int:
        found = self._catalog.one("SELECT body FROM notes WHERE name = ?", name)
        return int(found[0]) if found else SILENT_MAX

    def _put(self, name: str, number: int) -> None:
        self._catalog.do("INSERT OR REPLACE INTO notes VALUES (?, ?)", name, packed(number))


def packed(number: int) -> bytes:
    """As the note has it."""
    return b"%d" % number
