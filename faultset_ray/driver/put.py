"""One write of an object, from the intent to the acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Commit, Intent, Ticket
from faultset_ray.driver.object_values import Receipt
from faultset_ray.driver.room import Room, Wish
from faultset_ray.driver.writes import Writes
from faultset_ray.errors import NotEnoughPlaces, StoresLost
from faultset_ray.failpoints import reach
from faultset_ray.limits import SEAL_SECONDS, STORE_INFO_SECONDS, WRITE_ATTEMPTS
from faultset_ray.objects.batch import Batcher
from faultset_ray.objects.encode import STORE_ERRORS, WRITE_ENDS, ObjectWriter, Reading, StoreRef, Written
from faultset_ray.objects.lines import Lines
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.rebuild import rebuild_shard
from faultset_ray.objects.record import Record
from faultset_ray.objects.small import Small
from faultset_ray.objects.store_values import SealReceipt, Whole
from faultset_ray.objects.survival import survivable
from faultset_ray.shards.format import Header
from faultset_ray.telemetry import events

Bytes = NDArray[np.uint8]


class Put:
    """One write; :meth:`small` or :meth:`large` does it.

    Parameters
    ----------
    backend, writes, lines, room
    encodes
        Encodes small objects, many at once.
    """

    def __init__(
        self,
        backend: Backend,
        writes: Writes,
        lines: Lines,
        room: Room,
        encodes: Batcher[Small, list[Whole]],
        wish: Wish,
    ) -> None:
        self._backend = backend
        self._writes = writes
        self._lines = lines
        self._room = room
        self._encodes = encodes
        self._wish = wish
        self._write_id = backend.token(16)
        self._generation: int | None = None
        """What the coordinator gave; every header says it."""
        self._stores: dict[int, StoreRef] = {}
        """Where each shard is to go."""
        self._touched: dict[str, StoreRef] = {}
        """Stores that may have something of this write."""
        self._receipts: dict[int, SealReceipt] = {}
        self._failed: dict[str, str] = {}
        """Why stores failed, by UUID."""
        self._recorded = False

    async def small(self, data: Bytes, sha256: bytes) -> Receipt:
        """Write an object that is at hand: a shard is one call to its store, shared with other objects."""
        header = await self._open(self._wish.layout.file_bytes(data.size))
        try:
            wholes = await self._encodes.add((header, data, sha256), data.size)
            reach("put.shards")
            for _ in range(WRITE_ATTEMPTS):
                await self._store(wholes)
                if self._kept():
                    break
                await self._elsewhere(self._wish.layout.file_bytes(data.size))
            return await self._finish(header, data.size, sha256)
        except (Exception, asyncio.CancelledError):
            await asyncio.shield(self._abort())
            raise

    async def large(self, source: Reading, size: int | None, first: Bytes | None) -> Receipt:
        """Write an object stripe by stripe; what is missing in the end is rebuilt on other stores."""
        header = await self._open(self._wish.layout.file_bytes(size or 0))
        try:
            await self._answering(header.layout.file_bytes(size or 0))
            avoid = await self._room.avoid()
            writer = ObjectWriter(self._backend, header, self._stores, self._seal, header.k, avoid)
            written = await writer.write(source, size, first)
            reach("put.shards")
            self._receipts = written.receipts
            self._failed |= written.failed
            for _ in range(WRITE_ATTEMPTS):
                if self._kept():
                    break
                await self._elsewhere(header.layout.file_bytes(written.size))
                await self._rebuild(header, written)
            return await self._finish(header, written.size, written.sha256)
        except (Exception, asyncio.CancelledError):
            await asyncio.shield(self._abort())
            raise

    # -- Inside

    @property
    def _held(self) -> dict[int, str]:
        """The store of each shard that is sealed."""
        return {index: receipt.store for index, receipt in sorted(self._receipts.items())}

    def _kept(self) -> bool:
        """Whether what is sealed keeps the promise."""
        return survivable(self._wish.code, self._held) >= self._wish.tolerate

    async def _open(self, shard_bytes: int) -> Header:
        wish = self._wish
        ticket = await self._ticket(shard_bytes)
        reach("put.opened")
        code, layout = wish.code, wish.layout
        return Header(
            0, code.k, code.n, layout.block_bytes, self._write_id, code.spec, ticket.generation, wish.object_id
        )

    async def _ticket(self, shard_bytes: int) -> Ticket:
        """Choose stores, and have the coordinator know of them; asked again for others, it remembers all."""
        wish = self._wish
        layout, self._stores = await self._room.place(wish, shard_bytes, self._held, self._failed)
        self._touched |= {store.uuid: store for store in self._stores.values()}
        intent = Intent(
            write_id=self._write_id,
            kind="put",
            name=wish.name,
            spec=wish.code.spec,
            k=wish.code.k,
            n=wish.code.n,
            block_bytes=wish.layout.block_bytes,
            tolerate=wish.tolerate,
            layout=tuple(layout.stores[index] for index in range(wish.code.n)),
            driver=self._writes.driver,
            if_absent=wish.if_absent,
            if_generation=wish.if_generation,
            generation=self._generation,
        )
        ticket = await self._writes.open(intent, wish.busy_s)
        self._generation = ticket.generation
        return ticket

    async def _elsewhere(self, shard_bytes: int) -> None:
        """Choose other stores for the shards that are missing."""
        events.WRITE_WITHOUT_STORES.tell(object=self._wish.name, stores=len(self._failed), error=self._failed)
        await self._ticket(shard_bytes)

    async def _answering(self, shard_bytes: int) -> None:
        """Begin with stores that answer now: what a stream has given can't be asked for again."""
        for _ in range(WRITE_ATTEMPTS):
            silent = await self._room.silent(self._stores.values())
            if not silent:
                return
            self._failed |= silent
            await self._elsewhere(shard_bytes)

    async def _store(self, wholes: list[Whole]) -> None:
        """Hand every shard that is missing to its store."""
        todo = [index for index in self._stores if index not in self._receipts]
        calls = (self._lines.write(self._stores[index], wholes[index]) for index in todo)
        self._take(todo, await asyncio.gather(*calls, return_exceptions=True))

    async def _rebuild(self, header: Header, written: Written) -> None:
        """Make every shard that is missing out of those that are there."""
        todo = [index for index in self._stores if index not in self._receipts]
        sources = {index: self._stores[index] for index in self._receipts}
        survivors = await self._room.survivors()
        regions = {uuid: self._room.region(uuid) for uuid in self._touched}

        async def make(index: int) -> SealReceipt:
            return await self._lines.fenced(
                lambda fence: rebuild_shard(
                    self._backend,
                    header,
                    written.size,
                    written.sha256,
                    index,
                    sources,
                    self._stores[index],
                    fence,
                    survivors=survivors,
                    regions=regions,
                )
            )

        self._take(todo, await asyncio.gather(*map(make, todo), return_exceptions=True))

    def _take(self, indices: list[int], results: Sequence[SealReceipt | BaseException]) -> None:
        """Note which shards are sealed and which stores failed; any other error is raised."""
        for index, result in zip(indices, results, strict=True):
            if isinstance(result, SealReceipt):
                self._receipts[index] = result
            elif isinstance(result, STORE_ERRORS) and not isinstance(result, WRITE_ENDS):
                self._failed[self._stores[index].uuid] = str(result)
            else:
                raise result

    async def _seal(self, store: StoreRef, index: int, size: int, stripes: int, sha256: bytes) -> SealReceipt:
        arguments = self._write_id, index, size, stripes, sha256
        return await self._lines.call(store, SEAL_SECONDS, PlaceStore.seal, *arguments)

    async def _finish(self, header: Header, size: int, sha256: bytes) -> Receipt:
        if not self._kept():
            raise StoresLost(self._failed)
        reach("put.sealed")
        wish, held = self._wish, self._held
        now_ms = self._backend.now_ms()
        durable = all(receipt.durability == "fsync" for receipt in self._receipts.values())
        record = Record(
            kind="put",
            name=wish.name,
            generation=header.generation,
            write_id=self._write_id,
            size=size,
            sha256=sha256,
            spec=header.spec,
            k=header.k,
            n=header.n,
            block_bytes=header.block_bytes,
            tolerate=wish.tolerate,
            created_ms=now_ms,
            durability="fsync" if durable else "none",
        )
        refs = {uuid: self._touched[uuid] for uuid in held.values()}
        await self._writes.sure(self._write_id)
        await spread(self._lines, record, refs, "put")
        self._recorded = True
        reach("put.recorded")
        layout = tuple(held.get(index, "") for index in range(header.n))
        await self._writes.commit(Commit(self._write_id, size, sha256, layout, now_ms, record.durability))
        reach("put.committed")
        if not durable and wish.durability == "none":
            events.PUT_NOT_DURABLE.tell(object=wish.name)
        return Receipt(
            wish.name,
            header.generation,
            size,
            header.spec,
            len(held),
            survivable(wish.code, held),
            record.durability,
        )

    async def _abort(self) -> None:
        """Give the write up: first nothing can commit it any more, then the stores drop what they have.

        Not one whose records are durable: it is carried on by whoever looks after the system.
        """
        if self._recorded:
            self._writes.leave(self._write_id)  # it may be committed already, or will be
            return
        if not await self._writes.abort(self._write_id):
            return

        async def drop(store: StoreRef) -> None:
            await self._lines.call(store, STORE_INFO_SECONDS, PlaceStore.drop, [(self._write_id, None)])

        await asyncio.gather(*map(drop, self._touched.values()), return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of telling stores of a record."""

    confirmed: frozenset[str]
    failed: dict[str, str]
    """Why, by UUID."""


async def tell(lines: Lines, record: Record, stores: Mapping[str, StoreRef], operation: str) -> Told:
    """Have a record on stores, by UUID, as far as they take it."""
    packed = record.pack()
    failed: dict[str, str] = {}
    confirmed: set[str] = set()

    async def one(uuid: str) -> None:
        try:
            await lines.record(stores[uuid], packed)
        except WRITE_ENDS:
            raise
        except STORE_ERRORS as error:
            failed[uuid] = str(error)
            return
        confirmed.add(uuid)
        if len(confirmed) == 1:
            reach(f"{operation}.one_record")

    telling = [asyncio.ensure_future(one(uuid)) for uuid in sorted(stores)]
    try:
        await asyncio.gather(*telling)
    except BaseException:
        for task in telling:
            task.cancel()
        raise
    return Told(frozenset(confirmed), failed)


async def spread(lines: Lines, record: Record, stores: Mapping[str, StoreRef], operation: str) -> None:
    """Have a record on as many stores as its promise needs, and tell all of them.

    Parameters
    ----------
    stores
        By UUID.

    Raises
    ------
    StoresLost
        Too few of them confirmed; some may have it.
    NotEnoughPlaces
        There are too few.
    """
    told = await tell(lines, record, stores, operation)
    if len(told.confirmed) > record.tolerate:
        return
    if not told.failed:
        reason = (
            f"a record of {record.name!r} is to bear the loss of {record.tolerate}, and no more of its stores are known"
        )
        raise NotEnoughPlaces(len(told.confirmed), record.tolerate + 1, reason)
    raise StoresLost(told.failed)
