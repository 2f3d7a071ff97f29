"""The catalog of objects while a coordinator serves it: its parts, and looks across them."""

from __future__ import annotations

from collections.abc import Sequence

from faultset_ray.backend.protocol import Clock
from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.elapsed import Elapsed
from faultset_ray.coordinator.entries import Entries
from faultset_ray.coordinator.objects import StoreState, Tally, Whose
from faultset_ray.coordinator.retired import Retirements
from faultset_ray.coordinator.stores import Stores, keys_of
from faultset_ray.coordinator.tombstones import Tombstones
from faultset_ray.coordinator.upkeep import Upkeep
from faultset_ray.coordinator.waste import Waste
from faultset_ray.coordinator.writes import Writes
from faultset_ray.errors import InputError, StoreInUse


class ObjectLedger:
    """Every object of one system. Nothing but the keys of stores is in memory."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self.clock = clock
        self.time = Elapsed(catalog, clock)
        self.stores = Stores(catalog)
        self.entries = Entries(catalog, self.stores, self.time)
        self.waste = Waste(catalog, self.stores)
        self.writes = Writes(catalog, self.time, self.stores, self.entries, self.waste)
        self.tombstones = Tombstones(catalog, self.stores, self.entries)
        self.upkeep = Upkeep(catalog, self.stores, self.entries, self.waste, self.tombstones)
        self.retired = Retirements(catalog)

    def keep_time(self) -> None:
        """Have the catalog's time on the disk, where it was not for a while and nothing else was written."""
        if self.time.due:
            with self._catalog.transaction():
                self.time.keep()

    def set_store_state(
        self, uuid: str, state: StoreState, *, force: bool = False, only: StoreState | None = None
    ) -> bool:
        """Say what a store is for from now on; nothing is waited for of one that is retired.

        False where it is not ``only``: then nothing is changed.
        """
        if state not in {"active", "draining", "retired"}:
            raise InputError(f"state of a store is {state!r}; expected active, draining or retired")
        key = self.stores.key(uuid)
        with self._catalog.transaction():
            if only is not None and self.stores.state(uuid) != only:
                return False
            if state == "active" and uuid in self.retired.now().stores:
                state = "returning"
            if state == "retired":
                needed = self.writes.using(key) or self.upkeep.moving(key)
                if needed is None and not force:
                    needed = self.entries.stored(key)
                if needed is not None:
                    raise StoreInUse(uuid, needed)
            self.stores.set_state(uuid, state)
            if state == "retired":
                self.waste.retire(key)
                self.retired.add(uuid, self.writes.latest)
        self.stores.refresh()
        return True

    def store_returned(self, uuid: str) -> None:
        """A store that was retired has nothing more of before: it takes part again, unless it is to become empty."""
        with self._catalog.transaction():
            self.retired.remove(uuid)
            if self.stores.state(uuid) == "returning":
                self.stores.set_state(uuid, "active")
        self.stores.refresh()

    def whose(self, store: str, shards: Sequence[tuple[bytes, int]]) -> list[Whose]:
        """What the catalog knows of shards that were found on a store."""
        key = self.stores.key(store)
        return [self._whose(key, write_id, index) for write_id, index in shards]

    def drop_surplus(self, store: str, shards: Sequence[tuple[bytes, int]]) -> int:
        """Have a store drop shards that their objects have elsewhere; how many of them are that still.

        Not those that are damaged where they should be: the copy may be needed.
        """
        key, dropped = self.stores.key(store), 0
        with self._catalog.transaction():
            for write_id, index in shards:
                generation = self.entries.committed(write_id)
                if generation is None or self._whose(key, write_id, index) != "surplus":
                    continue
                if not self._catalog.one("SELECT 1 FROM damage WHERE generation = ? AND idx = ?", generation, index):
                    self.waste.add(key, generation, index)
                    dropped += 1
        return dropped

    def keeps(self, store: str, generations: Sequence[int]) -> list[bool]:
        """Of records that were found on a store, whether the catalog will tell it when to forget them."""
        key = self.stores.key(store)
        return [self._keeps(key, generation) for generation in generations]

    def note(self, name: str) -> bytes:
        """A small value that somebody keeps here; empty where none is."""
        return self._catalog.kept(name)

    def set_note(self, name: str, body: bytes) -> None:
        """Keep a small value."""
        with self._catalog.transaction():
            self._catalog.keep(name, body)

    def tally(self) -> Tally:
        """Count everything."""
        [objects, size] = self._catalog.one(
            "SELECT COUNT(*), COALESCE(SUM(w.size), 0) FROM generations g JOIN generations w ON w.generation = g.owner "
            "WHERE g.state = 'visible'"
        )
        [deleted] = self._catalog.one(
            "SELECT COUNT(*) FROM generations WHERE state <> 'visible' AND state = 'deleted' AND purge_ms IS NOT NULL"
        )
        [open_writes] = self._catalog.one("SELECT COUNT(*) FROM intents WHERE state = 'open'")
        [aborting] = self._catalog.one("SELECT COUNT(*) FROM intents WHERE state = 'aborting'")
        [garbage] = self._catalog.one("SELECT COUNT(*) FROM garbage")
        [damage, oldest_ms] = self._catalog.one("SELECT COUNT(*), MIN(at_ms) FROM damage")
        [moves] = self._catalog.one("SELECT COUNT(*) FROM shard_moves")
        return Tally(objects, size, deleted, open_writes, aborting, garbage, damage, oldest_ms, moves)

    def _keeps(self, store: int, generation: int) -> bool:
        row = self._catalog.one("SELECT kind, owner, layout FROM generations WHERE generation = ?", generation)
        if not row:
            found = self._catalog.one("SELECT state FROM intents WHERE generation = ?", generation)
            return bool(found) and (found[0] == "open" or self.waste.awaited(store, generation))
        kind, owner, layout = row
        if kind == "delete":
            return store in keys_of(layout)
        return self.waste.holds(store, owner) or self.waste.awaited(store, owner)

    def _whose(self, store: int, write_id: bytes, index: int) -> Whose:
        row = self._catalog.one("SELECT state FROM intents WHERE write_id = ?", write_id)
        if row:
            return "open" if row[0] == "open" else "garbage"
        row = self._catalog.one("SELECT generation, state, layout FROM generations WHERE write_id = ?", write_id)
        if not row:
            return ""
        generation, state, layout = row
        if state != "condemned" and keys_of(layout)[index : index + 1] == (store,):
            return "live"
        if self._catalog.one(
            "SELECT 1 FROM shard_moves WHERE generation = ? AND idx = ? AND target = ?", generation, index, store
        ):
            return "open"
        if self.waste.awaited(store, generation):
            return "garbage"
        return "surplus" if self.entries.owned(generation) is not None else ""
