"""An object into shards on stores: one task a stripe encodes and hands the blocks to the stores itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Addr, At, Backend, Net
from faultset_ray.errors import BackendClosed, ClusterError, CorruptShard, IncompleteShard, ShardNotFound, StoresLost
from faultset_ray.limits import APPEND_SECONDS, CODING_CPUS, SEAL_SECONDS, STORE_INFO_SECONDS
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.pool import Window, run_again, threads_of
from faultset_ray.objects.source import Source
from faultset_ray.objects.store_values import SealReceipt
from faultset_ray.objects.stripes import encode_rows
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import stripe_rows

Bytes = NDArray[np.uint8]
_STORE_ERRORS = (ClusterError, CorruptShard, IncompleteShard, ShardNotFound)
"""What a write meets when a store is out of reach, its disk fails, or it was started anew meanwhile and is empty."""


@dataclass(frozen=True, slots=True)
class StoreRef:
    """A store as tasks see it."""

    servant: str
    uuid: str
    place: str

    @property
    def addr(self) -> Addr[PlaceStore]:
        """Where to call it."""
        return Addr(self.servant)


async def encode_stripe(
    net: Net, rows: Bytes, header: Header, stripe: int, stores: Sequence[StoreRef]
) -> dict[str, str]:
    """Encode one stripe and append its blocks to the stores; the task of the pool.

    Parameters
    ----------
    rows : uint8[k, L]
        Not changed.
    stores
        One for each shard, by index.

    Returns
    -------
    dict
        Why stores failed, by UUID; empty when all have their block.
    """
    parity, digests = await net.compute(encode_rows, rows, header, stripe, threads_of(net))

    async def append(index: int) -> None:
        block = rows[index] if index < header.k else parity[index - header.k]
        packed = replace(header, index=index).pack()
        await net.within(APPEND_SECONDS).call(
            stores[index].addr, PlaceStore.append, packed, stripe, block, digests[index]
        )

    return _failures(stores, await asyncio.gather(*map(append, range(header.n)), return_exceptions=True))


async def write_object(
    backend: Backend,
    source: Source,
    header: Header,
    stores: Sequence[StoreRef],
    avoid: frozenset[str] = frozenset(),
) -> tuple[bytes, list[SealReceipt]]:
    """Encode a whole source onto stores and seal the shards.

    Parameters
    ----------
    source
        Read from where it stands to its end.
    header
        Of the write; its index is 0.
    stores
        One for each shard, by index; a store may stand there more than once.
    avoid
        Places where no task is to run.

    Returns
    -------
    sha256 : bytes
    receipts : list of SealReceipt
        Of every shard, by index.

    Raises
    ------
    StoresLost
        At least one store did not take its shard. What the others took is dropped.
    """
    layout = header.layout
    stripes = layout.stripes(source.size)
    window = Window(layout.stripe_bytes)
    try:
        async with window:
            for stripe in range(stripes):
                await window.room()
                start, stop = layout.span(stripe, source.size)
                data = await backend.compute(source.read, stop - start)
                rows = stripe_rows(data, header.k, layout.block_len(stripe, source.size))
                window.add(_write_stripe(backend, rows, header, stripe, stores, avoid))
        return source.sha256(), await _seal(backend, header, stores, source.size, stripes, source.sha256())
    except BaseException:
        await asyncio.shield(_abort(backend, header, stores))
        raise


async def _write_stripe(
    backend: Backend, rows: Bytes, header: Header, stripe: int, stores: Sequence[StoreRef], avoid: frozenset[str]
) -> None:
    shared = backend.share(rows)
    near = At(place=stores[stripe % len(stores)].place, soft=True, cpus=CODING_CPUS, avoid=avoid)
    failed = await run_again(backend, encode_stripe, near, shared, header, stripe, stores)
    if failed:
        raise StoresLost(failed)


async def _seal(
    backend: Backend, header: Header, stores: Sequence[StoreRef], size: int, stripes: int, sha256: bytes
) -> list[SealReceipt]:
    async def seal(index: int) -> SealReceipt:
        net = backend.within(SEAL_SECONDS)
        addr = stores[index].addr
        if stripes == 0:
            await net.call(addr, PlaceStore.begin, replace(header, index=index).pack())
        return await net.call(addr, PlaceStore.seal, header.write_id, index, size, stripes, sha256)

    results = await asyncio.gather(*map(seal, range(header.n)), return_exceptions=True)
    failed = _failures(stores, results)
    if failed:
        raise StoresLost(failed)
    return [receipt for receipt in results if isinstance(receipt, SealReceipt)]


async def _abort(backend: Backend, header: Header, stores: Sequence[StoreRef]) -> None:
    """Drop what was written, where it can be; a store that is gone took it along, and one that hangs is left."""
    net = backend.within(STORE_INFO_SECONDS)

    async def drop(store: StoreRef) -> None:
        # first no more blocks are taken: those of tasks that were cancelled may still be on their way
        await net.call(store.addr, PlaceStore.abort, header.write_id)
        await net.call(store.addr, PlaceStore.delete, header.write_id)

    unique = {store.uuid: store for store in stores}.values()
    await asyncio.gather(*map(drop, unique), return_exceptions=True)


def _failures(stores: Sequence[StoreRef], results: Sequence[object]) -> dict[str, str]:
    """Stores that failed as stores do; any other error is raised."""
    failed: dict[str, str] = {}
    for store, result in zip(stores, results, strict=True):
        if isinstance(result, _STORE_ERRORS) and not isinstance(result, BackendClosed):
            failed[store.uuid] = str(result)
        elif isinstance(result, BaseException):
            raise result
    return failed
