"""The stores of a system as one driver sees them: started where they are meant to be, and found by their UUID."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from faultset_ray.backend.protocol import LABEL_STORE, Addr, At, Backend, Place
from faultset_ray.driver.recent import Recent
from faultset_ray.driver.system_names import is_private
from faultset_ray.errors import BackendClosed, ClusterError, PlaceUnreachable, StaleEpoch
from faultset_ray.limits import STORE_INFO_SECONDS, STORES_SECONDS
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Fence
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.placement import Trusted, trusted
from faultset_ray.objects.store_values import StoreInfo
from faultset_ray.telemetry import events
from faultset_ray.telemetry.event import Event


async def _unknown() -> None:
    """No answer about the places: all are as good."""


class StoreDirectory:
    """Where the stores are. One that was lost is found again under its UUID, perhaps at another place.

    Parameters
    ----------
    backend
    system
        Whose stores they are.
    survivors
        The answer about the places: those that don't survive are not waited for.
    """

    def __init__(
        self, backend: Backend, system: str, survivors: Callable[[], Awaitable[Trusted | None]] = _unknown
    ) -> None:
        self._backend = backend
        self._system = system
        self._survivors = survivors
        self._said: set[str] = set()
        self._infos: dict[str, StoreInfo] = {}
        """What was last told of each store, by UUID; it may be gone since."""
        self._draining: frozenset[str] = frozenset()
        """Places that are about to leave."""
        self.bars: Callable[[str], Awaitable[bool]] | None = None
        """Says whether no store is to be started at a place, since the one there was retired."""
        self._looks: Recent[list[StoreInfo]] = Recent(backend, self._look, STORES_SECONDS)
        self.fence: Fence | None = None
        """Shown to every store that is looked at, once it is known."""
        self.foreign: list[StoreInfo] = []
        """Stores of another catalog, that are left alone."""
        self.looks = 0
        """How often all stores were looked at."""
        self.stale = False
        """Whether a store has seen a later fence."""
        self.missing = 0
        """Places that were meant to have a store when it was last looked, and whose store did not answer: it may be
        starting."""

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

    async def recent(self) -> list[StoreInfo]:
        """As :meth:`stores` of the places that survive, as they were some seconds ago at most."""
        return [info for info in await self._looks.get() if not self.is_draining(info)]

    async def look(self) -> list[StoreInfo]:
        """Every store that answers now, also those about to leave; one look at a time, whoever waits for it."""
        return await self._looks.anew()

    async def everywhere(self) -> list[StoreInfo]:
        """Every store that answers now, of all places: also of those that don't survive, or not yet again."""
        return await self._all(None)

    async def refs(self, uuids: Iterable[str]) -> dict[str, StoreRef]:
        """Where stores are, of those that are known, whether or not they answer; looks for the others once."""
        wanted = set(uuids) - {""}
        if not wanted <= self._infos.keys():
            await self._looks.get()
        return {uuid: ref_of(self._infos[uuid]) for uuid in sorted(wanted) if uuid in self._infos}

    async def silent(self, stores: Iterable[StoreRef]) -> dict[str, str]:
        """Which of these stores don't answer now, by UUID, and why."""
        asked = list(stores)
        answers = await asyncio.gather(*(self._asked(store.addr) for store in asked), return_exceptions=True)
        silent: dict[str, str] = {}
        for store, answer in zip(asked, answers, strict=True):
            if isinstance(answer, StoreInfo):
                if answer.uuid != store.uuid:
                    silent[store.uuid] = f"{store.place} has store {answer.uuid} now"
            elif isinstance(answer, ClusterError) and not isinstance(answer, BackendClosed):
                silent[store.uuid] = str(answer)
            else:
                raise answer
        return silent

    def info(self, uuid: str) -> StoreInfo | None:
        """What was last told of a store."""
        return self._infos.get(uuid)

    def known(self) -> dict[str, StoreRef]:
        """Every store that was ever seen, by its UUID."""
        return {uuid: ref_of(info) for uuid, info in self._infos.items()}

    def doubt(self) -> None:
        """A store failed: look again before the next write."""
        self._looks.doubt()

    async def stop(self) -> None:
        """End every store of the system."""
        for place in await self._backend.places():
            await self._backend.stop(store_addr(place.id))

    async def close(self) -> None:
        """Give up a look under way."""
        await self._looks.close()

    # -- Inside

    async def _look(self) -> list[StoreInfo]:
        return await self._all(await self._survivors())

    async def _all(self, survivors: Trusted | None) -> list[StoreInfo]:
        places = trusted(await self._places(), survivors, lambda place: place.id)
        found, self.missing = await self._answers(self._store(place) for place in places)
        if self.fence is not None:
            found = await self._admitted(found, self.fence)
        self.looks += 1
        fleeting = [store.place for store in found if store.durability == "none"]
        if fleeting:
            self._say_once(
                events.STORES_FLEETING,
                f'{len(fleeting)} of {len(found)} stores have durability "none": their shards are gone with their '
                "processes; to keep them, name a system, and set FAULTSET_STORE_DIR at the places",
            )
        moved = {info.place for info in found}
        self._infos = {uuid: info for uuid, info in self._infos.items() if info.place not in moved}
        self._infos |= {info.uuid: info for info in found}
        return found

    async def _admitted(self, found: Sequence[StoreInfo], fence: Fence) -> list[StoreInfo]:
        """The stores of this fence's catalog; those that have not seen it are shown it.

        But no fresh one while others are another catalog's: that one may have to be made again, with it.
        """
        ours = {"", fence.catalog.hex()}
        self.foreign = [info for info in found if info.catalog not in ours]
        found = [info for info in found if info.catalog in ours and (info.catalog or not self.foreign)]
        self.stale = self.stale or bool(self.foreign) or any(info.epoch > fence.epoch for info in found)
        behind = [info for info in found if not info.catalog or info.epoch < fence.epoch or info.least > fence.least]
        net = self._backend.within(STORE_INFO_SECONDS)
        shown, _ = await self._answers(net.call(store_addr(info.place), PlaceStore.admit, fence) for info in behind)
        return [*(info for info in found if info not in behind), *shown]

    async def _answers(self, asking: Iterable[Awaitable[StoreInfo | None]]) -> tuple[list[StoreInfo], int]:
        """What stores tell of themselves, and how many fail."""
        found, failed = [], 0
        for result in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(result, StoreInfo):
                found.append(result)
            elif isinstance(result, StaleEpoch):
                self.stale = True
            elif isinstance(result, BackendClosed):
                raise result
            elif isinstance(result, ClusterError):
                events.STORE_SILENT.tell(error=result)
                failed += 1
            elif isinstance(result, BaseException):
                raise result
        return found, failed

    async def _store(self, place: Place) -> StoreInfo | None:
        """What the place's store tells of itself; None where there is none and none is to be."""
        addr = store_addr(place.id)
        try:
            return await self._asked(addr)  # a store that hangs is given up here, in time
        except PlaceUnreachable:
            if place.draining or (self.bars is not None and await self.bars(place.id)):
                return None
            args = (place.id, place.region, self._system, self._backend.token(16), is_private(self._system))
            await self._backend.spawn(PlaceStore, addr.name, *args, at=At(place=place.id))
            return await self._asked(addr)

    async def _asked(self, addr: Addr[PlaceStore]) -> StoreInfo:
        return await self._backend.within(STORE_INFO_SECONDS).call(addr, PlaceStore.info)

    async def _places(self) -> Sequence[Place]:
        places = await self._backend.places()
        self._draining = frozenset(place.id for place in places if place.draining)
        labelled = [place for place in places if place.labels.get(LABEL_STORE) == "true"]
        if not labelled:
            self._say_once(
                events.STORES_UNLABELLED,
                f"no place carries the label {LABEL_STORE}=true: all {len(places)} may hold a store",
            )
        return labelled or places

    def _say_once(self, event: Event, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            event.tell(reason=reason)


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
