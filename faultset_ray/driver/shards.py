"""The driver's shards that no catalog knows: what ``encode`` spreads over the stores, and its handle names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from faultset_ray import codes
from faultset_ray.backend.protocol import Addr, Backend
from faultset_ray.driver.places import Places
from faultset_ray.driver.stores import StoreDirectory, refs_of, servant_of
from faultset_ray.errors import BackendClosed, ClusterError, InputError, NotEnoughShards, StoresLost
from faultset_ray.limits import STORE_INFO_SECONDS, WRITE_ATTEMPTS
from faultset_ray.objects.decode import read_object
from faultset_ray.objects.encode import StoreRef, write_object
from faultset_ray.objects.gather import AWAY
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.placement import place_object
from faultset_ray.objects.shardset import HeldShard, ShardSet
from faultset_ray.objects.sink import Out, sink_for
from faultset_ray.objects.sites import Site
from faultset_ray.objects.source import Data, Source
from faultset_ray.objects.store_values import StoreInfo
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import layout_for
from faultset_ray.telemetry import events


class Shards:
    """Encoded objects of one system, as one driver sees them."""

    def __init__(self, backend: Backend, system: str, places: Places, stores: StoreDirectory) -> None:
        self._backend = backend
        self._places = places
        self._stores = stores
        self._system = system

    async def encode(self, data: Data, code: str, stripe_bytes: int | None) -> ShardSet:
        """See :meth:`AsyncDriver.encode <faultset_ray.driver.asynchronous.AsyncDriver.encode>`."""
        found = codes.get(code)
        avoid: set[str] = set()
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            with Source(data) as source:
                cut = layout_for(source.size, found.k, found.n, stripe_bytes)
                survivors = await self._places.survivors()
                stores = [store for store in await self._stores.stores(survivors) if store.uuid not in avoid]
                write_id = self._backend.token(16)
                header = Header(0, found.k, found.n, cut.block_bytes, write_id, found.spec)
                refs = _refs(write_id, found, stores, cut.file_bytes(source.size))
                try:
                    sha256, receipts = await write_object(
                        self._backend, source, header, refs, await self._places.lost(survivors)
                    )
                except StoresLost as error:
                    if attempt == WRITE_ATTEMPTS:
                        raise
                    events.ENCODED_AGAIN.tell(object=source.name, error=error)
                    avoid |= set(error.failed)
                    continue
                held = {
                    receipt.index: HeldShard(
                        receipt.store, servant_of(receipt.place), receipt.place, receipt.region, receipt.durability
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
                events.READ_AGAIN.tell(error=error)
                unusable = await read(stores=stores | back)
            if unusable:
                events.READ_WITHOUT_SHARDS.tell(write_id=shards.write_id, shards=unusable)
            return await self._backend.compute(sink.finish)

    async def free(self, shards: ShardSet) -> None:
        """See :meth:`AsyncDriver.free <faultset_ray.driver.asynchronous.AsyncDriver.free>`."""
        self._check_ours(shards)
        net = self._backend.within(STORE_INFO_SECONDS)
        back = await self._back(shards)

        async def delete(servant: str) -> None:
            addr: Addr[PlaceStore] = Addr(servant)
            try:
                await net.call(addr, PlaceStore.delete, shards.header.write_id)
            except BackendClosed:
                raise
            except ClusterError as error:
                events.SHARDS_KEPT.tell(servant=servant, write_id=shards.write_id, error=error)

        servants = {back[index].servant if index in back else held.servant for index, held in shards.shards.items()}
        await asyncio.gather(*map(delete, sorted(servants)))

    async def _back(self, shards: ShardSet) -> dict[int, StoreRef]:
        """The stores of an object that answer now, by index: those that died are started, perhaps at other places."""
        found = refs_of(await self._stores.stores())
        return {index: found[held.store] for index, held in shards.shards.items() if held.store in found}

    def _check_ours(self, shards: ShardSet) -> None:
        if shards.system != self._system:
            raise InputError(
                f"write {shards.write_id} belongs to system {shards.system!r}; this driver is of {self._system!r}"
            )

    def _warn_if_weak(self, shards: ShardSet, name: str) -> None:
        promised = codes.get(shards.spec).tolerance
        if shards.survivable < promised:
            places = len({held.place for held in shards.shards.values()})
            events.PLACES_FEW.tell(
 object=name, code=shards.spec, places=places, survivable=shards.survivable, tolerate=promised)  # fmt: skip


def bind(shards: ShardSet, free: Any) -> ShardSet:
    """The handle with its :meth:`~ShardSet.free` working through a driver."""
    return replace(shards, _free=free)


def _refs(write_id: bytes, code: codes.Code, stores: Sequence[StoreInfo], shard_bytes: int) -> list[StoreRef]:
    """The store of each shard of a new write, whatever losses so many stores bear."""
    layout = place_object(write_id, code, [Site.of(store) for store in stores], shard_bytes=shard_bytes, flag=True)
    refs = refs_of(stores)
    return [refs[layout.stores[index]] for index in range(code.n)]
