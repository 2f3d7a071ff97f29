"""What a driver does for the objects of its system when it is asked: tell how they are, mend them, empty a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Rebuilt, StoreRow, Tally
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.collecting import Collector
from faultset_ray.driver.inventory import Inventory, Lookout
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.rebuilding import rebuild_catalog
from faultset_ray.driver.repairs import Repaired, Repairs
from faultset_ray.driver.scrubbing import Cursor, Scrubbed, Scrubber
from faultset_ray.driver.stores import StoreDirectory, store_addr
from faultset_ray.errors import ClusterError, InputError, NotEnoughPlaces, StoreInUse
from faultset_ray.limits import DECOMMISSION_PAUSE_SECONDS, STORE_INFO_SECONDS, UPKEEP_PAGE
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.needs import Need, mending, need_of


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """One store of a system."""

    row: StoreRow
    here: bool
    """Whether it answers."""
    unseen_s: float
    """For how long nobody has reached it."""
    leaving: bool
    """Whether it is being emptied."""


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """How the objects of a system fare."""

    tally: Tally
    """What the catalog counts."""
    margins: Mapping[int, int]
    """Of the objects that lack shards now, how many bear how many further losses; -1 where data may be lost."""
    leaving: int
    """Objects with shards on stores that are being emptied."""
    stores: tuple[StoreStatus, ...]
    light: Cursor | None
    """The background's light scrub; None before the first."""
    deep: Cursor | None
    orphans: int
    """Shards that no object needs, as the last light scrub found them."""

    @property
    def healthy(self) -> int:
        """Objects all of whose shards are where they should be."""
        return self.tally.objects - sum(self.margins.values())


@dataclass(frozen=True, slots=True)
class Decommissioned:
    """A store that was emptied and let go."""

    stores: tuple[str, ...]
    objects: int
    shards: int
    bytes: int


