"""Shards that are damaged, and shards that go to other stores."""

from __future__ import annotations

from collections.abc import Sequence

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.entries import Entries
from faultset_ray.coordinator.objects import Damage, ShardMove
from faultset_ray.coordinator.stores import NOWHERE, Stores, keys_of, packed
from faultset_ray.coordinator.tombstones import Tombstones
from faultset_ray.coordinator.waste import Waste
from faultset_ray.coordinator.writes import each
from faultset_ray.errors import FaultsetError, InputError, ObjectNotFound, StaleEpoch, WriteInProgress
from faultset_ray.objects.entry import Entry


class Upkeep:
    """The damage that was reported, and the moves that are not ended."""

    def __init__(
        self, catalog: Catalog, stores: Stores, entries: Entries, waste: Waste, tombstones: Tombstones
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._entries = entries
        self._waste = waste
        self._tombstones = tombstones

    # -- Damage

    def report(self, reports: Sequence[Damage], now_ms: int) -> int:
        """Note damage; how much of it is of shards that are where it says. The first report of a shard stays."""
        noted = 0
        with self._catalog.transaction():
            for damage in reports:
                owner = self._entries.committed(damage.write_id)
                entry = None if owner is None else self._entries.owned(owner)
                if entry is None or entry.layout[damage.index : damage.index + 1] != (damage.store,):
                    continue
                noted += 1
                self._catalog.do(
                    "INSERT OR IGNORE INTO damage VALUES (?, ?, ?, ?, ?)",
                    *(owner, damage.index, self._stores.key(damage.store), damage.reason, now_ms),
                )
        return noted

    def damage(self, limit: int, skip: int = 0) -> list[Damage]:
        """What was reported and not made good yet, oldest first; so many, after those that are skipped."""
        rows = self._catalog.all(
            "SELECT g.write_id, d.idx, d.store, d.reason FROM damage d JOIN generations g USING (generation) "
            "ORDER BY d.at_ms, d.generation, d.idx LIMIT ? OFFSET ?",
            *(limit, skip),
        )
        return [Damage(write_id, index, self._stores.uuid(store), reason) for write_id, index, store, reason in rows]

    def damage_of(self, write_id: bytes) -> list[Damage]:
        """The same of one write, by index; also where its object was deleted and brought back since."""
        rows = self._catalog.all(
            "SELECT idx, store, reason FROM damage WHERE generation = ? ORDER BY idx", self._entries.committed(write_id)
        )
        return [Damage(write_id, index, self._stores.uuid(store), reason) for index, store, reason in rows]

    def sound(self, reports: Sequence[Damage]) -> None:
        """Take damage back that turned out to be none."""
        with self._catalog.transaction():
            self._catalog.many(
                "DELETE FROM damage WHERE generation = ? AND idx = ? AND store = ?",
                (
                    (self._entries.committed(damage.write_id), damage.index, self._stores.key(damage.store))
                    for damage in reports
                ),
            )

    # -- Moves

    def open(self, moves: Sequence[ShardMove], now_ms: int) -> list[Entry | FaultsetError]:
        """Write down that shards are to go elsewhere, in one transaction."""
        self._stores.learn((move.target,) for move in moves)
        with self._catalog.transaction():
            return each(lambda move: self._opened(move, now_ms), moves)

    def commit(self, moves: Sequence[ShardMove]) -> list[Entry | FaultsetError]:
        """Have shards where they went, in one transaction."""
        with self._catalog.transaction():
            return each(self._committed, moves)

    def abort(self, moves: Sequence[ShardMove]) -> None:
        """Give moves up, unless they are committed; the targets are to drop what they have.

        Also of one that was given up before: its mover was overtaken, and has gone on for a while.
        """
        with self._catalog.transaction():
            for move in moves:
                owner = self._entries.committed(move.write_id)
                if owner is None:
                    continue
                if self._is_open(owner, move):
                    self._ended(owner, move.index)
                if not self._meant(owner, move):
                    self._waste.add(self._stores.key(move.target), owner, move.index)

    def moves(self, until_ms: int | None) -> list[ShardMove]:
        """The moves that are not ended and were opened by a time, oldest first."""
        rows = self._catalog.all(
            "SELECT g.write_id, m.idx, m.source, m.target FROM shard_moves m JOIN generations g USING (generation) "
            "WHERE ?1 IS NULL OR m.opened_ms <= ?1 ORDER BY m.opened_ms, m.generation, m.idx",
            until_ms,
        )
        return [
            ShardMove(write_id, index, self._stores.uuid(source), self._stores.uuid(target))
            for write_id, index, source, target in rows
        ]

    def moving(self, store: int) -> str | None:
        """The name of an object with a shard that is on its way to or from a store; None where there is none."""
        found = self._catalog.one(
            "SELECT g.name FROM shard_moves m JOIN generations g USING (generation) WHERE m.source = ? OR m.target = ?",
            *(store, store),
        )
        return found[0].decode() if found else None

    # -- Inside

    def _opened(self, move: ShardMove, now_ms: int) -> Entry:
        owner, entry = self._owned(move)
        if self._is_open(owner, move):
            return entry
        if not 0 <= move.index < len(entry.layout) or not move.target:
            raise InputError(f"write {move.write_id.hex()} has no shard {move.index} to go to store {move.target!r}")
        if entry.layout[move.index] != move.source or _is_outdated(move, entry):
            raise self._stale(move, entry)
        if move.target != move.source and not self._stores.accepts(move.target):
            raise InputError(f"store {move.target} takes no new shards: it is not active")
        busy = self._catalog.one("SELECT 1 FROM shard_moves WHERE generation = ? AND idx = ?", owner, move.index)
        if busy or self._waste.awaited(self._stores.key(move.target), owner):
            raise WriteInProgress(entry.record.name)
        if entry.tombstone is not None:
            self._tombstones.add(move.target, [entry.tombstone.generation])
        self._catalog.do(
            "INSERT INTO shard_moves VALUES (?, ?, ?, ?, ?)",
            *(owner, move.index, self._stores.key(move.source), self._stores.key(move.target), now_ms),
        )
        return entry

    def _committed(self, move: ShardMove) -> Entry:
        owner, entry = self._owned(move)
        if not self._is_open(owner, move):
            if move.target and entry.layout[move.index : move.index + 1] == (move.target,):
                return entry
            raise self._stale(move, entry)
        if _is_outdated(move, entry):
            raise self._stale(move, entry)
        if entry.tombstone is not None:  # the deletion may have come after the move was opened
            self._tombstones.add(move.target, [entry.tombstone.generation])
        source, target = self._stores.key(move.source), self._stores.key(move.target)
        [layout] = self._catalog.one("SELECT layout FROM generations WHERE generation = ?", owner)
        keys = list(keys_of(layout))
        keys[move.index] = target
        self._catalog.do(
            "UPDATE generations SET layout = ?, layout_version = layout_version + 1 WHERE generation = ?",
            *(packed(keys), owner),
        )
        self._ended(owner, move.index)
        self._catalog.do("DELETE FROM damage WHERE generation = ? AND idx = ?", owner, move.index)
        if source != target:
            shard = (source, owner, move.index)
            self._catalog.do("DELETE FROM shards WHERE store = ? AND generation = ? AND idx = ?", *shard)
            self._catalog.do("INSERT INTO shards VALUES (?, ?, ?)", target, owner, move.index)
            self._waste.add(*shard)
        return self._owned(move)[1]

    def _owned(self, move: ShardMove) -> tuple[int, Entry]:
        owner = self._entries.committed(move.write_id)
        entry = None if owner is None else self._entries.owned(owner)
        if owner is None or entry is None:
            raise ObjectNotFound(f"of write {move.write_id.hex()}")
        return owner, entry

    def _is_open(self, owner: int, move: ShardMove) -> bool:
        source, target = self._stores.key(move.source), self._stores.key(move.target)
        found = self._catalog.one(
            "SELECT 1 FROM shard_moves WHERE generation = ? AND idx = ? AND source = ? AND target = ?",
            *(owner, move.index, source, target),
        )
        return target != NOWHERE and bool(found)

    def _meant(self, owner: int, move: ShardMove) -> bool:
        """Whether the shard is where the move was to bring it, or somebody else is about to bring it there."""
        shard = self._stores.key(move.target), owner, move.index
        return bool(
            self._catalog.one("SELECT 1 FROM shards WHERE store = ? AND generation = ? AND idx = ?", *shard)
            or self._catalog.one("SELECT 1 FROM shard_moves WHERE target = ? AND generation = ? AND idx = ?", *shard)
        )

    def _ended(self, owner: int, index: int) -> None:
        self._catalog.do("DELETE FROM shard_moves WHERE generation = ? AND idx = ?", owner, index)

    @staticmethod
    def _stale(move: ShardMove, entry: Entry) -> StaleEpoch:
        what = f"the move of shard {move.index} of write {move.write_id.hex()}"
        planned = max(entry.layout_version - 1, 0) if move.layout_version is None else move.layout_version
        return StaleEpoch(what, planned, entry.layout_version)


def _is_outdated(move: ShardMove, entry: Entry) -> bool:
    """Whether another move came first: the two together may bring two shards to one store."""
    return move.layout_version not in {None, entry.layout_version}
