"""The fewest losses that any write was to tolerate: readers count silent stores by it, the coordinator being away."""

from __future__ import annotations

from typing import Final

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.limits import SILENT_MAX

NOTE: Final = "least"
"""The note that has it."""
_TOLD: Final = f"{NOTE}/told"


class Least:
    """Kept as a note; what changes it is called inside a transaction."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def now(self) -> int:
        """What every fence carries."""
        return self._number(NOTE)

    def told(self) -> int:
        """Down to which value enough stores remember it."""
        return self._number(_TOLD)

    def lower(self, tolerate: int) -> None:
        """Writes may tolerate as little from now on."""
        if tolerate < self.now():
            self._catalog.keep(NOTE, packed(tolerate))

    def remembered(self, tolerate: int) -> None:
        """Enough stores remember a value."""
        if tolerate < self.told():
            self._catalog.keep(_TOLD, packed(tolerate))

    def _number(self, name: str) -> int:
        found = self._catalog.kept(name)
        return int(found) if found else SILENT_MAX


def packed(number: int) -> bytes:
    """As the note has it."""
    return b"%d" % number