class Upkeep:
    """Verbs of one driver; they work whether or not this driver is the steward."""

    def __init__(self, backend: Backend, authority: Authority, stores: StoreDirectory, mover: Mover) -> None:
        self._backend = backend
        self._authority = authority
        self._stores = stores
        stores.bars = self._bars
        self._lookout = Lookout(backend, authority, stores)
        self._collector = Collector(backend, authority)
        self._repairs = Repairs(backend, authority, mover)
        self._scrubber = Scrubber(backend, authority)

    async def status(self) -> SystemStatus:
        """Count objects by what they bear, and look at every store."""
        inventory = await self._lookout.look()
        now_ms = self._backend.now_ms()
        tally = await self._authority.ask(Coordinator.tally)
        needs = await self._repairs.needs(inventory, at_once=True)
        light, deep = [await self._scrubber.cursor(deep=deep) for deep in (False, True)]
        rows = await self._authority.ask(Coordinator.stores)
        stores = [
            StoreStatus(row, uuid in inventory.here, max(0, now_ms - row.seen_ms) / 1000, uuid in inventory.leaving)
            for uuid, row in sorted(rows.items())
        ]
        margins = Counter(need.margin for need in needs if need.lost)
        orphans = 0 if light is None else light.found
        leaving = sum(bool(need.leaving) for need in needs)
        return SystemStatus(tally, dict(sorted(margins.items())), leaving, tuple(stores), light, deep, orphans)

    async def repair(self, bytes_per_s: float | None = None) -> Repaired:
        """Mend every object that has lost shards, without waiting for stores that are away to come back."""
        total, bucket = Repaired(), self._bucket(bytes_per_s)
        while True:
            inventory = await self._lookout.look()
            await self._tidy(inventory)
            needs = await self._repairs.needs(inventory, at_once=True)
            done = await self._repairs.mend(needs, inventory, bucket, at_once=True)
            total.add(done)
            if not done.objects:
                return total

    async def scrub(self, *, deep: bool, drop_orphans: bool, bytes_per_s: float | None = None) -> Scrubbed:
        """Look at every shard there should be and every one there is."""
        inventory = await self._lookout.look()
        found = await self._scrubber.whole(inventory, self._bucket(bytes_per_s), deep=deep)
        if drop_orphans:
            await self._scrubber.drop(inventory, found.orphans)
        return found

    async def decommission(self, which: str, bytes_per_s: float | None = None) -> Decommissioned:
        """Empty the stores of a place, or one store, and let them go."""
        inventory = await self._lookout.look()
        uuids = sorted(uuid for uuid, row in inventory.rows.items() if which in {uuid, row.place})
        if not uuids:
            raise InputError(f"there is no store, and no place with a store, called {which!r}")
        before = {uuid: inventory.rows[uuid].state for uuid in uuids}
        for uuid in uuids:
            await self._authority.ask(Coordinator.set_store_state, uuid, "draining")
        try:
            total = await self._emptied(uuids, self._bucket(bytes_per_s))
        except BaseException:
            for uuid, state in before.items():
                await self._authority.ask(Coordinator.set_store_state, uuid, state)
            raise
        return Decommissioned(tuple(uuids), total.objects, total.shards, total.bytes)

    async def rebuild(self) -> Rebuilt:
        """Make a lost catalog again from the stores."""
        rebuilt = await rebuild_catalog(self._backend, self._authority, self._stores)
        await self._lookout.look()  # the stores are of this catalog again
        return rebuilt

    # -- Inside

    async def _tidy(self, inventory: Inventory) -> None:
        """End writes and have garbage dropped: no shard goes to a store that has still to drop some of its object."""
        await self._collector.resolve(inventory)
        await self._collector.collect(inventory)

    async def _emptied(self, uuids: list[str], bucket: Bucket | None) -> Repaired:
        """Move everything off some stores, then end them."""
        total = Repaired()
        await self._check_room(uuids)
        while True:
            inventory = await self._lookout.look()
            await self._tidy(inventory)
            needs = [need for need in await self._repairs.needs(inventory) if _on(need, uuids)]
            if not needs and await self._retired(uuids, inventory):
                return total
            done = await self._repairs.mend(needs, inventory, bucket, at_once=True)
            total.add(done)
            if needs and not done.objects:
                if done.waiting:
                    await self._check_room(uuids)
                await self._backend.sleep(DECOMMISSION_PAUSE_SECONDS)

    async def _check_room(self, uuids: list[str]) -> None:
        """Refuse where the other stores can't keep the promise of an object; one of each code is tried.

        Raises
        ------
        NotEnoughPlaces
        """
        inventory = await self._lookout.look()
        tried: set[tuple[str, int]] = set()
        need_bytes = 0
        for uuid in uuids:
            after = 0
            while True:
                entries, after = await self._authority.ask(Coordinator.by_store, uuid, after, UPKEEP_PAGE)
                for entry in entries:
                    record = entry.record
                    shard_bytes = record.header.layout.file_bytes(record.size)
                    need_bytes += shard_bytes * entry.layout.count(uuid)
                    kind = record.spec, record.tolerate
                    need = need_of(entry, (), uuids)
                    if kind not in tried and need is not None:
                        mending(need, inventory.sites, shard_bytes, promised=True)
                        tried.add(kind)
                if not after:
                    break
        others = [site for site in inventory.sites if not site.draining]
        free_bytes = sum(site.free_bytes for site in others)
        if need_bytes > free_bytes:
            reason = f"their shards have {need_bytes:,} bytes, the other stores {free_bytes:,} bytes free"
            raise NotEnoughPlaces(len(others), len(others) + 1, reason)

    async def _retired(self, uuids: list[str], inventory: Inventory) -> bool:
        """Let empty stores go; False where a write that was begun before still counts on one of them."""
        waiting = await self._authority.ask(Coordinator.garbage, self._backend.now_ms(), 1)
        if any(item.store in inventory.here and item.store in uuids for item in waiting):
            return False
        for uuid in uuids:
            try:
                await self._authority.ask(Coordinator.set_store_state, uuid, "retired")
            except StoreInUse:
                await self._backend.sleep(DECOMMISSION_PAUSE_SECONDS)
                return False
            await self._backend.stop(store_addr(inventory.rows[uuid].place))
        return True

    async def _bars(self, place: str) -> bool:
        """Whether the store of a place was let go: then none is to be started there."""
        try:
            rows = await self._authority.ask_within(STORE_INFO_SECONDS, Coordinator.stores)
        except ClusterError:
            return False  # what there is must be read also while the coordinator is away
        return any(row.place == place and row.state == "retired" for row in rows.values())

    def _bucket(self, bytes_per_s: float | None) -> Bucket | None:
        return None if bytes_per_s is None else Bucket(self._backend, bytes_per_s)


def _on(need: Need, uuids: list[str]) -> bool:
    return any(uuid in uuids for uuid in need.entry.layout)
