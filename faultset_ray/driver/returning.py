"""A store that was let go of and is back: it drops what it has of before, then takes part again.

What was deleted or overwritten meanwhile it was never told. The catalog noted the last generation there was when it let
the store go; of what is no newer, it needs what it names there, and nothing else: that is known, not guessed from
absence. Newer things are left for a scrub to tell of.
"""

from __future__ import annotations

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.inventory import Inventory
from faultset_ray.driver.stores import ref_of
from faultset_ray.errors import BackendClosed, FaultsetError
from faultset_ray.failpoints import reach
from faultset_ray.limits import SEAL_SECONDS, UPKEEP_PAGE
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Fence, RetiredStores
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import sound
from faultset_ray.telemetry import events


class Returning:
    """Clears the stores of one system that return."""

    def __init__(self, backend: Backend, authority: Authority) -> None:
        self._backend = backend
        self._authority = authority

    async def clear(self, inventory: Inventory, retired: RetiredStores) -> int:
        """Have the stores that are back drop what they have of before; how many take part again.

        Safe to repeat: one that fails, or is cut short, is cleared anew. Its failure is not the others'.
        """
        cleared = 0
        for uuid in sorted(retired.stores.keys() & inventory.rows.keys() & inventory.here.keys()):
            try:
                await self._one(ref_of(inventory.here[uuid]), retired.stores[uuid])
                cleared += 1
            except BackendClosed:
                raise
            except FaultsetError as error:
                events.STORE_RETURN_DELAYED.tell(store=uuid, error=error)
        return cleared

    async def _one(self, ref: StoreRef, last: int) -> None:
        fence = await self._authority.ask(Coordinator.fence)
        freed, shards = await self._shards(ref, last, fence)
        reach("return.dropped")
        records = await self._records(ref, last, fence)
        reach("return.forgotten")
        await self._authority.ask(Coordinator.store_returned, ref.uuid)
        events.STORE_RETURNED.tell(store=ref.uuid, shards=shards, bytes=freed, records=records)

    async def _shards(self, ref: StoreRef, last: int, fence: Fence) -> tuple[int, int]:
        """Drop the shards that the catalog does not name here; bytes that were freed, and how many shards."""
        freed = shards = 0
        net, after = self._backend.within(SEAL_SECONDS), b""
        while True:
            page = await net.call(ref.addr, PlaceStore.scan, after, UPKEEP_PAGE)
            # 0 is of shards that no catalog knows, and of headers that can't be read
            old = ((page.generation > 0) & (page.generation <= last)).nonzero()[0].tolist()
            keys = [(page.write_id[at].tobytes(), int(page.index[at])) for at in old]
            known = await self._authority.ask(Coordinator.whose, ref.uuid, keys) if keys else []
            keys = [key for key, whose in zip(keys, known, strict=True) if whose in {"", "garbage", "surplus"}]
            for answer in await net.call(ref.addr, PlaceStore.drop, keys, fence) if keys else []:
                if isinstance(answer, FaultsetError):
                    raise answer
                freed += answer
            shards += len(keys)
            after = page.next
            if not after:
                return freed, shards

    async def _records(self, ref: StoreRef, last: int, fence: Fence) -> int:
        """Forget the records of what is not here; how many there were."""
        forgotten = 0
        net, after = self._backend.within(SEAL_SECONDS), b""
        while True:
            packed, after = await net.call(ref.addr, PlaceStore.scan_records, after, UPKEEP_PAGE)
            old = [record for record in map(sound, packed) if record is not None and record.generation <= last]
            kept = await self._authority.ask(Coordinator.keeps, ref.uuid, [record.generation for record in old])
            gone = [(record.object_id, record.generation) for record, keep in zip(old, kept, strict=True) if not keep]
            if gone:
                forgotten += await net.call(ref.addr, PlaceStore.forget, gone, fence)
            if not after:
                return forgotten
