"""What a driver does for the objects of its system when it is asked: tell how they are, mend them, empty a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from faultset_ray.backend.protocol import Backend
from faultset_ray.columns import check_flag
from faultset_ray.config import Repair
from faultset_ray.coordinator.objects import Rebuilt, StoreRow, Tally
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.collecting import Collector
from faultset_ray.driver.deadline import Deadline
from faultset_ray.driver.emptying import Decommissioned, Emptying
from faultset_ray.driver.inventory import Inventory, Lookout
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.rebuilding import rebuild_catalog
from faultset_ray.driver.repairs import Repaired, Repairs
from faultset_ray.driver.scrubbing import Cursor, Scrubbed, Scrubber
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.errors import ClusterError
from faultset_ray.limits import SCRUB_PAUSE_SECONDS, SCRUB_WAITS_SECONDS, STORE_INFO_SECONDS
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.intake import SoFar, teller


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
    lost: tuple[str, ...]
    """Names of the objects of margin -1, a hundred at most: too few of their shards are within reach now."""
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


class Upkeep:
    """Verbs of one driver; they work whether or not this driver is the steward."""

    def __init__(
        self, backend: Backend, authority: Authority, stores: StoreDirectory, mover: Mover, repair: Repair
    ) -> None:
        self._backend = backend
        self._authority = authority
        self._stores = stores
        stores.bars = self._bars
        self._lookout = Lookout(backend, authority, stores, repair)
        self._collector = Collector(backend, authority)
        self._repairs = Repairs(backend, authority, mover, repair.concurrent)
        self._emptying = Emptying(backend, authority, self._lookout, self._repairs, self._collector)
        self._scrubber = Scrubber(backend, authority)

    async def status(self) -> SystemStatus:
        """Count objects by what they bear, and look at every store."""
        inventory = await self._lookout.look()
        tally = await self._authority.ask(Coordinator.tally)
        needs = await self._repairs.needs(inventory, at_once=True)
        light, deep = [await self._scrubber.cursor(deep=deep) for deep in (False, True)]
        rows = await self._authority.ask(Coordinator.stores)
        stores = [
            StoreStatus(row, uuid in inventory.here, row.unseen_s, uuid in inventory.leaving)
            for uuid, row in sorted(rows.items())
        ]
        orphans = 0 if light is None else light.found
        margins = dict(sorted(needs.margins.items()))
        return SystemStatus(tally, margins, tuple(needs.lost), needs.leaving, tuple(stores), light, deep, orphans)

    async def repair(self, bytes_per_s: float | None = None, progress: SoFar | None = None) -> Repaired:
        """Mend every object that has lost shards, without waiting for stores that are away to come back."""
        total, bucket, told = Repaired(), self._bucket(bytes_per_s), teller(progress)
        while True:
            inventory = await self._lookout.look()
            await self._collector.tidy(inventory)
            needs = await self._repairs.needs(inventory, at_once=True)
            everything = total.bytes + sum(need.file_bytes for need in needs.first)
            so_far = partial(_tell, told, total.bytes, everything)
            done = await self._repairs.mend(needs.first, inventory, bucket, told=so_far, at_once=True)
            total.add(done)
            if not done.objects:
                return total

    async def scrub(
        self, *, deep: bool, drop_orphans: bool, bytes_per_s: float | None = None, progress: SoFar | None = None
    ) -> Scrubbed:
        """Look at every shard there should be and every one there is."""
        check_flag("deep", deep)
        check_flag("drop_orphans", drop_orphans)
        bucket, told = self._bucket(bytes_per_s), teller(progress)
        inventory = await self._lookout.look()
        found = Scrubbed(deep)
        await self._scrubber.whole(inventory, found, bucket, told)
        inventory = await self._scrub_late(inventory, found, bucket, told)
        if drop_orphans:
            await self._scrubber.drop(inventory, found)
        return found

    async def _scrub_late(self, inventory: Inventory, found: Scrubbed, bucket: Bucket | None, told: SoFar) -> Inventory:
        """Look at stores that did not answer at first: one that was cut off until just now is not asked by others yet.

        Waited for are places that are there and whose stores don't answer yet; returned is who answered in the end.
        """
        deadline = Deadline(self._backend, SCRUB_WAITS_SECONDS)
        while late := {*found.silent} - inventory.here.keys():
            infos = {info.uuid: info for info in await self._stores.everywhere()}
            back = {uuid: infos[uuid] for uuid in late & infos.keys()}
            found.silent = [uuid for uuid in found.silent if uuid not in back]
            rows = {uuid: inventory.rows[uuid] for uuid in back}
            inventory = replace(inventory, here={**inventory.here, **back})
            await self._scrubber.whole(replace(inventory, rows=rows), found, bucket, told)
            if not self._stores.missing or deadline.left_s() <= 0:
                break
            await self._backend.sleep(SCRUB_PAUSE_SECONDS)
        return inventory

    async def decommission(
        self,
        which: str,
        bytes_per_s: float | None = None,
        timeout_s: float | None = None,
        progress: SoFar | None = None,
        *,
        force: bool = False,
    ) -> Decommissioned:
        """Empty the stores of a place, or one store, and let them go."""
        check_flag("force", force)
        return await self._emptying.empty(which, self._bucket(bytes_per_s), timeout_s, teller(progress), force=force)

    async def cancel_decommission(self, which: str) -> tuple[str, ...]:
        """Have stores that are being emptied take part again."""
        return await self._emptying.cancel(which)

    async def rebuild(self, progress: SoFar | None = None) -> Rebuilt:
        """Make a lost catalog again from the stores."""
        rebuilt = await rebuild_catalog(self._backend, self._authority, self._stores, teller(progress))
        await self._lookout.look()  # the stores are of this catalog again
        return rebuilt

    # -- Inside

    async def _bars(self, place: str) -> bool:
        """Whether the store that was last seen at a place was let go: then none is to be started there."""
        try:
            rows = await self._authority.ask_within(STORE_INFO_SECONDS, Coordinator.stores)
        except ClusterError:
            return False  # what there is must be read also while the coordinator is away
        at_place = [row for row in rows.values() if row.place == place]
        return bool(at_place) and min(at_place, key=lambda row: row.unseen_s).state == "retired"

    def _bucket(self, bytes_per_s: float | None) -> Bucket | None:
        return None if bytes_per_s is None else Bucket(self._backend, bytes_per_s)


def _tell(told: SoFar, before: int, everything: int, done: Repaired) -> None:
    told(before + done.bytes, everything)
