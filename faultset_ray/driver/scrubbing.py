"""Looks at every shard there should be, and at every one there is: what differs is damage, or an orphan.

A pass goes store by store, a page at a time, and where it stands is kept in the catalog: it is carried on by whoever
looks after the system next. Light: presence, and both ends of each file. Deep: every byte, against its digests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Damage, Orphan
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.inventory import Inventory
from faultset_ray.driver.leftovers import Leftovers
from faultset_ray.driver.stores import ref_of
from faultset_ray.errors import BackendClosed, ClusterError, FaultsetError, ShardNotFound, StoreFailure
from faultset_ray.limits import SEAL_SECONDS, UPKEEP_PAGE
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.checking import check_shard
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.intake import SoFar
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_values import Key, ScanPage, cursor_after
from faultset_ray.telemetry import events
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count

Going = Callable[[], bool]


@dataclass(slots=True)
class Scrubbed:
    """What a scrub found."""

    deep: bool
    stores: int = 0
    shards: int = 0
    """How many were looked at."""
    bytes: int = 0
    """How many were read, of a deep scrub."""
    missing: int = 0
    """Shards that their store does not have."""
    corrupt: int = 0
    records: int = 0
    """Records that were given again to stores with shards but no record of their write."""
    orphans: list[Orphan] = field(default_factory=list)
    """Shards that no object needs: never heard of, or of a write that is gone."""
    leftovers: int = 0
    """Shards that came late, or with a store that was away, and go: their objects have them elsewhere, or they were
    never sealed and their write has ended."""
    silent: list[str] = field(default_factory=list)
    """Stores that did not answer, by UUID: what they have was not looked at."""
    dropped: int = 0
    """Orphans that their stores were had drop: those that no object needed then either."""
    freed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a pass over all stores has come."""

    began_ms: int
    store: str = ""
    """The store that is looked at; those of lower UUID are done."""
    entries: int = 0
    """Where the next page of what should be there begins; -1 when that is done."""
    shards: str = ""
    """Where the next page of what is there begins, in hex."""
    found: int = 0
    """Orphans so far."""
    done_ms: int | None = None
    """When the pass ended."""

    def pack(self) -> bytes:
        """As the catalog keeps it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, raw: bytes) -> Self | None:
        """The opposite of :meth:`pack`; None where there is none, or another version wrote it."""
        try:
            return cls(**json.loads(raw)) if raw else None
        except (ValueError, TypeError):
            return None


class Scrubber:
    """Scrubs the stores of one system."""

    def __init__(self, backend: Backend, authority: Authority) -> None:
        self._backend = backend
        self._authority = authority
        self._leftovers = Leftovers(backend, authority)

    async def cursor(self, *, deep: bool) -> Cursor | None:
        """How far the background's pass has come."""
        return Cursor.unpack(await self._authority.ask(Coordinator.note, _note(deep)))

    async def step(
        self, inventory: Inventory, found: Scrubbed, bucket: Bucket | None = None, going: Going = lambda: True
    ) -> Cursor:
        """Look at the next page of the background's pass, or what can be done of it, and note how far it has come."""
        cursor = await self.cursor(deep=found.deep)
        if cursor is None or cursor.done_ms is not None:
            cursor = Cursor(self._backend.now_ms())
        cursor = await self.page(inventory, cursor, found, bucket, going)
        await self._authority.ask(Coordinator.set_note, _note(found.deep), cursor.pack())
        return cursor

    async def whole(self, inventory: Inventory, found: Scrubbed, bucket: Bucket | None, told: SoFar) -> None:
        """Look at everything now, apart from the background's pass; tells the shards, of a deep one the bytes.

        What is found is added to ``found``, which says how deep to look.
        """
        cursor = Cursor(self._backend.now_ms())
        looked_at = [inventory.here[uuid] for uuid in inventory.rows if uuid in inventory.here]
        everything = sum(info.used_bytes if found.deep else info.shards for info in looked_at)

        def tell() -> bool:
            done = found.bytes if found.deep else found.shards
            told(done, max(done, everything))
            return True

        while cursor.done_ms is None:
            cursor = await self.page(inventory, cursor, found, bucket, going=tell)
            tell()

    async def page(
        self,
        inventory: Inventory,
        cursor: Cursor,
        found: Scrubbed,
        bucket: Bucket | None = None,
        going: Going = lambda: True,
    ) -> Cursor:
        """Look at one page; where the next one begins. Damage is reported to the coordinator.

        Parameters
        ----------
        found
            What was found is added.
        bucket
            What a deep scrub's reads wait for.
        going
            Asked after each shard that is read whole: where it says no, the page ends there.
        """
        uuid = next((uuid for uuid in sorted(inventory.rows) if uuid >= cursor.store), None)
        if uuid is None:
            return replace(cursor, done_ms=self._backend.now_ms())
        if uuid != cursor.store:
            cursor = replace(cursor, store=uuid, entries=0, shards="")
        info = inventory.here.get(uuid)
        try:
            if info is None:
                found.silent.append(uuid)
            elif cursor.entries >= 0:
                return replace(cursor, entries=await self._expected(uuid, ref_of(info), cursor, found))
            else:
                before = len(found.orphans)
                if not cursor.shards:
                    found.leftovers += await self._leftovers.unsealed(inventory, uuid, bucket)
                after = await self._present(inventory, uuid, bytes.fromhex(cursor.shards), found, bucket, going)
                cursor = replace(cursor, found=cursor.found + len(found.orphans) - before)
                if after:
                    return replace(cursor, shards=after.hex())
                found.stores += 1
        except BackendClosed:
            raise
        except ClusterError as error:
            events.SCRUB_DELAYED.tell(store=uuid, error=error)
            found.silent.append(uuid)
        return replace(cursor, store=uuid + "\0")

    async def drop(self, inventory: Inventory, found: Scrubbed) -> None:
        """Have stores drop the orphans that were found, which have no record and the catalog still does not know.

        Counts them. A store that fails keeps its own. None is dropped while more stores are silent than every write
        tolerates: all records of one that was acknowledged may be there.
        """
        fence = await self._authority.ask(Coordinator.fence)
        by_store: dict[str, list[Key]] = {}
        for orphan in found.orphans:
            by_store.setdefault(orphan.store, []).append((orphan.write_id, orphan.index))
        recorded, silent = await self._recorded(inventory, sorted({orphan.write_id for orphan in found.orphans}))
        found.silent += sorted(silent - {*found.silent})
        if len(silent) > fence.least:
            events.ORPHANS_KEPT.tell(count=len(found.orphans), stores=len(silent), tolerate=fence.least)
            return
        for uuid in sorted(by_store.keys() - silent):
            try:
                await self._drop_from(inventory, uuid, [key for key in by_store[uuid] if key[0] not in recorded], found)
            except BackendClosed:
                raise
            except ClusterError as error:
                events.GARBAGE_KEPT.tell(store=uuid, error=error)
                found.silent.append(uuid)

    # -- Inside

    async def _drop_from(self, inventory: Inventory, uuid: str, keys: Sequence[Key], found: Scrubbed) -> None:
        fence = await self._authority.ask(Coordinator.fence)
        known = await self._authority.ask(Coordinator.whose, uuid, keys)
        keys = [key for key, state in zip(keys, known, strict=True) if not state]
        net = self._backend.within(SEAL_SECONDS)
        for answer in await net.call(ref_of(inventory.here[uuid]).addr, PlaceStore.drop, keys, fence):
            if isinstance(answer, FaultsetError):
                raise answer
            found.dropped += answer > 0
            found.freed_bytes += answer

    async def _recorded(self, inventory: Inventory, write_ids: Sequence[bytes]) -> tuple[set[bytes], set[str]]:
        """The writes that have a record on any store, and the stores that don't say.

        The former may have been acknowledged, whatever the catalog says.
        """
        found, silent = set[bytes](), {*inventory.rows} - inventory.here.keys()
        for first in range(0, len(write_ids), UPKEEP_PAGE):
            some = write_ids[first : first + UPKEEP_PAGE]
            for uuid in sorted(inventory.here.keys() - silent):
                try:
                    net, addr = self._backend.within(SEAL_SECONDS), ref_of(inventory.here[uuid]).addr
                    held = await net.call(addr, PlaceStore.held, some)
                except BackendClosed:
                    raise
                except ClusterError as error:
                    events.SCRUB_DELAYED.tell(store=uuid, error=error)
                    silent.add(uuid)
                    continue
                found.update(write_id for write_id, there in zip(some, held, strict=True) if there.recorded)
        if found:
            events.RECORDS_UNKNOWN.tell(count=len(found))
        return found, silent

    async def _expected(self, uuid: str, ref: StoreRef, cursor: Cursor, found: Scrubbed) -> int:
        """Compare a page of what the catalog says is on a store with what the store says; the next page."""
        entries, after = await self._authority.ask(Coordinator.by_store, uuid, cursor.entries, UPKEEP_PAGE)
        write_ids = [entry.record.write_id for entry in entries]
        held = await self._backend.within(SEAL_SECONDS).call(ref.addr, PlaceStore.held, write_ids)
        lacking = [
            (entry, index)
            for entry, there in zip(entries, held, strict=True)
            for index, store in enumerate(entry.layout)
            if store == uuid and index not in there.indices
        ]
        lacking = await self._still(uuid, lacking)
        unrecorded = [
            entry.record for entry, there in zip(entries, held, strict=True) if there.indices and not there.recorded
        ]
        hidden = [entry for entry, there in zip(entries, held, strict=True) if there.indices]
        try:
            found.records += await self._record(ref, [*unrecorded, *await self._tombstones(ref, hidden)])
        except StoreFailure as error:  # its disk is full, perhaps: what it has is looked at all the same
            events.RECORDS_DELAYED.tell(store=uuid, error=error)
        reports = [Damage(entry.record.write_id, index, uuid, "missing") for entry, index in lacking]
        found.missing += await self._report(reports)
        return after or -1

    async def _tombstones(self, ref: StoreRef, entries: list[Entry]) -> list[Record]:
        """Those that a store lacks, of deleted objects that it has shards of."""
        tombstones = [entry.tombstone for entry in entries if entry.tombstone is not None]
        if not tombstones:
            return []
        net = self._backend.within(SEAL_SECONDS)
        held = await net.call(ref.addr, PlaceStore.held, [tombstone.write_id for tombstone in tombstones])
        lacking = [tombstone for tombstone, there in zip(tombstones, held, strict=True) if not there.recorded]
        generations = [tombstone.generation for tombstone in lacking]
        needed = await self._authority.ask(Coordinator.add_tombstones, ref.uuid, generations) if lacking else []
        return [tombstone for tombstone, is_needed in zip(lacking, needed, strict=True) if is_needed]

    async def _record(self, ref: StoreRef, records: list[Record]) -> int:
        """Give a store the records of writes that it has shards of, and their tombstones; how many it kept."""
        if not records:
            return 0
        fence = await self._authority.ask(Coordinator.fence)
        packed = [record.pack() for record in records]
        # Where a shard was dropped meanwhile, the record is refused.
        answers = await self._backend.within(SEAL_SECONDS).call(ref.addr, PlaceStore.record, packed, fence)
        return sum(answer is None for answer in answers)

    async def _still(self, uuid: str, lacking: list[tuple[Entry, int]]) -> list[tuple[Entry, int]]:
        """Those that the catalog still says are there: a shard may just have moved."""
        if not lacking:
            return []
        keys = [(entry.record.write_id, index) for entry, index in lacking]
        known = await self._authority.ask(Coordinator.whose, uuid, keys)
        return [each for each, state in zip(lacking, known, strict=True) if state == "live"]

    async def _present(
        self, inventory: Inventory, uuid: str, after: bytes, found: Scrubbed, bucket: Bucket | None, going: Going
    ) -> bytes:
        """Compare a page of what a store has with what the catalog says of it; where the next page begins."""
        ref, orphans, spare = ref_of(inventory.here[uuid]), list[Orphan](), list[Key]()
        page = await self._backend.within(SEAL_SECONDS).call(ref.addr, PlaceStore.scan, after, UPKEEP_PAGE)
        keys = [(bytes(write_id), int(index)) for write_id, index in zip(page.write_id, page.index, strict=True)]
        known = dict(zip(keys, await self._authority.ask(Coordinator.whose, uuid, keys), strict=True)) if keys else {}
        surplus = await self._leftovers.owners([key for key in keys if known[key] == "surplus"])
        faults: dict[tuple[bytes, int], str] = {}
        following = page.next
        for at, key in enumerate(keys):
            found.shards += 1
            is_read = key in surplus
            if not known[key]:
                orphans.append(_orphan(uuid, key, page, at))
            elif is_read:
                if await self._leftovers.is_spare(inventory, surplus[key], key, bucket):
                    spare.append(key)
            elif known[key] == "live":
                fault = page.fault[at]
                if fault.startswith("quarantined"):
                    continue  # it was counted among the missing
                if not fault and found.deep:
                    size = int(page.file_bytes[at])
                    try:
                        fault = await check_shard(self._backend, ref, *key, size, bucket)
                    except ShardNotFound as gone:  # since the page was made: the catalog knows whether it moved
                        fault = str(gone)
                    found.bytes += size
                if fault:
                    faults[key] = fault
                is_read = found.deep
            if is_read and not going():
                following = page.next if at == len(keys) - 1 else cursor_after(key)
                break
        await self._damaged(uuid, faults, found)
        found.leftovers += await self._leftovers.drop(uuid, spare)
        found.orphans += orphans
        return following

    async def _damaged(self, uuid: str, faults: Mapping[tuple[bytes, int], str], found: Scrubbed) -> None:
        if faults:
            known = await self._authority.ask(Coordinator.whose, uuid, list(faults))
            faults = {key: why for (key, why), state in zip(faults.items(), known, strict=True) if state == "live"}
        reports = [Damage(write_id, index, uuid, why) for (write_id, index), why in faults.items()]
        found.corrupt += await self._report(reports)

    async def _report(self, damage: list[Damage]) -> int:
        """Have damage mended; how much of it is of objects that there are, and not of what they were before."""
        if not damage:
            return 0
        noted = await self._authority.ask(Coordinator.report_damage, damage)
        count(table.CORRUPTIONS, noted, "scrub")
        if noted:
            events.CORRUPTION_FOUND.tell(shards=noted, store=damage[0].store)
        return noted


def _orphan(uuid: str, key: tuple[bytes, int], page: ScanPage, at: int) -> Orphan:
    return Orphan(uuid, *key, int(page.generation[at]), bytes(page.object_id[at]), int(page.file_bytes[at]))


def _note(deep: bool) -> str:
    return "scrub/deep" if deep else "scrub/light"
