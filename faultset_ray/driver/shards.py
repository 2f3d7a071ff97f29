"""The driver's data plane: stores on the places meant for them, and objects encoded over them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from faultset_ray import codes
from faultset_ray.backend.protocol import LABEL_STORE, Addr, At, Backend, Place
from faultset_ray.driver.places import Places
from faultset_ray.errors import BackendClosed, ClusterError, InputError, NotEnoughShards, PlaceUnreachable, StoresLost
from faultset_ray.limits import STORE_INFO_SECONDS, WRITE_ATTEMPTS
from faultset_ray.objects import placement
from faultset_ray.objects.decode import read_object
from faultset_ray.objects.encode import StoreRef, write_object
from faultset_ray.objects.gather import AWAY
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.shardset import HeldShard, ShardSet
from faultset_ray.objects.sink import Out, sink_for
from faultset_ray.objects.source import Data, Source
from faultset_ray.objects.store import StoreInfo
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import layout_for

_LOG = logging.getLogger(__name__)


class Shards:
    """Encoded objects of one system, as one driver sees them."""

    def __init__(self, backend: Backend, system: str, places: Places) -> None:
        self._backend = backend
        self._places = places
        self._system = system
        self._said: set[str] = set()

    async def encode(self, data: Data, code: str, stripe_bytes: int) -> ShardSet:
        """See :meth:`AsyncDriver.encode <faultset_ray.driver.asynchronous.AsyncDriver.encode>`."""
        found = codes.get(code)
        avoid: set[str] = set()
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            with Source(data) as source:
                block_bytes = layout_for(source.size, found.k, stripe_bytes).block_bytes
                survivors = await self._places.survivors()
                stores = [store for store in await self._stores_at(survivors) if store.uuid not in avoid]
                write_id = self._backend.token(16)
                header = Header(0, found.k, found.n, block_bytes, write_id, found.spec)
                placed = placement.place(found.n, stores, survivors, int.from_bytes(write_id[:4], "little"))
                refs = [StoreRef(_servant(store.place), store.uuid, store.place) for store in placed]
                try:
                    sha256, receipts = await write_object(
                        self._backend, source, header, refs, await self._places.lost(survivors)
                    )
                except StoresLost as error:
                    if attempt == WRITE_ATTEMPTS:
                        raise
                    _LOG.warning("%s: %s; writing it anew", source.name, error)
                    avoid |= set(error.failed)
                    continue
                held = {
                    receipt.index: HeldShard(
                        receipt.store, _servant(receipt.place), receipt.place, receipt.region, receipt.durability
                    )
                    for receipt in receipts
                }
                shards = ShardSet(self._system, header, source.size, sha256.hex(), held)
                self._warn_if_weak(shards, source.name)
                return shards
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def decode(self, shards: ShardSet, out: Out | None) -> bytes | None:
        """See :meth:`AsyncDriver.decode <faultset_ray.driver.asynchronous.AsyncDriver.decode>`."""
        self._check_ours(shards)
        stores = {index: StoreRef(held.servant, held.store, held.place) for index, held in shards.shards.items()}
        with sink_for(out, shards.size) as sink:
            survivors = await self._places.survivors()
            read = partial(
                read_object,
                self._backend,
                shards.header,
                shards.size,
                shards.sha256,
                write=sink.write,
                survivors=survivors,
                avoid=await self._places.lost(survivors),
            )
            try:
                unusable = await read(stores=stores)
            except NotEnoughShards as error:
                back = await self._back(shards)
                if not any(error.missing.get(index) in AWAY or ref != stores[index] for index, ref in back.items()):
                    raise
                _LOG.warning("%s; trying again, with the stores that are back", error)
                unusable = await read(stores=stores | back)
            if unusable:
                _LOG.warning("write %s was read without shards %s", shards.write_id, unusable)
            return await self._backend.compute(sink.finish)

    async def free(self, shards: ShardSet) -> None:
        """See :meth:`AsyncDriver.free <faultset_ray.driver.asynchronous.AsyncDriver.free>`."""
        self._check_ours(shards)
        net = self._backend.within(STORE_INFO_SECONDS)
        back = await self._back(shards)

        async def delete(servant: str) -> None:
            try:
                await net.call(_addr(servant), PlaceStore.delete, shards.header.write_id)
            except BackendClosed:
                raise
            except ClusterError as error:
                _LOG.warning("%s kept its shards of write %s: %s", servant, shards.write_id, error)

        servants = {back[index].servant if index in back else held.servant for index, held in shards.shards.items()}
        await asyncio.gather(*map(delete, sorted(servants)))

    async def stores(self) -> list[StoreInfo]:
        """The stores that answer, one on each place meant for one; those not there yet are started."""
        return await self._stores_at(None)

    async def stop(self) -> None:
        """End every store of the system."""
        for place in await self._backend.places():
            await self._backend.stop(_addr(_servant(place.id)))

    # -- Inside

    async def _stores_at(self, survivors: placement.Trusted | None) -> list[StoreInfo]:
        """As :meth:`stores`, of the places that survive, where any does: nobody waits for one that hangs."""
        places = placement.trusted(await self._store_places(), survivors, lambda place: place.id)
        results = await asyncio.gather(*map(self._store, places), return_exceptions=True)
        found = []
        for place, result in zip(places, results, strict=True):
            if isinstance(result, StoreInfo):
                found.append(result)
            elif isinstance(result, ClusterError):
                _LOG.warning("no store at %s: %s", place.id, result)
            else:
                raise result
        fleeting = [store.place for store in found if store.durability == "none"]
        if fleeting:
            self._say_once(
                f'{len(fleeting)} of {len(found)} stores have durability "none": their shards are gone with their '
                "processes; set FAULTSET_STORE_DIR at the places to keep them"
            )
        return found

    async def _back(self, shards: ShardSet) -> dict[int, StoreRef]:
        """The stores of an object that answer now, by index: those that died are started, perhaps at other places."""
        found = {info.uuid: StoreRef(_servant(info.place), info.uuid, info.place) for info in await self.stores()}
        return {index: found[held.store] for index, held in shards.shards.items() if held.store in found}

    async def _store(self, place: Place) -> StoreInfo:
        net, addr = self._backend.within(STORE_INFO_SECONDS), _addr(_servant(place.id))
        try:
            return await net.call(addr, PlaceStore.info)  # a store that hangs is given up here, in time
        except PlaceUnreachable:
            await self._backend.spawn(PlaceStore, addr.name, place.id, place.region, at=At(place=place.id))
            return await net.call(addr, PlaceStore.info)

    async def _store_places(self) -> Sequence[Place]:
        places = [place for place in await self._backend.places() if not place.draining]
        labelled = [place for place in places if place.labels.get(LABEL_STORE) == "true"]
        if not labelled:
            self._say_once(f"no place carries the label {LABEL_STORE}=true: all {len(places)} may hold a store")
        return labelled or places

    def _check_ours(self, shards: ShardSet) -> None:
        if shards.system != self._system:
            raise InputError(
                f"write {shards.write_id} belongs to system {shards.system!r}; this driver is of {self._system!r}"
            )

    def _warn_if_weak(self, shards: ShardSet, name: str) -> None:
        promised = codes.get(shards.spec).tolerance
        if shards.survivable < promised:
            places = len({held.place for held in shards.shards.values()})
            _LOG.warning(
                "%s as %s lies on %d places and survives the loss of any %d of them, not %d: "
                "it needs %d places",
                name, shards.spec, places, shards.survivable, promised, shards.header.n,
            )  # fmt: skip

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _LOG.warning(text)


def bind(shards: ShardSet, free: Any) -> ShardSet:
    """The handle with its :meth:`~ShardSet.free` working through a driver."""
    return replace(shards, _free=free)


def _servant(place: str) -> str:
    return f"store/{place}"


def _addr(servant: str) -> Addr[PlaceStore]:
    return Addr(servant)
