"""Writes that nobody ended are ended, and what the catalog calls garbage is dropped by the stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Commit, Garbage, OpenWrite
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.inventory import Inventory
from faultset_ray.driver.stores import ref_of
from faultset_ray.errors import BackendClosed, FaultsetError
from faultset_ray.failpoints import reach
from faultset_ray.limits import SEAL_SECONDS, UPKEEP_PAGE
from faultset_ray.objects.entry import Fence
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record, grace_of, object_id, sound
from faultset_ray.telemetry import events
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count

_AT_ONCE = 32
"""Writes that are ended at a time."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the stores of an open write say of it."""

    shards: Mapping[int, str]
    """The store of each sealed shard that was found, by index."""
    record: Record | None
    silent: frozenset[str]
    """Stores that did not answer."""


class Collector:
    """Ends writes and drops garbage, of one system."""

    def __init__(self, backend: Backend, authority: Authority) -> None:
        self._backend = backend
        self._authority = authority
        self._told: set[bytes] = set()
        """Open writes of which it was said why they stay open."""

    async def tidy(self, inventory: Inventory) -> int:
        """:meth:`resolve`, then :meth:`collect`: no shard goes to a store that has still to drop some of its object."""
        await self.resolve(inventory)
        return await self.collect(inventory)

    # -- Writes

    async def resolve(self, inventory: Inventory) -> int:
        """End the writes whose drivers are gone; how many were ended.

        One of which any store has a record is rolled forward, since readers may have seen it; one of which none has is
        given up. Stores that stay silent are waited for until they are given up: then those that are left decide. None
        of them hides an acknowledged write, which would not be open.
        """
        writes = await self._authority.ask(Coordinator.unresolved)
        self._told.intersection_update(write.write_id for write in writes)
        ended = 0
        for first in range(0, len(writes), _AT_ONCE):

            async def end(write: OpenWrite) -> bool:
                try:
                    return await self._resolve(write, inventory)
                except BackendClosed:
                    raise
                except FaultsetError as error:
                    self._waits(write, str(error))
                    return False

            ended += sum(await asyncio.gather(*map(end, writes[first : first + _AT_ONCE])))
        return ended

    def _waits(self, write: OpenWrite, reason: str) -> None:
        """Say once why a write stays open: it holds its name's conditions up."""
        known = write.write_id in self._told
        self._told.add(write.write_id)
        events.WRITE_STAYS_OPEN.tell(write_id=write.write_id, object=write.name, reason=reason, quietly=known)

    async def _resolve(self, write: OpenWrite, inventory: Inventory) -> bool:
        found = await self._found(write, inventory)
        fence = await self._authority.ask(Coordinator.fence)
        if write.kind == "put":
            if found.record is not None:
                return await self._forward(write, found.record, found.shards, found.silent, inventory, fence)
            if found.silent <= inventory.lost(urgent=False):
                return await self._give_up(write)
            self._waits(write, f"stores {', '.join(sorted(found.silent))} don't say whether they have its record")
            return False
        record = write.record or found.record or _tombstone(write, self._backend.now_ms())
        stores = {index: uuid for index, uuid in enumerate(write.layout) if uuid}
        return await self._forward(write, record, stores, found.silent, inventory, fence)

    async def _give_up(self, write: OpenWrite) -> bool:
        await self._authority.ask(Coordinator.abort_writes, [write.write_id])
        count(table.WRITES_ENDED, 1, "given_up")
        events.WRITE_GIVEN_UP.tell(write_id=write.write_id, object=write.name)
        return True

    async def _found(self, write: OpenWrite, inventory: Inventory) -> _Found:
        """Ask every store that the write may have reached."""
        key = object_id(write.name)

        async def ask(uuid: str) -> tuple[Sequence[int], Record | None] | None:
            info = inventory.here.get(uuid)
            if info is None:
                return None
            net, addr = self._backend.within(SEAL_SECONDS), ref_of(info).addr
            try:
                [held] = await net.call(addr, PlaceStore.held, [write.write_id])
                [packed] = await net.call(addr, PlaceStore.records, [key])
            except FaultsetError as error:
                events.STORE_DOES_NOT_SAY.tell(store=uuid, object=write.name, error=error)
                return None
            records = filter(None, map(sound, packed))
            return held.indices, next((each for each in records if each.generation == write.generation), None)

        answers = dict(zip(write.stores, await asyncio.gather(*map(ask, write.stores)), strict=True))
        shards: dict[int, str] = {}
        record: Record | None = None
        for uuid, answer in answers.items():
            if answer is not None:
                shards |= {index: uuid for index in answer[0] if index not in shards or write.layout[index] == uuid}
                record = record or answer[1]
        return _Found(shards, record, frozenset(uuid for uuid, answer in answers.items() if answer is None))

    async def _forward(
        self,
        write: OpenWrite,
        record: Record,
        stores: Mapping[int, str],
        silent: frozenset[str],
        inventory: Inventory,
        fence: Fence,
    ) -> bool:
        """Write the record down where it is to be, and commit; give up a put of which too few shards are left."""
        packed = record.pack()

        async def note(uuid: str) -> bool:
            info = inventory.here.get(uuid)
            if info is None:
                return False
            net = self._backend.within(SEAL_SECONDS)
            [failed] = await net.call(ref_of(info).addr, PlaceStore.record, [packed], fence)
            return failed is None

        uuids = sorted(set(stores.values()))
        answers = await _each(note, uuids)
        noted = {uuid for uuid, answer in zip(uuids, answers, strict=True) if answer is True}
        awaited = silent.union(uuids) - noted
        decided = awaited <= inventory.lost(urgent=False)
        readable = write.kind != "put" or len(stores) >= write.k
        if decided and not readable:
            return await self._give_up(write)
        if not readable or (len(noted) <= write.tolerate and not (noted and decided)):
            reason = f"{len(noted)} stores took its record, {write.tolerate + 1} are needed; {sorted(awaited)} did not"
            self._waits(write, reason)
            return False
        layout = tuple(stores.get(index, "") for index in range(write.n))
        commit = Commit(write.write_id, record.size, record.sha256, layout, record.created_ms, record.durability)
        [entry] = await self._authority.ask(Coordinator.commit_writes, [commit])
        if isinstance(entry, FaultsetError):
            raise entry
        count(table.WRITES_ENDED, 1, "committed")
        events.WRITE_ROLLED_FORWARD.tell(write_id=write.write_id, object=write.name)
        return True

    # -- Garbage

    async def collect(self, inventory: Inventory) -> int:
        """Have the stores that answer drop what the catalog calls garbage; how much of it."""
        fence = await self._authority.ask(Coordinator.fence)
        waiting = await self._authority.ask(Coordinator.garbage, UPKEEP_PAGE)
        by_store: dict[str, list[Garbage]] = {}
        for item in waiting:
            by_store.setdefault(item.store, []).append(item)

        async def drop(uuid: str) -> list[Garbage]:
            return await self._drop(ref_of(inventory.here[uuid]).addr, by_store[uuid], fence)

        answers = await _each(drop, sorted(by_store.keys() & inventory.here.keys()))
        done = [item for answer in answers if isinstance(answer, list) for item in answer]
        if done:
            await self._authority.ask(Coordinator.collected, done)
            reach("move.dropped")
        return len(done)

    async def _drop(self, addr: Any, items: Sequence[Garbage], fence: Fence) -> list[Garbage]:
        """What of a store's garbage is gone from it."""
        net = self._backend.within(SEAL_SECONDS)
        shards = [item for item in items if item.write_id]
        failed: set[int] = set()
        if shards:
            freed = await net.call(addr, PlaceStore.drop, [(item.write_id, item.index) for item in shards], fence)
            failed = {id(item) for item, answer in zip(shards, freed, strict=True) if isinstance(answer, FaultsetError)}
        done = [item for item in items if id(item) not in failed]
        records = [record for item in done for record in item.records]
        if records:
            await net.call(addr, PlaceStore.forget, records, fence)
        return done


async def _each(action: Callable[[str], Any], uuids: Collection[str]) -> list[Any]:
    """What came of an action on each store, or what kept it from coming: a store's failure is not the others'."""
    answers = await asyncio.gather(*map(action, uuids), return_exceptions=True)
    for uuid, answer in zip(uuids, answers, strict=True):
        if isinstance(answer, BaseException):
            if isinstance(answer, BackendClosed) or not isinstance(answer, FaultsetError):
                raise answer
            events.GARBAGE_KEPT.tell(store=uuid, error=answer)
    return answers


def _tombstone(write: OpenWrite, now_ms: int) -> Record:
    return Record(
        "delete",
        write.name,
        write.generation,
        write.write_id,
        grace_of(write.grace_ms),
        bytes(32),
        "",
        0,
        0,
        0,
        write.tolerate,
        now_ms,
        "fsync",
    )
