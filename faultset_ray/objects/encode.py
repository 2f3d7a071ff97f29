"""An object into shards on stores: who encodes a stripe, a task or the writer, hands its blocks to the stores too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Addr, At, Backend, Net
from faultset_ray.errors import (
    BackendClosed,
    ClusterError,
    CorruptShard,
    IncompleteShard,
    ShardNotFound,
    StoresLost,
    WriteAborted,
)
from faultset_ray.limits import APPEND_SECONDS, CODING_CPUS, SEAL_SECONDS, STORE_INFO_SECONDS
from faultset_ray.objects.intake import SourceReader
from faultset_ray.objects.metering import coded
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.pool import Window, threads_of
from faultset_ray.objects.sent import Digests, encode_sent, run_with_rows
from faultset_ray.objects.source import Source
from faultset_ray.objects.store_values import SealReceipt
from faultset_ray.objects.stripes import encode_rows
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import stripe_rows

Bytes = NDArray[np.uint8]
STORE_ERRORS = (ClusterError, CorruptShard, IncompleteShard, ShardNotFound)
"""What a write meets when a store is out of reach, its disk fails, or it was started anew meanwhile and is empty."""
WRITE_ENDS = (BackendClosed, WriteAborted)
"""Of these, what is no store's failure: there is nothing to go on with elsewhere."""


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


@dataclass(slots=True)
class Written:
    """What became of a write."""

    size: int
    stripes: int
    sha256: bytes
    receipts: dict[int, SealReceipt]
    """Of the shards that are sealed, by index."""
    failed: dict[str, str]
    """Why stores failed, by UUID."""


Seal = Callable[[StoreRef, int, int, int, bytes], Awaitable[SealReceipt]]
"""Seals a shard: where, index, and the object's size, stripes and SHA-256."""


class Reading(Protocol):
    """Where an object comes from."""

    async def read(self, nbytes: int) -> Bytes:
        """The next bytes: uint8[nbytes], fewer only at the end."""

    def sha256(self) -> bytes:
        """Of all that was read."""


async def encode_stripe(
    net: Net, rows: Bytes, digests: Digests, header: Header, stripe: int, stores: Mapping[int, StoreRef]
) -> dict[str, str]:
    """Encode one stripe and append its blocks to the stores; the task of the pool.

    Parameters
    ----------
    rows : uint8[k, L]
        Not changed.
    digests
        Of the rows, as they were sent.
    stores
        By index; a shard without one is not written.

    Returns
    -------
    dict
        Why stores failed, by UUID; empty when all have their block.

    Raises
    ------
    DigestMismatch
        If other rows arrived; nothing was written.
    """
    threads = threads_of(net)
    parity, all_digests = await coded(
        net, "encode", header.spec, rows.nbytes, encode_sent, rows, digests, header, stripe, threads
    )
    return await _append(net, rows, parity, all_digests, header, stripe, stores)


async def encode_here(
    net: Net, rows: Bytes, header: Header, stripe: int, stores: Mapping[int, StoreRef]
) -> dict[str, str]:
    """:func:`encode_stripe` without a task, of rows that went nowhere."""
    threads = threads_of(net)
    parity, all_digests = await coded(
        net, "encode", header.spec, rows.nbytes, encode_rows, rows, header, stripe, threads
    )
    return await _append(net, rows, parity, all_digests, header, stripe, stores)


async def _append(
    net: Net,
    rows: Bytes,
    parity: Bytes,
    all_digests: Digests,
    header: Header,
    stripe: int,
    stores: Mapping[int, StoreRef],
) -> dict[str, str]:
    """Hand a stripe's blocks to their stores; why stores failed is told, by UUID."""

    async def append(index: int) -> None:
        block = rows[index] if index < header.k else parity[index - header.k]
        packed = replace(header, index=index).pack()
        await net.within(APPEND_SECONDS).call(
            stores[index].addr, PlaceStore.append, packed, stripe, block, all_digests[index]
        )

    return _failures(stores, await asyncio.gather(*map(append, stores), return_exceptions=True))


