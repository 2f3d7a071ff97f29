"""What stores are to let go of: found when it is due, kept until each store has said that it did.

Only what the catalog names becomes garbage. First come the shards and records of writes, then tombstones, when
nothing older of the name is anywhere: a record that comes back with a store must find the tombstone above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.objects import Garbage
from faultset_ray.coordinator.stores import NOWHERE, Stores, keys_of
from faultset_ray.limits import GARBAGE_CHUNK
from faultset_ray.objects.record import object_id

WHOLE: Final = -1
"""In place of an index: all of a write, its records too; or, of a tombstone, its record."""
_GROUP = (
    "SELECT generation, state, purge_ms, name, layout FROM generations WHERE generation = ? UNION ALL "
    "SELECT generation, state, purge_ms, name, layout FROM generations WHERE owner = ? AND kind = 'undelete'"
)


class Waste:
    """Rows of garbage; all that writes is called inside a transaction, but for :meth:`condemn`."""

    def __init__(self, catalog: Catalog, stores: Stores) -> None:
        self._catalog = catalog
        self._stores = stores

    def add(self, store: int, generation: int, index: int) -> None:
        """Let a store drop a shard, or ``WHOLE``; nothing is asked of a store that is retired."""
        if store != NOWHERE and not self._stores.retired(store):
            self._catalog.do("INSERT OR IGNORE INTO garbage VALUES (?, ?, ?)", store, generation, index)

    def awaited(self, store: int, generation: int) -> bool:
        """Whether a store has still to drop something of a write."""
        return bool(
            self._catalog.one("SELECT 1 FROM garbage WHERE store = ? AND generation = ? LIMIT 1", store, generation)
        )

    def condemn(self, now_ms: int) -> None:
        """Find what is due, in one transaction."""
        due = self._catalog.all(
            "SELECT owner, kind, name FROM generations WHERE purge_ms <= ? ORDER BY purge_ms, generation LIMIT ?",
            *(now_ms, GARBAGE_CHUNK),
        )
        if not due:
            return
        with self._catalog.transaction():
            for owner, kind, name in due:
                if kind == "delete":
                    self._catalog.do("UPDATE generations SET purge_ms = NULL WHERE generation = ?", owner)
                    self.released(name)
                else:
                    self._condemn_write(owner, now_ms)

    def released(self, name: bytes) -> None:
        """Condemn the tombstones of a name that are due, once nothing older of it is left."""
        tombstones = self._catalog.all(
            "SELECT generation, layout FROM generations WHERE state <> 'visible' AND name = ? AND kind = 'delete' "
            "AND state <> 'condemned' AND purge_ms IS NULL ORDER BY generation",
            name,
        )
        for generation, layout in tombstones:
            older = "state <> 'visible' AND name = ? AND generation < ? LIMIT 1"
            if self._catalog.one(f"SELECT 1 FROM generations WHERE {older}", name, generation) or self._catalog.one(
                "SELECT 1 FROM intents WHERE name = ? AND generation < ? LIMIT 1", name, generation
            ):
                return
            self._catalog.do("UPDATE generations SET state = 'condemned' WHERE generation = ?", generation)
            self._add_whole(generation, keys_of(layout))

    def handed(self, limit: int) -> list[Garbage]:
        """Garbage, at most so much of each store, oldest first."""
        found: list[Garbage] = []
        told: dict[int, tuple[bytes, tuple[tuple[bytes, int], ...]]] = {}
        for key in self._stores.keys:
            rows = self._catalog.all(
                "SELECT generation, idx FROM garbage WHERE store = ? ORDER BY generation, idx LIMIT ?", key, limit
            )
            for generation, index in rows:
                if generation not in told:
                    told[generation] = self._about(generation)
                write_id, records = told[generation]
                if index != WHOLE and self.holds(key, generation):
                    records = ()
                found.append(
                    Garbage(*(self._stores.uuid(key), generation, write_id, None if index == WHOLE else index), records)
                )
        return found

    def collected(self, items: Sequence[Garbage]) -> None:
        """Note what stores have dropped."""
        keys = [
            (self._stores.key(item.store), item.generation, WHOLE if item.index is None else item.index)
            for item in items
        ]
        self._catalog.many("DELETE FROM garbage WHERE store = ? AND generation = ? AND idx = ?", keys)
        self.finish(item.generation for item in items)

    def retire(self, store: int) -> None:
        """Wait for a store no more."""
        gone = self._catalog.all("SELECT DISTINCT generation FROM garbage WHERE store = ?", store)
        self._catalog.do("DELETE FROM garbage WHERE store = ?", store)
        self.finish(generation for (generation,) in gone)

    def finish(self, generations: Iterable[int]) -> None:
        """Forget what was given up, where no store has anything of it any more."""
        for generation in sorted(set(generations)):
            if self._catalog.one("SELECT 1 FROM garbage WHERE generation = ? LIMIT 1", generation):
                continue
            aborted = self._catalog.one(
                "SELECT name FROM intents WHERE generation = ? AND state = 'aborting'", generation
            )
            condemned = self._catalog.one(
                "SELECT name FROM generations WHERE generation = ? AND state = 'condemned'", generation
            )
            if aborted:
                self._catalog.do("DELETE FROM intents WHERE generation = ?", generation)
            if condemned:
                self._catalog.do("DELETE FROM generations WHERE generation = ?", generation)
                self._catalog.do("DELETE FROM generations WHERE owner = ? AND kind = 'undelete'", generation)
            for name in (*aborted, *condemned):
                self.released(name)

    # -- Inside

    def _condemn_write(self, owner: int, now_ms: int) -> None:
        """Condemn a write whose shards nobody reads: neither it nor an undeletion of it is the newest."""
        group = self._catalog.all(_GROUP, owner, owner)
        if any(state != "superseded" for _, state, *_ in group):
            for generation, *_ in group:  # it is looked at again with the one that is not superseded yet
                self._catalog.do(
                    "UPDATE generations SET purge_ms = NULL WHERE generation = ? AND state = 'superseded'", generation
                )
            return
        used = self._catalog.one("SELECT 1 FROM intents WHERE owner = ? LIMIT 1", owner) or self._catalog.one(
            "SELECT 1 FROM shard_moves WHERE generation = ? LIMIT 1", owner
        )
        if used or any(purge_ms is not None and purge_ms > now_ms for _, _, purge_ms, *_ in group):
            return
        for generation, *_ in group:
            self._catalog.do(
                "UPDATE generations SET state = 'condemned', purge_ms = NULL WHERE generation = ?", generation
            )
        [(_, _, _, name, layout)] = [row for row in group if row[0] == owner]
        [newest] = self._catalog.one(
            "SELECT state FROM generations WHERE state <> 'visible' AND name = ? AND kind <> 'delete' "
            "ORDER BY generation DESC LIMIT 1",
            name,
        )
        if newest == "condemned":  # it was what an undeletion would bring back
            self._catalog.do(
                "UPDATE generations SET purge_ms = NULL WHERE state <> 'visible' AND state = 'deleted' AND name = ?",
                name,
            )
        keys = {key for key in keys_of(layout) if key != NOWHERE}
        self._catalog.many("DELETE FROM shards WHERE store = ? AND generation = ?", ((key, owner) for key in keys))
        self._catalog.do("DELETE FROM damage WHERE generation = ?", owner)
        self._add_whole(owner, keys)

    def _add_whole(self, generation: int, stores: Iterable[int]) -> None:
        """Let these stores, and those that have still to drop something of it, drop all of it."""
        waited = self._catalog.all("SELECT DISTINCT store FROM garbage WHERE generation = ?", generation)
        self._catalog.do("DELETE FROM garbage WHERE generation = ?", generation)
        for key in {*stores, *(key for (key,) in waited)}:
            self.add(key, generation, WHOLE)
        self.finish([generation])

    def _about(self, generation: int) -> tuple[bytes, tuple[tuple[bytes, int], ...]]:
        """The write id of a write's shards, empty where it has none, and its records."""
        row = self._catalog.one("SELECT write_id, kind, name FROM intents WHERE generation = ?", generation)
        if not row:
            row = self._catalog.one("SELECT write_id, kind, name FROM generations WHERE generation = ?", generation)
        write_id, kind, name = row
        reborn = self._catalog.all(
            "SELECT generation FROM generations WHERE owner = ? AND kind = 'undelete' ORDER BY generation", generation
        )
        called = object_id(name.decode())
        records = tuple((called, each) for each in (generation, *(each for (each,) in reborn)))
        return write_id if kind == "put" else b"", records

    def holds(self, store: int, generation: int) -> bool:
        """Whether a store is to keep a shard of a write, or is about to get one: its record may be there already."""
        return any(
            self._catalog.one(f"SELECT 1 FROM {table} = ? AND generation = ? LIMIT 1", store, generation)
            for table in ("shards WHERE store", "shard_moves WHERE target")
        )
