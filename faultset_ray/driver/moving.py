"""One shard to another store: repair, evacuation, decommission and rebalancing are this one operation.

The intent is written down, the shard is copied or rebuilt, sealed, read back, a record is put beside it, and only then
the catalog's layout names the new store; the old copy is garbage from then on. A crash leaves the one layout or the
other, and a shard that no layout names is collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import ShardMove
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.places import Places
from faultset_ray.driver.stores import StoreDirectory, ref_of
from faultset_ray.errors import ClusterError, FaultsetError, NotEnoughShards, ShardNotFound, StoresLost, WriteInProgress
from faultset_ray.failpoints import reach
from faultset_ray.limits import SEAL_SECONDS, STORE_INFO_SECONDS
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.checking import check_shard
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Entry, Fence
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.placement import Trusted
from faultset_ray.objects.rebuild import copy_shard, rebuild_shard
from faultset_ray.shards.format import Header
from faultset_ray.telemetry import events


class Mover:
    """Moves shards of one system."""

    def __init__(self, backend: Backend, authority: Authority, stores: StoreDirectory, places: Places) -> None:
        self._backend = backend
        self._authority = authority
        self._stores = stores
        self._places = places
        self.under_way: set[ShardMove] = set()

    async def move(
        self,
        entry: Entry,
        targets: Mapping[int, str],
        unusable: Collection[int] = (),
        bucket: Bucket | None = None,
    ) -> Entry:
        """Bring some shards of an object to other stores, one after the other.

        Parameters
        ----------
        entry
            As the catalog has it.
        targets
            The UUID of the store where each shard is to be, by index; of an unusable one it may be where it is.
        unusable
            Shards not to be read: damaged ones, and those on stores that are away.
        bucket
            What the bytes that are moved wait for.

        Returns
        -------
        Entry
            The object with its new layout.

        Raises
        ------
        NotEnoughShards
            Too little is left of the object.
        StoresLost
            A target failed.
        StaleEpoch, WriteInProgress
            Somebody else moves the shard, the layout is not the entry's, or the object is gone.
        """
        bad = set(unusable)
        for index, target in targets.items():
            entry = await self._move(entry, index, target, bad, bucket)
            bad.discard(index)
        return entry

    async def _move(self, entry: Entry, index: int, target: str, bad: Collection[int], bucket: Bucket | None) -> Entry:
        move = ShardMove(entry.record.write_id, index, entry.layout[index], target, entry.layout_version)
        if move in self.under_way:
            raise WriteInProgress(entry.record.name)
        [opened] = await self._authority.ask(Coordinator.open_shard_moves, [move])
        entry = _value(opened)
        self.under_way.add(move)
        try:
            reach("move.opened")
            fence = await self._authority.ask(Coordinator.fence)
            refs = await self._stores.refs({*entry.layout, target})
            if target not in refs:
                raise StoresLost({target: "it can't be reached"})
            fault = await self._fault(entry, index, refs[target]) if move.source == target else ""
            if fault or move.source != target:
                await self._make(entry, index, refs, refs[target], fence, bad, fault, bucket)
            reach("move.copied")
            await self._record(entry, refs[target], fence)
            reach("move.recorded")
            [moved] = await self._authority.ask(Coordinator.commit_shard_moves, [move])
            reach("move.committed")
            return _value(moved)
        except (FaultsetError, asyncio.CancelledError):
            await asyncio.shield(self._give_up(move))
            raise
        finally:
            self.under_way.discard(move)

    async def _fault(self, entry: Entry, index: int, ref: StoreRef) -> str:
        """What is wrong with a shard that is to be made anew where it is; empty if another driver was faster."""
        record = entry.record
        try:
            return await check_shard(
                self._backend, ref, record.write_id, index, record.header.layout.file_bytes(record.size)
            )
        except ShardNotFound as error:
            return str(error)

    async def _make(
        self,
        entry: Entry,
        index: int,
        refs: Mapping[str, StoreRef],
        target: StoreRef,
        fence: Fence,
        bad: Collection[int],
        fault: str,
        bucket: Bucket | None,
    ) -> None:
        """Copy the shard if it can be read, else rebuild it; beside the one that the target has with a fault."""
        there = {at: refs[uuid] for at, uuid in enumerate(entry.layout) if uuid in refs}
        sources = {at: ref for at, ref in there.items() if at not in bad}
        what = await self._header(entry, sources), entry.record.size, entry.record.sha256
        source = sources.get(index)
        if source is not None and source != target:
            try:
                await copy_shard(self._backend, *what, index, source, target, fence, bucket)
            except NotEnoughShards as error:
                events.SHARD_REBUILT_NOT_COPIED.tell(index=index, object=entry.record.name, error=error)
            else:
                return
        survivors: Trusted | None = await self._places.survivors()
        regions = {uuid: info.region for uuid in refs if (info := self._stores.info(uuid)) is not None}
        await rebuild_shard(
            *(self._backend, *what, index, sources, target, fence),
            survivors=survivors,
            regions=regions,
            damaged={at: ref for at, ref in there.items() if at in bad},
            replaces=fault,
            bucket=bucket,
        )

    async def _header(self, entry: Entry, sources: Mapping[int, StoreRef]) -> Header:
        """What the write's shards begin with: of an object that was undeleted, not what its record says."""
        net = self._backend.within(STORE_INFO_SECONDS)
        for index, ref in sources.items():
            try:
                found = await net.call(ref.addr, PlaceStore.stat, entry.record.write_id, index)
            except ClusterError as error:
                events.SHARD_NOT_READ.tell(index=index, object=entry.record.name, error=error)
                continue
            if found is not None and found.header is not None and not found.reason:
                return replace(found.header, index=0)
        return entry.record.header

    async def _record(self, entry: Entry, target: StoreRef, fence: Fence) -> None:
        net = self._backend.within(SEAL_SECONDS)
        try:
            packed = [record.pack() for record in entry.records]
            answers = await net.call(target.addr, PlaceStore.record, packed, fence)
        except ClusterError as error:
            raise StoresLost({target.uuid: str(error)}) from error
        for failed in answers:
            if failed is not None:
                raise failed

    async def _give_up(self, move: ShardMove) -> None:
        """What was made of the shard becomes garbage; if this can't be told now, the next caretaker does it."""
        info = self._stores.info(move.target)
        if move.source == move.target and info is not None:
            net = self._backend.within(STORE_INFO_SECONDS)
            try:
                await net.call(ref_of(info).addr, PlaceStore.discard, move.write_id, move.index)
            except ClusterError as error:
                events.COPY_STAYS.tell(index=move.index, write_id=move.write_id, error=error)
        try:
            await self._authority.ask(Coordinator.abort_shard_moves, [move])
        except ClusterError as error:
            events.MOVE_STAYS_OPEN.tell(write_id=move.write_id, store=move.target, error=error)


def _value(answer: Entry | FaultsetError) -> Entry:
    if isinstance(answer, FaultsetError):
        raise answer
    return answer
