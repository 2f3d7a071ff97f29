"""What a store has though nobody waits for it to drop it: a late block, the copy of a move that was given up.

A scrub comes upon it. It goes where something else is known to be in its place, and never since the catalog lacks it: a
catalog may be one that was made anew while stores were away. The rest are orphans, which are told of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Orphan
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.inventory import Inventory
from faultset_ray.driver.stores import ref_of
from faultset_ray.errors import BackendClosed, ClusterError, FaultsetError, ShardNotFound
from faultset_ray.limits import SEAL_SECONDS
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.checking import check_shard
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record, sound
from faultset_ray.objects.store_values import Key
from faultset_ray.telemetry import events


class Leftovers:
    """Looks after them, in one system. Safe to repeat, and to cut short: the next scrub comes upon them again."""

    def __init__(self, backend: Backend, authority: Authority) -> None:
        self._backend = backend
        self._authority = authority

    async def unsealed(self, inventory: Inventory, uuid: str, bucket: Bucket | None) -> int:
        """Have a store drop unsealed shards of writes that were ended: nothing of them was ever acknowledged.

        How many they are.
        """
        net, addr = self._backend.within(SEAL_SECONDS), ref_of(inventory.here[uuid]).addr
        keys = await net.call(addr, PlaceStore.unsealed)
        if not keys:
            return 0
        known = await self._authority.ask(Coordinator.whose, uuid, keys)
        # Its intent was there before the first block. One that a lost catalog had can't be committed any more.
        ended = [key for key, whose in zip(keys, known, strict=True) if not whose]
        await self._drop(inventory, uuid, ended, "they were never sealed")
        surplus = await self.owners([key for key, whose in zip(keys, known, strict=True) if whose == "surplus"])
        spare = [key for key, entry in surplus.items() if await self.is_spare(inventory, entry, key, bucket)]
        return len(ended) + await self.drop_spare(uuid, spare)

    async def owners(self, keys: Sequence[Key]) -> dict[Key, Entry | None]:
        """The objects of shards that have them elsewhere; None where something newer is to be had."""
        if not keys:
            return {}
        entries = await self._authority.ask(Coordinator.entries, [write_id for write_id, _ in keys])
        return dict(zip(keys, entries, strict=True))

    async def is_spare(self, inventory: Inventory, entry: Entry | None, key: Key, bucket: Bucket | None) -> bool:
        """Whether a shard is where the catalog says, every byte of it: then it is needed nowhere else."""
        if entry is None:
            return True  # the catalog looks whether nothing is lacking of what is newer
        info = inventory.here.get(entry.layout[key[1]]) if key[1] < len(entry.layout) else None
        if info is None:
            return False
        size = entry.record.header.layout.file_bytes(entry.record.size)
        try:
            return not await check_shard(self._backend, ref_of(info), *key, size, bucket)
        except BackendClosed:
            raise
        except (ShardNotFound, ClusterError):
            return False  # of a store that fails, it is not known now

    async def drop_spare(self, uuid: str, keys: Sequence[Key]) -> int:
        """Have a store drop shards that :meth:`is_spare` said so of; how many."""
        dropped = await self._authority.ask(Coordinator.drop_surplus, uuid, keys) if keys else 0
        if dropped:
            events.LEFTOVERS_FOUND.tell(store=uuid, shards=dropped, reason="their objects have them elsewhere")
        return dropped

    async def unneeded(self, inventory: Inventory, uuid: str, orphans: Sequence[Orphan]) -> list[Orphan]:
        """Have a store drop orphans of which records say that readers get something newer; those that stay.

        They are of a write that was overwritten while the store was away, before a rebuild that did not see them.
        Only while all stores answer: one may have a record that says it was brought back.
        """
        recorded = {orphan.write_id: orphan.object_id for orphan in orphans if orphan.generation}
        if not recorded or inventory.rows.keys() - inventory.here.keys():
            return [*orphans]
        try:
            newest = await self._newest(inventory, recorded)
        except BackendClosed:
            raise
        except ClusterError:
            return [*orphans]  # one of them does not answer now
        writes = [(record.name, record.generation) for record in newest.values()]
        outdated = await self._authority.ask(Coordinator.outdated, writes) if writes else []
        gone = {write_id for write_id, is_outdated in zip(newest, outdated, strict=True) if is_outdated}
        await self._drop(inventory, uuid, [(write_id, None) for write_id in sorted(gone)], "they were overwritten")
        return [orphan for orphan in orphans if orphan.write_id not in gone]

    # -- Inside

    async def _newest(self, inventory: Inventory, object_ids: Mapping[bytes, bytes]) -> dict[bytes, Record]:
        """The newest record that any store has of each write, for those that have one."""
        newest: dict[bytes, Record] = {}
        for info in inventory.here.values():
            net, addr = self._backend.within(SEAL_SECONDS), ref_of(info).addr
            for packed in await net.call(addr, PlaceStore.records, sorted({*object_ids.values()})):
                for record in filter(None, map(sound, packed)):
                    before = newest.get(record.write_id)
                    if record.write_id in object_ids and (before is None or before.generation < record.generation):
                        newest[record.write_id] = record
        return newest

    async def _drop(
        self, inventory: Inventory, uuid: str, shards: Sequence[tuple[bytes, int | None]], why: str
    ) -> None:
        if not shards:
            return
        fence = await self._authority.ask(Coordinator.fence)
        net, addr = self._backend.within(SEAL_SECONDS), ref_of(inventory.here[uuid]).addr
        for answer in await net.call(addr, PlaceStore.drop, shards, fence):
            if isinstance(answer, FaultsetError):
                raise answer
        events.LEFTOVERS_FOUND.tell(store=uuid, shards=len(shards), reason=why)
