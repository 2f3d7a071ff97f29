"""Putting what stores hold into an empty catalog: the verbs of a rebuild."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from faultset_ray.coordinator.least import NOTE as LEAST
from faultset_ray.coordinator.least import packed as packed_least
from faultset_ray.coordinator.ledger import Ledger
from faultset_ray.coordinator.objects import Lost, Orphan, Rebuilt, Twice, Unfinished
from faultset_ray.coordinator.rebuilding import NOBODY, Found, Scans, Told, Write, sorted_out
from faultset_ray.coordinator.retired import NOTE
from faultset_ray.coordinator.stores import NOWHERE, WRITTEN, packed
from faultset_ray.errors import CatalogLost, InputError, StaleEpoch
from faultset_ray.limits import DELETE_GRACE_SECONDS, SILENT_MAX, SUPERSEDED_GRACE_SECONDS
from faultset_ray.objects.entry import RetiredStores
from faultset_ray.objects.store_values import ScanPage, StoreInfo

_ID_BYTES: Final = 16


@dataclass(slots=True)
class _Rebuild:
    """One that is under way."""

    identity: bytes
    epoch: int
    """The highest that a store was shown."""
    foreign: tuple[str, ...]
    least: int = SILENT_MAX
    """The lowest that a store remembers."""
    scans: Scans = field(default_factory=Scans)
    seen: frozenset[str] = frozenset()
    """The stores that answered."""
    retired: RetiredStores = field(default_factory=RetiredStores)


class RebuildVerbs(ABC):
    """Base of the coordinator: a catalog that is lost is made anew from what the stores tell, page by page."""

    system: str
    _lost: CatalogLost | None = None
    _rebuild: _Rebuild | None = None

    @abstractmethod
    def _serve(self) -> Ledger:
        """The state; refuses where another coordinator has taken it over."""

    def rebuild_begin(self, infos: Sequence[StoreInfo]) -> None:
        """Begin to rebuild, or begin again. The catalog to be is the one that most of the stores belong to.

        Raises
        ------
        InputError
            The catalog has objects, or writes that are open: it is not lost.
        """
        ledger = self._serve()
        for table in ("generations", "intents"):
            if ledger.catalog.one(f"SELECT 1 FROM {table} LIMIT 1"):
                raise InputError(f"the catalog of system {self.system!r} is not lost: it has {table} of objects")
        theirs = Counter(info.catalog for info in infos if info.catalog)
        chosen = min(theirs, key=lambda each: (-theirs[each], each), default=ledger.objects.stores.identity.hex())
        foreign = tuple(sorted(info.uuid for info in infos if info.catalog not in {"", chosen}))
        known = [info for info in infos if info.uuid not in foreign]
        ledger.objects.stores.note(known, ledger.objects.time.now_ms())
        self._rebuild = _Rebuild(bytes.fromhex(chosen), max((info.epoch for info in known), default=0), foreign)
        self._rebuild.seen = frozenset(info.uuid for info in known)
        self._rebuild.least = min((info.least for info in known), default=SILENT_MAX)

    def rebuild_shards(self, store: str, after: bytes, page: ScanPage) -> None:
        """Take a page of ``Store.scan``; ``after`` is what it was asked for with."""
        rebuild, key = self._rebuilding(store)
        if key != NOWHERE:
            rebuild.scans.add_shards(key, after, page)

    def rebuild_records(self, store: str, records: Sequence[bytes]) -> None:
        """Take a page of ``Store.scan_records``."""
        rebuild, key = self._rebuilding(store)
        if key != NOWHERE:
            rebuild.scans.add_records(key, records)

    def rebuild_retired(self, store: str, retired: RetiredStores) -> None:
        """Take a store's list of the stores that were let go of; the newest counts."""
        rebuild, key = self._rebuilding(store)
        if key != NOWHERE and retired.version > rebuild.retired.version:
            rebuild.retired = retired

    def rebuild_end(self) -> Rebuilt:
        """Make the catalog of all that was taken, in one transaction.

        It is the one that the stores know, in a higher epoch than any that they were shown or that wrote to them.
        Every write with a record is rolled forward, but for what can't be read and has too few records to have been
        acknowledged. What was deleted can be brought back for as long as was said then. Records that are on retired
        stores alone don't count.
        """
        rebuild, ledger = self._rebuilding("")[0], self._serve()
        retired, stores = rebuild.retired, ledger.objects.stores
        stores.learn([tuple(retired.stores)])
        found = sorted_out(rebuild.scans, {stores.key(uuid): last for uuid, last in retired.stores.items()})
        rows = _Rows(ledger.objects.time.now_ms())
        rows.fill(found)
        rows.notes.append((NOTE, retired.pack()))
        rows.notes.append((LEAST, packed_least(min([rebuild.least, *found.tolerated]))))
        states = {uuid: "returning" if uuid in rebuild.seen else "retired" for uuid in retired.stores}
        epoch = max(found.generation >> 32, rebuild.epoch, ledger.catalog.epoch) + 1
        ledger.catalog.adopt(rebuild.identity, epoch, rows.tables(), states)
        stores.refresh()
        self._rebuild = self._lost = None
        shards, uuid = found.shards, stores.uuid
        orphans = tuple(
            Orphan(
                *(uuid(int(shards.store[row])), shards.write_id[row].tobytes(), int(shards.index[row])),
                *(int(shards.generation[row]), shards.object_id[row].tobytes(), int(shards.file_bytes[row])),
            )
            for row in found.orphans.tolist()
        )
        return Rebuilt(
            *(rebuild.identity.hex(), epoch, rows.visible, rows.deleted, len(rows.garbage), len(rows.damage)),
            *(orphans, tuple(rows.lost), found.unreadable, rebuild.foreign),
            *(tuple(rows.unfinished), tuple(rows.twice)),
        )

    def _rebuilding(self, store: str) -> tuple[_Rebuild, int]:
        if self._rebuild is None:
            raise StaleEpoch("rebuild of the catalog", 0, self._serve().catalog.epoch)
        return self._rebuild, self._serve().objects.stores.key(store) if store not in self._rebuild.foreign else NOWHERE


