"""A driver's calls to stores: small ones for the same store go together, and all carry the fence of now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from faultset_ray.backend.protocol import Backend
from faultset_ray.errors import ClusterError, StaleEpoch
from faultset_ray.limits import (
    READ_SECONDS,
    STORE_BATCH_BYTES,
    STORE_CALLS_MAX,
    STORE_LARGE_CALLS_MAX,
    STORE_SHARED_BYTES_MAX,
    WRITE_SECONDS,
)
from faultset_ray.objects.batch import Batcher
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Fence
from faultset_ray.objects.pace import Pace
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.store_values import Block, Read, SealReceipt, Whole

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class _Line:
    """What waits for one store."""

    reads: Batcher[Read, Block]
    large_reads: Batcher[Read, Block]
    writes: Batcher[Whole, SealReceipt]
    records: Batcher[bytes, None]


class Lines:
    """Calls of one driver to the stores of its system.

    Parameters
    ----------
    backend
    renew
        Gets the fence from the coordinator, where a store said that the one given is of old.
    """

    def __init__(self, backend: Backend, renew: Callable[[Fence | None], Awaitable[Fence]]) -> None:
        self._backend = backend
        self._renew = renew
        self._lines: dict[StoreRef, _Line] = {}
        self.fence: Fence | None = None
        """The newest that is known."""
        self.pace = Pace()
        self._renewing = asyncio.Lock()

    def read(self, store: StoreRef, read: Read, nbytes: int, *, tried: bool = False) -> asyncio.Future[Block]:
        """Begin to read a block, or granules of one, with its digests; ``nbytes`` are its length.

        What is only tried nobody waits for.
        """
        begun_s = self._backend.uptime_s()
        line = self._line(store)
        future = (line.reads if nbytes <= STORE_SHARED_BYTES_MAX else line.large_reads).add(read, nbytes)
        future.add_done_callback(partial(self._note, store.uuid, nbytes, begun_s, tried))
        return future

    async def write(self, store: StoreRef, shard: Whole) -> SealReceipt:
        """Store a whole shard, and seal it."""
        weight = len(shard.header) if shard.block is None else shard.block.nbytes
        return await self.fenced(lambda _: self._line(store).writes.add(shard, weight))

    async def record(self, store: StoreRef, packed: bytes) -> None:
        """Make a record durable."""
        await self.fenced(lambda _: self._line(store).records.add(packed))

    async def call(
        self, store: StoreRef, seconds: float, method: Callable[Concatenate[PlaceStore, P], R], *args: Any
    ) -> R:
        """Call a method whose last argument is the fence."""
        net = self._backend.within(seconds)
        found: R = await self.fenced(lambda fence: net.call(store.addr, method, *args, fence))  # type: ignore[call-arg, arg-type]
        return found

    async def fenced(self, call: Callable[[Fence], Awaitable[R]]) -> R:
        """Do something under the fence of now; and again, where that was the fence of old."""
        fence = self.fence or await self.renewed(None)
        try:
            return await call(fence)
        except StaleEpoch:
            return await call(await self.renewed(fence))

    async def renewed(self, stale: Fence | None) -> Fence:
        """The fence, asked for unless it is newer than ``stale`` already."""
        async with self._renewing:
            if self.fence is None or self.fence == stale:
                self.fence = await self._renew(stale)
            return self.fence

    async def close(self) -> None:
        """Give up what is under way."""
        batchers = [
            batcher
            for line in self._lines.values()
            for batcher in (line.reads, line.large_reads, line.writes, line.records)
        ]
        await asyncio.gather(*(batcher.close() for batcher in batchers))

    # -- Inside

    def _line(self, store: StoreRef) -> _Line:
        line = self._lines.get(store)
        if line is None:
            line = self._lines[store] = _Line(
                Batcher(partial(self._read, store), at_once=STORE_CALLS_MAX, weight=STORE_BATCH_BYTES),
                # few at once, so that stripes come one after another: one is hashed while the next is on its way
                Batcher(partial(self._read, store), at_once=STORE_LARGE_CALLS_MAX, items=1),
                Batcher(partial(self._write, store), at_once=2, weight=STORE_BATCH_BYTES),
                Batcher(partial(self._record, store), at_once=2),
            )
        return line

    async def _read(self, store: StoreRef, reads: list[Read]) -> Sequence[Block | BaseException]:
        found = await self._backend.within(READ_SECONDS).call(store.addr, PlaceStore.read_batch, reads)
        return found.split()

    async def _write(self, store: StoreRef, shards: list[Whole]) -> Sequence[SealReceipt | BaseException]:
        nbytes = sum(0 if shard.block is None else shard.block.nbytes for shard in shards)
        net = self._backend.within(WRITE_SECONDS + nbytes / 2**20)  # of a host that is gone, a small write soon knows
        return await net.call(store.addr, PlaceStore.write, shards, self._now())

    async def _record(self, store: StoreRef, records: list[bytes]) -> Sequence[BaseException | None]:
        return await self._backend.within(WRITE_SECONDS).call(store.addr, PlaceStore.record, records, self._now())

    def _now(self) -> Fence:
        assert self.fence is not None, "fenced() asked for it"
        return self.fence

    def _note(self, store: str, nbytes: int, begun_s: float, tried: bool, future: asyncio.Future[Block]) -> None:
        now_s = self._backend.uptime_s()
        answered = not future.cancelled() and not isinstance(future.exception(), ClusterError)
        self.pace.note(store, nbytes, now_s - begun_s, now_s, answered=answered, tried=tried)
