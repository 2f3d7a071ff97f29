"""Which stores were let go of, and until when: kept as a note of the catalog, and given to the stores to remember."""

from __future__ import annotations

from typing import Final

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.objects.entry import RetiredStores

NOTE: Final = "retired"
"""The note that has the list."""


class Retirements:
    """The list; what changes it is called inside a transaction."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def now(self) -> RetiredStores:
        """The list as it is."""
        found = self._catalog.kept(NOTE)
        return RetiredStores.unpack(found) if found else RetiredStores()

    def add(self, uuid: str, generation: int) -> None:
        """A store is let go of: what it has up to a generation is needed only where the catalog names it."""
        self._put({**self.now().stores, uuid: generation})

    def remove(self, uuid: str) -> None:
        """A store takes part again, and has nothing more of before."""
        self._put({other: last for other, last in self.now().stores.items() if other != uuid})

    def _put(self, stores: dict[str, int]) -> None:
        # A list that went with a lost catalog, and was seen by a store alone that was away since, is an older epoch's.
        version = max(self.now().version + 1, self._catalog.epoch << 32)
        self._catalog.keep(NOTE, RetiredStores(version, stores).pack())