class ObjectWriter:
    """Encodes what comes onto stores, a stripe at a time here and the others by a task each.

    A store that fails is left out of what follows.

    Parameters
    ----------
    header
        Of the write; its index is 0.
    stores
        Of each shard, by index; a store may stand there more than once.
    seal
        Seals a shard once all blocks are there.
    least
        How many shards must get through. With fewer, ``StoresLost``.
    avoid
        Places where no task is to run.
    """

    def __init__(
        self,
        backend: Backend,
        header: Header,
        stores: Mapping[int, StoreRef],
        seal: Seal,
        least: int,
        avoid: frozenset[str] = frozenset(),
    ) -> None:
        self._backend = backend
        self._header = header
        self._stores = dict(stores)
        self._seal = seal
        self._least = least
        self._avoid = avoid
        self._failed: dict[str, str] = {}
        self._here = asyncio.Lock()

    async def write(self, source: Reading, size: int | None, first: Bytes | None = None) -> Written:
        """Write all that a source has, and seal the shards that got through.

        The first stripe is encoded here: a task takes longer to begin, seconds where no worker waits for one. Of those
        after it one at a time is, so that rows are not sent twice; the others are spread, since that many blocks are
        more than this machine should have to send.

        Parameters
        ----------
        size
            How much it has, where that is known.
        first
            The first stripe's data, where they were read already.

        Raises
        ------
        StoresLost
            Too few shards got through. What was written is not dropped.
        """
        layout = self._header.layout
        window = Window(max(layout.stripe_bytes, self._header.n * layout.block_bytes // 2))  # much parity counts too
        read = stripes = 0
        async with window:
            ended = False
            while not ended:
                await window.room()
                data = await source.read(layout.stripe_bytes) if first is None else first
                first, ended = None, data.size < layout.stripe_bytes or read + data.size == size
                if data.size:
                    window.add(self._stripe(data, stripes))
                    read, stripes = read + data.size, stripes + 1
        receipts = await self._sealed(read, stripes, source.sha256())
        return Written(read, stripes, source.sha256(), receipts, self._failed)

    async def _stripe(self, data: Bytes, stripe: int) -> None:
        header = self._header
        rows = stripe_rows(data, header.k, header.layout.block_len(0, data.size))
        stores = dict(self._stores)
        if not self._here.locked():
            async with self._here:
                self._lose(await encode_here(self._backend, rows, header, stripe, stores))
            return
        near = stores[sorted(stores)[stripe % len(stores)]].place
        at = At(place=near, soft=True, cpus=CODING_CPUS, avoid=self._avoid)
        self._lose(await run_with_rows(self._backend, encode_stripe, at, rows, header, stripe, stores))

    async def _sealed(self, size: int, stripes: int, sha256: bytes) -> dict[int, SealReceipt]:
        stores = dict(self._stores)

        async def seal(index: int) -> SealReceipt:
            if stripes == 0:
                packed = replace(self._header, index=index).pack()
                await self._backend.within(SEAL_SECONDS).call(stores[index].addr, PlaceStore.begin, packed)
            return await self._seal(stores[index], index, size, stripes, sha256)

        results = await asyncio.gather(*map(seal, stores), return_exceptions=True)
        self._lose(_failures(stores, results))
        return {receipt.index: receipt for receipt in results if isinstance(receipt, SealReceipt)}

    def _lose(self, failed: Mapping[str, str]) -> None:
        """Go on without stores that failed, if there are enough others."""
        self._failed.update(failed)
        self._stores = {index: store for index, store in self._stores.items() if store.uuid not in failed}
        if failed and len(self._stores) < self._least:
            raise StoresLost(self._failed)


async def write_object(
    backend: Backend,
    source: Source,
    header: Header,
    stores: Sequence[StoreRef],
    avoid: frozenset[str] = frozenset(),
) -> tuple[bytes, list[SealReceipt]]:
    """Write a whole source, without a fence: all shards or none.

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

    async def seal(store: StoreRef, index: int, size: int, stripes: int, sha256: bytes) -> SealReceipt:
        net = backend.within(SEAL_SECONDS)
        return await net.call(store.addr, PlaceStore.seal, header.write_id, index, size, stripes, sha256)

    writer = ObjectWriter(backend, header, dict(enumerate(stores)), seal, header.n, avoid)
    try:
        written = await writer.write(SourceReader(backend, source), source.size)
    except BaseException:
        await asyncio.shield(drop_write(backend, header, stores))
        raise
    return written.sha256, [written.receipts[index] for index in range(header.n)]


async def drop_write(backend: Backend, header: Header, stores: Iterable[StoreRef]) -> None:
    """Drop what was written, where it can be; a store that is gone took it along, and one that hangs is left."""
    net = backend.within(STORE_INFO_SECONDS)

    async def drop(store: StoreRef) -> None:
        # first no more blocks are taken: those of tasks that were cancelled may still be on their way
        await net.call(store.addr, PlaceStore.abort, header.write_id)
        await net.call(store.addr, PlaceStore.delete, header.write_id)

    unique = {store.uuid: store for store in stores}.values()
    await asyncio.gather(*map(drop, unique), return_exceptions=True)


def _failures(stores: Mapping[int, StoreRef], results: Sequence[object]) -> dict[str, str]:
    """Stores that failed as stores do; any other error is raised."""
    failed: dict[str, str] = {}
    for store, result in zip(stores.values(), results, strict=True):
        if isinstance(result, STORE_ERRORS) and not isinstance(result, WRITE_ENDS):
            failed[store.uuid] = str(result)
        elif isinstance(result, BaseException):
            raise result
    return failed
