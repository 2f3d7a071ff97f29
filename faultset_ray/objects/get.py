"""One generation of an object, read straight from its stores: the nearest first, and no waiting for the late."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.backend.protocol import Backend, Net
from faultset_ray.codes.base import Code
from faultset_ray.errors import CorruptShard, DigestMismatch, InputError, NotEnoughShards
from faultset_ray.limits import INFLIGHT_BYTES_MAX, KIB
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.gather import Gathering
from faultset_ray.objects.hedge import race_rows
from faultset_ray.objects.lines import Lines
from faultset_ray.objects.pace import far_shards
from faultset_ray.objects.ranges import read_span, spans
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_values import Block
from faultset_ray.shards.memory import Whole

Bytes = NDArray[np.uint8]
Again = Callable[["Reading", NotEnoughShards], Awaitable[bool]]
"""Looks for the shards anew, gives them to the reading, and tells whether another try is worth it."""

_INLINE_BYTES: Final = 256 * KIB
"""What is hashed or copied at once, since a thread would take longer."""


class Reading:
    """Reads of one generation of an object, as many as one likes.

    Parameters
    ----------
    backend, lines
    entry
        The object.
    stores
        Where each shard is, by index; one without a store counts as missing.
    away_s
        How far each shard is, in seconds there and back; infinite where its place does not survive.
    again
        Asked when too few shards could be read.
    account
        Told when shards were found unusable.

    Attributes
    ----------
    unusable : dict of int to str
        Shards that could not be used, with the last reason.
    """

    def __init__(
        self,
        backend: Backend,
        lines: Lines,
        entry: Entry,
        stores: Mapping[int, StoreRef],
        away_s: Mapping[int, float],
        again: Again,
        account: Callable[[Reading], None],
    ) -> None:
        self._backend = backend
        self._lines = lines
        self._again = again
        self._account = account
        self._header = entry.record.header
        self._looking = asyncio.Lock()
        self.entry = entry
        self.unusable: dict[int, str] = {}
        self.late: set[int] = set()
        self._looks = 0
        self.found(entry, stores, away_s)

    @property
    def backend(self) -> Net:
        """Where it reads."""
        return self._backend

    @property
    def record(self) -> Record:
        """What was written."""
        return self.entry.record

    def found(self, entry: Entry, stores: Mapping[int, StoreRef], away_s: Mapping[int, float]) -> None:
        """Read from here from now on."""
        self.entry = entry
        self.stores = stores
        self._away_s = away_s
        self._gone = {index: "missing" for index in range(self._header.n) if index not in stores}
        self._looks += 1

    async def read(self, start: int, stop: int) -> bytes:
        """Bytes ``[start, stop)`` of the object; of all of them, the SHA-256 is checked.

        Raises
        ------
        NotEnoughShards
            With the reason for every shard that can't be used.
        DigestMismatch
        """
        self._check_range(start, stop)
        whole = Whole(stop - start)
        async for _ in self.stream(start, stop, whole.append):
            pass
        return whole.finish()

    async def stream(
        self, start: int, stop: int, *each: Callable[[memoryview], object]
    ) -> AsyncGenerator[list[Bytes], None]:
        """The same in pieces, in order, a stripe's at a time; the last ones of a whole object only if all are right.

        Each of some functions is given each piece before that: all pieces of a stripe, from a thread of its own.
        """
        self._check_range(start, stop)
        size = self.record.size
        hasher = hashlib.sha256() if (start, stop) == (0, size) else None
        if hasher is not None:
            each = (*each, hasher.update)
        code = self._code()
        layout = self._header.layout
        todo = deque(spans(layout, size, start, stop))
        ahead: deque[asyncio.Task[list[Bytes]]] = deque()
        window = max(2, INFLIGHT_BYTES_MAX // layout.stripe_bytes)
        try:
            while todo or ahead:
                while todo and len(ahead) < window:
                    ahead.append(asyncio.ensure_future(self._span(code, *todo.popleft())))
                pieces = await ahead.popleft()
                await self._give(each, pieces)
                if hasher is not None and not ahead and not todo:
                    self._check(hasher.digest())
                yield pieces
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    # -- Inside

    async def _span(self, code: Code, stripe: int, low: int, high: int) -> list[Bytes]:
        looks = self._looks
        size = self.record.size
        try:
            return await read_span(self._backend, code, self._header, size, stripe, low, high, self._collect)
        except NotEnoughShards as error:
            async with self._looking:
                if self._looks == looks and not await self._again(self, error):
                    raise
        return await read_span(self._backend, code, self._header, size, stripe, low, high, self._collect)

    async def _collect(
        self, stripe: int, wanted: Sequence[int], first: int, granules: int, width: int
    ) -> Mapping[int, Bytes]:
        """Rows that determine the wanted ones; damage is one stripe's alone, who is gone need not be asked again."""
        stores, write_id = self.stores, self._header.write_id

        def fetch(index: int) -> asyncio.Future[Block]:
            return self._lines.read(stores[index], (write_id, index, stripe, first, granules), width)

        unusable = dict(self._gone)
        code, pace, cost = self._code(), self._lines.pace, self._away_s
        there = {index: store.uuid for index, store in stores.items() if index not in unusable}
        far = far_shards(code, wanted, pace.waits(there, cost, width), cost, width)
        asking = Gathering(code, self._header, stripe, width, unusable, wanted, first, cost, far)
        try:
            rows, late = await race_rows(self._backend, asking, fetch, pace, width)
        except NotEnoughShards as error:
            what = f"{self.record.name!r}, {error.object_name}"
            raise NotEnoughShards(error.have, error.need, error.missing, what, error.unusable) from error
        finally:
            if unusable:
                self.unusable |= unusable
                self._account(self)
            if stores is self.stores:
                self._gone |= {
                    index: why for index, why in unusable.items() if not why.startswith(("corrupt", "wrong"))
                }
        self.late |= late
        done = {*rows, *late, *unusable}
        spared = {at: uuid for at, uuid in there.items() if at not in done and cost.get(at, inf) < inf}
        tried = pace.to_try(spared, width, self._backend.uptime_s())
        if tried is not None:
            self._lines.read(stores[tried], (write_id, tried, stripe, first, granules), width, tried=True)
        return rows

    def _code(self) -> Code:
        code = codes.get(self._header.spec)
        if (code.k, code.n) != (self._header.k, self._header.n):
            k, n = self._header.k, self._header.n
            raise CorruptShard(repr(self.record.name), f"it has {k} of {n} shards, its code {code.spec} does not")
        return code

    async def _give(self, each: Iterable[Callable[[memoryview], object]], pieces: Sequence[Bytes]) -> None:
        """Pieces to some functions, to all at the same time."""
        if sum(piece.size for piece in pieces) <= _INLINE_BYTES:
            for take in each:
                _all_to(take, pieces)
        else:
            await asyncio.gather(*(self._backend.compute(_all_to, take, pieces) for take in each))

    def _check_range(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.record.size:
            raise InputError(f"range is {start} to {stop}; {self.record.name!r} has {self.record.size:,} bytes")

    def _check(self, digest: bytes) -> None:
        if digest != self.record.sha256:
            raise DigestMismatch(repr(self.record.name), self.record.sha256.hex(), digest.hex())


def _all_to(take: Callable[[memoryview], object], pieces: Iterable[Bytes]) -> None:
    for piece in pieces:
        take(piece.data)
