"""The stores of a system as one driver sees them: started where they are meant to be, and found by their UUID."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from faultset_ray.backend.protocol import LABEL_STORE, Addr, At, Backend, Place
from faultset_ray.driver.systems import is_private
from faultset_ray.errors import ClusterError, PlaceUnreachable
from faultset_ray.limits import STORE_INFO_SECONDS, STORES_SECONDS
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.placement import Trusted, trusted
from faultset_ray.objects.store_values import StoreInfo

_LOG = logging.getLogger(__name__)


class StoreDirectory:
    """Where the stores are. One that was lost is found again under its UUID, perhaps at another place.

    Parameters
    ----------
    backend
    system
        Whose stores they are.
    """

    def __init__(self, backend: Backend, system: str) -> None:
        self._backend = backend
        self._system = system
        self._said: set[str] = set()
        self._infos: dict[str, StoreInfo] = {}
        """What was last told of each store, by UUID; it may be gone since."""
        self._draining: frozenset[str] = frozenset()
        """Places that are about to leave."""
        self.bars: Callable[[str], Awaitable[bool]] | None = None
        """Says whether no store is to be started at a place, since the one there was retired."""
        self._looked_ms: int | None = None
        self._looking: asyncio.Task[list[StoreInfo]] | None = None

    async def stores(self, survivors: Trusted | None = None) -> list[StoreInfo]:
        """The stores that answer now, one on each place meant for one; those not there yet are started.

        At places that are about to leave none is started, and none of these is among what is returned.

        Parameters
        ----------
        survivors
            Only places that survive are asked, where any does: nobody waits for one that hangs.
        """
        return [info for info in await self._all(survivors) if not self.is_draining(info)]

    def is_draining(self, info: StoreInfo) -> bool:
        """Whether the store's place is about to leave."""
        return info.place in self._draining

    async def _all(self, survivors: Trusted | None) -> list[StoreInfo]:
        places = trusted(await self._places(), survivors, lambda place: place.id)
        results = await asyncio.gather(*map(self._store, places), return_exceptions=True)
        found = []
        for place, result in zip(places, results, strict=True):
            if isinstance(result, StoreInfo):
                found.append(result)
            elif result is None:
                continue
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
        self._infos |= {info.uuid: info for info in found}
        return found

    async def recent(self, survivors: Trusted | None = None) -> list[StoreInfo]:
        """As :meth:`stores`, as they were some seconds ago at most; asked once, however many wait for it."""
        now_ms = self._backend.now_ms()
        if self._looked_ms is None or now_ms - self._looked_ms > 1000 * STORES_SECONDS:
            await self.look(survivors)
        return [info for info in self._infos.values() if not self.is_draining(info)]

    async def look(self, survivors: Trusted | None = None) -> list[StoreInfo]:
        """Every store that answers, also those about to leave; who asks while a look is under way waits for that."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look(survivors))
        return await asyncio.shield(self._looking)

    async def refs(self, uuids: Iterable[str]) -> dict[str, StoreRef]:
        """Where stores are, of those that are known; looks for the others once."""
        wanted = set(uuids) - {""}
        if not wanted <= self._infos.keys():
            await self.recent()
        return {uuid: ref_of(self._infos[uuid]) for uuid in wanted if uuid in self._infos}

    def info(self, uuid: str) -> StoreInfo | None:
        """What was last told of a store."""
        return self._infos.get(uuid)

    def doubt(self) -> None:
        """A store failed: look again before the next write."""
        self._looked_ms = None

    async def stop(self) -> None:
        """End every store of the system."""
        for place in await self._backend.places():
            await self._backend.stop(store_addr(place.id))

    async def close(self) -> None:
        """Give up a look under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    # -- Inside

    async def _look(self, survivors: Trusted | None) -> list[StoreInfo]:
        found = await self._all(survivors)
        self._infos = {info.uuid: info for info in found}
        self._looked_ms = self._backend.now_ms()
        return found

    async def _store(self, place: Place) -> StoreInfo | None:
        """What the place's store tells of itself; None where there is none and none is to be."""
        net, addr = self._backend.within(STORE_INFO_SECONDS), store_addr(place.id)
        try:
            return await net.call(addr, PlaceStore.info)  # a store that hangs is given up here, in time
        except PlaceUnreachable:
            if place.draining or (self.bars is not None and await self.bars(place.id)):
                return None
            args = (place.id, place.region, self._system, self._backend.token(16), is_private(self._system))
            await self._backend.spawn(PlaceStore, addr.name, *args, at=At(place=place.id))
            return await net.call(addr, PlaceStore.info)

    async def _places(self) -> Sequence[Place]:
        places = await self._backend.places()
        self._draining = frozenset(place.id for place in places if place.draining)
        labelled = [place for place in places if place.labels.get(LABEL_STORE) == "true"]
        if not labelled:
            self._say_once(f"no place carries the label {LABEL_STORE}=true: all {len(places)} may hold a store")
        return labelled or places

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _LOG.warning(text)


def servant_of(place: str) -> str:
    """The name of the servant that serves the store of a place."""
    return f"store/{place}"


def store_addr(place: str) -> Addr[PlaceStore]:
    """Where to call the store of a place."""
    return Addr(servant_of(place))


def ref_of(info: StoreInfo) -> StoreRef:
    """A store as tasks see it."""
    return StoreRef(servant_of(info.place), info.uuid, info.place)


def refs_of(infos: Iterable[StoreInfo]) -> Mapping[str, StoreRef]:
    """Stores as tasks see them, by UUID."""
    return {info.uuid: ref_of(info) for info in infos}