class _Rows:
    """The rows of the tables."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._soon_ms = now_ms + round(SUPERSEDED_GRACE_SECONDS * 1000)
        self.generations: dict[int, tuple[Any, ...]] = {}
        self.shards: list[tuple[int, int, int]] = []
        self.garbage: set[tuple[int, int, int]] = set()
        self.damage: list[tuple[int, int, int, str, int]] = []
        self.lost: list[Lost] = []
        self.unfinished: list[Unfinished] = []
        self.twice: list[Twice] = []
        self._left: set[int] = set()
        """Owners of what stays out of the catalog."""
        self.visible = self.deleted = 0
        self.notes: list[tuple[str, bytes]] = [WRITTEN]

    def tables(self) -> dict[str, Sequence[tuple[Any, ...]]]:
        """What to insert into which table."""
        generations = [self.generations[generation] for generation in sorted(self.generations)]
        return {
            "notes": self.notes,
            "generations": generations,
            "shards": sorted(self.shards),
            "garbage": sorted(self.garbage),
            "damage": self.damage,
        }

    def fill(self, found: Found) -> None:
        """Make the rows of all that was found."""
        by_name: dict[str, list[tuple[Told, Write | None]]] = {}
        for tombstone in found.tombstones:
            by_name.setdefault(tombstone.record.name, []).append((tombstone, None))
        for write in found.writes:
            for told in write.told:
                by_name.setdefault(told.record.name, []).append((told, write))
        for name in sorted(by_name):
            self._name(sorted(by_name[name], key=lambda each: each[0].record.generation, reverse=True))
        for write in found.writes:
            self._shards(write)

    def _name(self, history: list[tuple[Told, Write | None]]) -> None:
        """One name, newest first."""
        (head, newest), *older = self._without_unfinished(history)
        record = head.record
        if newest is not None:
            self.visible += 1
            self._add(head, newest, "visible", None)
            lost = self._kept(newest, record.name)
            for told, write in older:  # where the newest can't be read, whoever looks into it may want the older ones
                self._add(told, write, "superseded", None if lost else self._soon_ms)
            return
        hidden = next((write for _, write in older if write is not None), None)
        if hidden is not None and hidden.have < hidden.told[0].record.k:
            hidden = None  # its shards are being dropped
        purge_ms = self._now_ms + round(DELETE_GRACE_SECONDS * 1000)
        if record.size:  # the grace
            purge_ms = max(record.created_ms + record.size, self._soon_ms)
        if hidden is not None:
            self.deleted += 1
            self._kept(hidden, record.name)
        self._add(head, None, "deleted", purge_ms if hidden is not None else self._now_ms)
        for told, write in older:
            self._add(told, write, "superseded", purge_ms if write is hidden and write is not None else self._soon_ms)

    def _without_unfinished(self, history: list[tuple[Told, Write | None]]) -> list[tuple[Told, Write | None]]:
        """A history without the newest writes that can't be read and were never acknowledged, where older ones count.

        As long as no more stores are missing than the write tolerates, one that was acknowledged can be read.
        """
        for at, (told, write) in enumerate(history):
            if write is None or write.have >= write.told[0].record.k:
                for unfinished, partial in history[:at]:
                    assert partial is not None, "a tombstone counts"
                    self._unfinished(unfinished, partial, told.record.generation)
                return history[at:]
            if len(told.stores) > told.record.tolerate or len(write.told) > 1:
                break
        return history

    def _unfinished(self, told: Told, write: Write, shown: int) -> None:
        record = told.record
        found = len(told.stores), write.have, record.k
        self.unfinished.append(Unfinished(record.name, record.generation, *found, shown))
        self._left.add(write.owner)

    def _kept(self, write: Write, name: str) -> bool:
        """Note what a write lacks that somebody may read; whether that is too much."""
        for index, store in enumerate(write.layout):
            if store == NOBODY:
                self.damage.append((write.owner, index, NOWHERE, "no store has it", self._now_ms))
            elif index in write.unsound:
                self.damage.append((write.owner, index, store, "it is damaged at an end", self._now_ms))
        newest = write.told[-1].record
        lost = write.have < newest.k
        if lost:
            self.lost.append(Lost(name, newest.generation, write.have, newest.k))
        return lost

    def _add(self, told: Told, write: Write | None, state: str, purge_ms: int | None) -> None:
        record = told.record
        if record.generation in self.generations:
            kept = self.generations[record.generation][2].decode()
            self.twice.append(Twice(record.generation, kept, record.name, record.write_id))
        elif write is None:
            self._row(record, record.generation, record.write_id, "delete", state, purge_ms, sorted(told.stores))
        elif told is write.told[0] and write.owner == record.generation:
            self._row(record, write.owner, record.write_id, "put", state, purge_ms, write.layout)
        else:
            called = hashlib.sha256(record.write_id + record.generation.to_bytes(8, "little")).digest()[:_ID_BYTES]
            self._row(record, record.generation, called, "undelete", state, purge_ms, (), write.owner)

    def _shards(self, write: Write) -> None:
        first = write.told[0].record
        if write.owner in self._left:
            return
        if write.owner not in self.generations:  # its own record is nowhere, only those of its undeletions
            self._row(first, write.owner, first.write_id, "put", "superseded", None, write.layout)
        owner = write.owner
        self.shards += [(store, owner, index) for index, store in enumerate(write.layout) if store != NOBODY]
        self.garbage |= {(store, owner, index) for index, store in write.spare}
        if write.have >= first.k:
            self.garbage |= {(store, owner, 0) for store in write.bare}

    def _row(
        self,
        record: Any,
        generation: int,
        write_id: bytes,
        kind: str,
        state: str,
        purge_ms: int | None,
        layout: Sequence[int],
        owner: int | None = None,
    ) -> None:
        self.generations[generation] = (
            *(generation, write_id, record.name.encode(), kind, state, owner or generation, purge_ms, record.size),
            *(record.sha256, record.spec, record.k, record.n, record.block_bytes, record.tolerate, record.durability),
            *(record.created_ms, packed([max(store, NOWHERE) for store in layout]), 0),
        )
