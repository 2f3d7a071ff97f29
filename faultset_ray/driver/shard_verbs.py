"""The driver's verbs for shards that no catalog knows, asynchronous and not."""

from __future__ import annotations

from faultset_ray.config import Config
from faultset_ray.driver.loop import Loop
from faultset_ray.driver.shards import Shards, bind
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.objects.shardset import ShardSet
from faultset_ray.objects.sink import Out
from faultset_ray.objects.source import Data
from faultset_ray.objects.store_values import StoreInfo
from faultset_ray.telemetry import tracing


class AsyncShardVerbs:
    """The part of an :class:`~faultset_ray.driver.asynchronous.AsyncDriver` that encodes and decodes."""

    config: Config
    system: str
    _shards: Shards
    _stores: StoreDirectory

    async def encode(self, data: Data, code: str | None = None, *, stripe_bytes: int | None = None) -> ShardSet:
        """Encode an object over the cluster; the shards lie on distinct places, where there are as many.

        Parameters
        ----------
        data
            Bytes, an array, or the path of a file (str or PathLike).
        code : str, optional
            Such as ``"rs:4+2"``; ``codes.encode`` of the config by default, which is ``rs:10+4``.
        stripe_bytes : int, optional
            Data bytes of one stripe, at most 64 MiB; 16 MiB, or what fills 32 MiB of shards, by default.

        Returns
        -------
        ShardSet
            Where the shards are and how many losses they survive.

        Raises
        ------
        InvalidCodeSpec, InputError, LimitExceeded
        NotEnoughPlaces
            There is no store.
        StoresLost
            Stores failed under every attempt; nothing is left behind.
        """
        by = self.config.codes
        stripe_bytes = by.stripe_bytes if stripe_bytes is None else stripe_bytes
        code = by.encode if code is None else code
        with tracing.verb("encode", self.system, code=code):
            return bind(await self._shards.encode(data, code, stripe_bytes), self._shards.free)

    async def decode(self, shards: ShardSet, out: Out | None = None) -> bytes | None:
        """Bring an object back from whichever of its shards are left.

        Parameters
        ----------
        shards
            From :meth:`encode` of a driver of the same system.
        out
            A path (all or nothing), a writable buffer of the object's size, or None for bytes.

        Raises
        ------
        NotEnoughShards
            With the reason for each shard that can't be used.
        DigestMismatch
            The bytes are not those that were encoded.
        """
        with tracing.verb("decode", self.system):
            return await self._shards.decode(shards, out)

    async def free(self, shards: ShardSet) -> None:
        """Remove an object's shards; those on stores that don't answer are left, with a warning."""
        with tracing.verb("free", self.system):
            await self._shards.free(shards)

    async def stores(self) -> list[StoreInfo]:
        """The stores that answer; missing ones are started."""
        with tracing.verb("stores", self.system):
            return await self._stores.stores()


class ShardVerbs:
    """The same of a :class:`~faultset_ray.driver.sync.Driver`."""

    _core: AsyncShardVerbs
    _loop: Loop

    def encode(self, data: Data, code: str | None = None, *, stripe_bytes: int | None = None) -> ShardSet:
        """Encode an object over the cluster."""
        return bind(self._loop.run(self._core.encode(data, code, stripe_bytes=stripe_bytes)), self.free)

    def decode(self, shards: ShardSet, out: Out | None = None) -> bytes | None:
        """Bring an object back from whichever of its shards are left."""
        return self._loop.run(self._core.decode(shards, out))

    def free(self, shards: ShardSet) -> None:
        """Remove an object's shards."""
        self._loop.run(self._core.free(shards))

    def stores(self) -> list[StoreInfo]:
        """The stores that answer; missing ones are started."""
        return self._loop.run(self._core.stores())
