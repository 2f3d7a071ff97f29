"""A lost catalog made again from what the stores hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Rebuilt
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.stores import StoreDirectory, ref_of
from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.failpoints import reach
from faultset_ray.limits import REBUILD_PAGE, SEAL_SECONDS
from faultset_ray.objects.intake import SoFar
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.store_values import StoreInfo


async def rebuild_catalog(backend: Backend, authority: Authority, stores: StoreDirectory, told: SoFar) -> Rebuilt:
    """Read every shard's ends and every record of all stores, and have the coordinator make its catalog of them.

    Nothing on the stores is changed. Cut short, it is begun anew. Tells the shards.

    Raises
    ------
    InputError
        The catalog has objects.
    NotEnoughPlaces
        No store answers.
    """
    infos = [*await stores.look(), *stores.foreign]
    if not infos:
        raise NotEnoughPlaces(0, 1, "no store answers, so there is nothing to make a catalog of")
    await authority.ask(Coordinator.rebuild_begin, infos)
    done, everything = 0, sum(info.shards for info in infos)

    def tell(shards: int) -> None:
        nonlocal done
        done += shards
        told(done, max(done, everything))

    await asyncio.gather(*(_read(backend, authority, info, tell) for info in infos))
    reach("rebuild.scanned")
    rebuilt = await authority.ask_within(SEAL_SECONDS, Coordinator.rebuild_end)
    reach("rebuild.written")
    return rebuilt


async def _read(backend: Backend, authority: Authority, info: StoreInfo, tell: Callable[[int], None]) -> None:
    """Pass on all that a store holds; tells how many shards each page has."""
    net, addr = backend.within(SEAL_SECONDS), ref_of(info).addr
    if info.retired:
        await authority.ask(Coordinator.rebuild_retired, info.uuid, await net.call(addr, PlaceStore.retired_stores))
    after = b""
    while True:
        page = await net.call(addr, PlaceStore.scan, after, REBUILD_PAGE)
        await authority.ask(Coordinator.rebuild_shards, info.uuid, after, page)
        tell(len(page.index))
        after = page.next
        if not after:
            break
    while True:
        records, after = await net.call(addr, PlaceStore.scan_records, after, REBUILD_PAGE)
        await authority.ask(Coordinator.rebuild_records, info.uuid, records)
        if not after:
            return
