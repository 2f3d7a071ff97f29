"""What a store has though nobody waits for it to drop it: a late block, the copy of a move that was given up.

A scrub comes upon it. It goes where something else is known to be in its place, and never since the catalog lacks it: a
catalog may be one that was made anew while stores were away. The rest are orphans, which are told of.
"""

from __future__ import annotations

from collections.abc import Sequence

from faultset_ray.backend.protocol import Backend
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
from faultset_ray.objects.store_values import Key
from faultset_ray.telemetry import events


class Leftovers:
    """Looks after them, in one system. Safe to repeat, and to cut short: the next scrub comes upon them again."""

    def __init__(self, backend: Backend, authority: Authority) -> None:
        self._backend = backend
        self._authority = authority

    async def unsealed(self, inventory: Inventory, uuid: str, bucket: Bucket | None) -> int:
        """Have a store drop unsealed shards that can't be sealed any more to any use; how many they are.

        Those of writes that were ended, of which nothing was ever acknowledged, and those that their objects have
        elsewhere, as with sealed ones: whoever makes it may seal it meanwhile. None is dropped where the store, or the
        coordinator, fails.
        """
        net, addr = self._backend.within(SEAL_SECONDS), ref_of(inventory.here[uuid]).addr
        try:
            keys = await net.call(addr, PlaceStore.unsealed)
            if not keys:
                return 0
            fence = await self._authority.ask(Coordinator.fence)
            known = await self._authority.ask(Coordinator.whose, uuid, keys)
            # Its intent was there before the first block. One that a lost catalog had can't be committed any more.
            ended = [key for key, whose in zip(keys, known, strict=True) if not whose]
            for answer in await net.call(addr, PlaceStore.drop, ended, fence) if ended else []:
                if isinstance(answer, FaultsetError):
                    raise answer
            _tell(uuid, len(ended), "they were never sealed")
            surplus = await self.owners([key for key, whose in zip(keys, known, strict=True) if whose == "surplus"])
            spare = [key for key, entry in surplus.items() if await self.is_spare(inventory, entry, key, bucket)]
            return len(ended) + await self.drop(uuid, spare)
        except BackendClosed:
            raise
        except ClusterError as error:
            events.GARBAGE_KEPT.tell(store=uuid, error=error)
            return 0

    async def owners(self, keys: Sequence[Key]) -> dict[Key, Entry | None]:
        """The objects of shards that they have elsewhere; None where one is gone since."""
        if not keys:
            return {}
        entries = await self._authority.ask(Coordinator.entries, [write_id for write_id, _ in keys])
        return dict(zip(keys, entries, strict=True))

    async def is_spare(self, inventory: Inventory, entry: Entry | None, key: Key, bucket: Bucket | None) -> bool:
        """Whether a shard is where the catalog says, every byte of it: then it is needed nowhere else."""
        if entry is None or key[1] >= len(entry.layout):
            return False
        info = inventory.here.get(entry.layout[key[1]])
        if info is None:
            return False
        size = entry.record.header.layout.file_bytes(entry.record.size)
        try:
            return not await check_shard(self._backend, ref_of(info), *key, size, bucket)
        except BackendClosed:
            raise
        except (ShardNotFound, ClusterError):
            return False  # of a store that fails, it is not known now

    async def drop(self, uuid: str, keys: Sequence[Key]) -> int:
        """Have a store drop shards that their objects have elsewhere; of how many that holds still."""
        dropped = await self._authority.ask(Coordinator.drop_surplus, uuid, keys) if keys else 0
        _tell(uuid, dropped, "their objects have them elsewhere")
        return dropped


def _tell(uuid: str, shards: int, reason: str) -> None:
    if shards:
        events.LEFTOVERS_FOUND.tell(store=uuid, shards=shards, reason=reason)
