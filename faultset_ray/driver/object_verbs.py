"""The driver's verbs for objects, asynchronous and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from typing import Any

from faultset_ray.config import Config
from faultset_ray.driver.loop import Loop
from faultset_ray.driver.object_values import Deletion, ObjectInfo, ObjectStat, Receipt
from faultset_ray.driver.objects import Objects
from faultset_ray.driver.observations import check_seconds
from faultset_ray.driver.room import Durability
from faultset_ray.limits import BUSY_SECONDS
from faultset_ray.objects.gather import Bytes
from faultset_ray.objects.intake import SoFar
from faultset_ray.objects.opened import AsyncObjectFile, ObjectFile
from faultset_ray.telemetry import tracing


class AsyncObjectVerbs:
    """The part of an :class:`~faultset_ray.driver.asynchronous.AsyncDriver` that keeps objects by name."""

    config: Config
    system: str
    _objects: Objects

    async def put(
        self,
        name: str,
        data: Any,
        *,
        code: str | None = None,
        tolerate: int | None = None,
        if_absent: bool = False,
        if_generation: int | None = None,
        durability: Durability | None = None,
        stripe_bytes: int | None = None,
        busy_s: float | None = None,
        progress: SoFar | None = None,
    ) -> Receipt:
        """Store an object under a name, in place of the one that has it.

        When this returns, the object is durable: losing any ``tolerate`` stores loses nothing of it. When it raises,
        the object is wholly there or wholly absent: absent, unless the error is of the cluster and came in the last
        moment, after the stores had it and before the coordinator could say so.

        Parameters
        ----------
        name : str
            Any text of 1 to 1,024 bytes in UTF-8.
        data
            Bytes, an array, the path of a file (str or PathLike); a Ray ``ObjectRef`` of one of these; something with
            ``read`` or ``readinto``, which may be a coroutine function; or an iterable of bytes, asynchronous or not.
            What is read is never rewound, and of large data no more than some stripes are in memory.
        code : str, optional
            Such as ``"rs:10+4"``. ``codes.put`` of the config by default, which is ``rs:4+2``: six stores, any two of
            which may be lost, for half as many bytes more.
        tolerate : int, optional
            How many losses of stores, whichever they are, it is to bear; by default as many as the code does. With the
            config's code, ``codes.tolerate`` of the config.
        if_absent : bool
            Only if there is no object of that name.
        if_generation : int, optional
            Only in place of this generation.
        durability : str, optional
            ``"fsync"``: only on stores whose shards outlive their machines' power. ``"none"``: on any. By default
            ``stores.durability`` of the config; without that every shard is as durable as its store, with a warning
            where that is ``"none"``; the receipt tells.
        stripe_bytes : int, optional
            Data bytes of one stripe, at most 64 MiB. By default ``codes.stripe_bytes`` of the config; without that 16
            MiB, or what fills 32 MiB of shards.
        busy_s : float, optional
            For how long it waits for other writes of the name that it, or they, must not meet; 30 by default.
        progress : callable, optional
            Called on the driver's loop with the bytes that were read so far, and those there are; None where that is
            not known. The object is there when this returns, not before.

        Returns
        -------
        Receipt

        Raises
        ------
        NotEnoughPlaces
            The stores can't keep the promise; ask for less with ``tolerate`` or ``durability``.
        PreconditionFailed
            The condition does not hold; nothing was changed.
        WriteInProgress
            Writes of the name that this one, or they, must not meet went on for too long.
        StoresLost
            Too many stores failed meanwhile.
        CatalogLost
            The stores hold objects of a catalog that is gone.
        CoordinatorUnavailable
        InvalidObjectName, InvalidCodeSpec, InputError, LimitExceeded
        """
        codes, stores = self.config.codes, self.config.stores
        if code is None:
            code, tolerate = codes.put, codes.tolerate if tolerate is None else tolerate
        with tracing.verb("put", self.system, name, code=code) as span:
            receipt = await self._objects.put(
                name,
                data,
                code,
                tolerate,
                codes.stripe_bytes if stripe_bytes is None else stripe_bytes,
                if_absent=if_absent,
                if_generation=if_generation,
                durability=stores.durability if durability is None else durability,
                progress=progress,
                busy_s=_patience(busy_s),
            )
            span.note({"faultset.object.size": receipt.size, "faultset.object.generation": receipt.generation})
            return receipt

    async def get(self, name: str, range: tuple[int, int] | None = None) -> bytes:  # noqa: A002 - the issue's word
        """An object's bytes: of the newest generation, and of that one alone, whatever is written meanwhile.

        What this driver has put is seen by it at once. While the coordinator is away, the stores tell: with no more
        of them silent than the object tolerates to lose, what they tell of is the newest generation that was
        acknowledged, or a newer one that was on its way.

        Parameters
        ----------
        range : (int, int), optional
            ``(start, stop)``: only these bytes, of which no more granules are read than hold them.

        Raises
        ------
        ObjectNotFound
        NotEnoughShards
            With the reason for every shard that can't be used.
        DigestMismatch
            The bytes are not those that were put; none are returned.
        InputError
            The object has no such bytes.
        CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("get", self.system, name) as span:
            found = await self._objects.get(name, range)
            span.note({"faultset.bytes": len(found)})
            return found

    def get_stream(
        self,
        name: str,
        range: tuple[int, int] | None = None,  # noqa: A002 - the issue's word
        *,
        progress: SoFar | None = None,
    ) -> AsyncGenerator[Bytes, None]:
        """As :meth:`get`, in pieces: uint8[n], in order, not to be changed.

        Of a whole object the last ones come only if all are right. Memory is bounded by some stripes.

        Parameters
        ----------
        progress : callable, optional
            Called on the driver's loop with the bytes of all pieces that were taken, and those there are.
        """
        span = partial(tracing.verb, "get_stream", self.system, name)
        return tracing.streamed(span, self._objects.stream(name, range, progress))

    async def open(self, name: str) -> AsyncObjectFile:
        """An object to read and seek in; it stays the generation that it is now.

        Raises
        ------
        ObjectNotFound, CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("open", self.system, name):
            return AsyncObjectFile(await self._objects.open(name))

    async def stat(self, name: str) -> ObjectStat:
        """How an object is: size, generation, code, where its shards are, and what it bears now.

        Its stores are asked what they hold, and the coordinator, while it is there, what reads and scrubs found
        damaged; a shard's bytes are not read.

        Raises
        ------
        ObjectNotFound, CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("stat", self.system, name):
            return await self._objects.stat(name)

    async def list(
        self, prefix: str = "", *, deleted: bool = False, after: str = "", limit: int | None = None
    ) -> Sequence[ObjectInfo]:
        """The objects whose names begin so, in the order of their names' UTF-8 bytes.

        Parameters
        ----------
        deleted : bool
            Those in place that :meth:`undelete` would bring back.
        after : str
            Only those behind this name: the last of a page, for the next one.
        limit : int, optional
            At most so many.
        """
        with tracing.verb("list", self.system):
            return await self._objects.listed(prefix, deleted=deleted, after=after, limit=limit)

    async def delete(
        self,
        name: str,
        *,
        if_generation: int | None = None,
        grace_s: float | None = None,
        busy_s: float | None = None,
    ) -> Deletion:
        """Delete an object: it is out of sight at once, and gone for good when the period of grace is over.

        Parameters
        ----------
        if_generation : int, optional
            Only if it is of this generation.
        grace_s : float
            For how long :meth:`undelete` can bring it back; ``stores.delete_grace_s`` of the config by default, a day.
        busy_s : float, optional
            As for :meth:`put`.

        Raises
        ------
        ObjectNotFound, PreconditionFailed, WriteInProgress
        StoresLost
            Too few stores confirmed. It may be deleted all the same, in some minutes.
        CatalogLost, CoordinatorUnavailable
        """
        seconds = self.config.stores.delete_grace_s if grace_s is None else grace_s
        with tracing.verb("delete", self.system, name):
            return await self._objects.delete(name, if_generation, seconds, _patience(busy_s))

    async def undelete(self, name: str) -> Receipt:
        """Bring a deleted object back, as a new generation.

        Raises
        ------
        ObjectNotFound
            Nothing of that name can be brought back.
        PreconditionFailed
            There is an object of that name.
        WriteInProgress, StoresLost, CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("undelete", self.system, name):
            return await self._objects.undelete(name)


class ObjectVerbs:
    """The same of a :class:`~faultset_ray.driver.sync.Driver`."""

    _core: AsyncObjectVerbs
    _loop: Loop

    def put(
        self,
        name: str,
        data: Any,
        *,
        code: str | None = None,
        tolerate: int | None = None,
        if_absent: bool = False,
        if_generation: int | None = None,
        durability: Durability | None = None,
        stripe_bytes: int | None = None,
        busy_s: float | None = None,
        progress: SoFar | None = None,
    ) -> Receipt:
        """Store an object under a name, in place of the one that has it."""
        return self._loop.run(
            self._core.put(
                name,
                data,
                code=code,
                tolerate=tolerate,
                if_absent=if_absent,
                if_generation=if_generation,
                durability=durability,
                stripe_bytes=stripe_bytes,
                busy_s=busy_s,
                progress=progress,
            )
        )

    def get(self, name: str, range: tuple[int, int] | None = None) -> bytes:  # noqa: A002 - the issue's word
        """An object's bytes, or some of them."""
        return self._loop.run(self._core.get(name, range))

    def get_stream(
        self,
        name: str,
        range: tuple[int, int] | None = None,  # noqa: A002 - the issue's word
        *,
        progress: SoFar | None = None,
    ) -> Iterator[Bytes]:
        """An object's bytes in pieces, in order."""
        pieces = self._core.get_stream(name, range, progress=progress)
        try:
            while (piece := self._loop.run(_next(pieces))) is not None:
                yield piece
        finally:
            self._loop.run(_closed(pieces))

    def open(self, name: str) -> ObjectFile:
        """An object as a file, opened for reading; it stays the generation that it is now."""
        return ObjectFile(self._loop.run(self._core.open(name)), self._loop.run)

    def stat(self, name: str) -> ObjectStat:
        """How an object is: size, generation, code, where its shards are, and what it bears now."""
        return self._loop.run(self._core.stat(name))

    def list(
        self, prefix: str = "", *, deleted: bool = False, after: str = "", limit: int | None = None
    ) -> Sequence[ObjectInfo]:
        """The objects whose names begin so, in order; at most ``limit`` behind the name ``after``."""
        return self._loop.run(self._core.list(prefix, deleted=deleted, after=after, limit=limit))

    def delete(
        self,
        name: str,
        *,
        if_generation: int | None = None,
        grace_s: float | None = None,
        busy_s: float | None = None,
    ) -> Deletion:
        """Delete an object; until its period of grace is over, :meth:`undelete` brings it back."""
        return self._loop.run(self._core.delete(name, if_generation=if_generation, grace_s=grace_s, busy_s=busy_s))

    def undelete(self, name: str) -> Receipt:
        """Bring a deleted object back, as a new generation."""
        return self._loop.run(self._core.undelete(name))


def _patience(busy_s: float | None) -> float:
    """How long a write waits for others of its name."""
    given = check_seconds("busy_s", busy_s)
    return BUSY_SECONDS if given is None else given


async def _next(pieces: AsyncGenerator[Bytes, None]) -> Bytes | None:
    return await anext(pieces, None)


async def _closed(pieces: AsyncGenerator[Bytes, None]) -> None:
    await pieces.aclose()
