"""Which stores have the tombstones: they go where shards of what they hide go, and on enough stores by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.entries import Entries
from faultset_ray.coordinator.stores import NOWHERE, Stores, keys_of, packed
from faultset_ray.objects.entry import Entry


class Tombstones:
    """Their layouts: every store that may have one, which is told to forget it when it is waste."""

    def __init__(self, catalog: Catalog, stores: Stores, entries: Entries) -> None:
        self._catalog = catalog
        self._stores = stores
        self._entries = entries

    def on(self, uuid: str, after: int, limit: int) -> list[Entry]:
        """Tombstones that a store may have, by generation: a page."""
        key = self._stores.key(uuid)
        found: list[Entry] = []
        while len(found) < limit:
            rows = self._catalog.all(
                "SELECT generation, layout FROM generations WHERE state <> 'visible' AND state <> 'condemned' "
                "AND kind = 'delete' AND generation > ? ORDER BY generation LIMIT ?",
                *(after, limit),
            )
            for generation, layout in rows:
                entry = self._entries.of(generation) if key in keys_of(layout) else None
                found += [] if entry is None else [entry]
            if len(rows) < limit:
                break
            after = rows[-1][0]
        return found[:limit]

    def add(self, uuid: str, generations: Sequence[int]) -> list[bool]:
        """Inside a transaction: a store is about to get some; of each, whether it is still needed."""
        key = self._stores.key(uuid)
        return [key != NOWHERE and self._added(key, generation) for generation in generations]

    def _added(self, key: int, generation: int) -> bool:
        found = self._catalog.one(
            "SELECT layout FROM generations WHERE generation = ? AND kind = 'delete' AND state <> 'condemned'",
            generation,
        )
        if found and key not in keys_of(found[0]):
            layout = packed(sorted({*keys_of(found[0]), key}))
            self._catalog.do("UPDATE generations SET layout = ? WHERE generation = ?", layout, generation)
        return bool(found)
