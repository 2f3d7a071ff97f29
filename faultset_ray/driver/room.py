"""Where objects can go and where they are: the stores of a system, as this driver and its coordinator know them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Literal

from faultset_ray.backend.protocol import Backend
from faultset_ray.codes.base import Code
from faultset_ray.coordinator.objects import StoreRow
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.places import Places
from faultset_ray.driver.recent import Recent
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.errors import CatalogLost, ClusterError, NotEnoughPlaces
from faultset_ray.limits import PLACES_SECONDS, SILENT_MAX, STORES_START_PAUSE_SECONDS, STORES_START_SECONDS
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.lines import Lines
from faultset_ray.objects.placement import Layout, Trusted, place_object, seconds_away
from faultset_ray.objects.sites import Site
from faultset_ray.shards.layout import StripeLayout
from faultset_ray.telemetry import events

Durability = Literal["fsync", "none"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants stored, but for the bytes."""

    name: str
    object_id: bytes
    code: Code
    tolerate: int
    layout: StripeLayout
    if_absent: bool
    if_generation: int | None
    durability: Durability | None
    """``"fsync"`` insists on it."""
    busy_s: float
    """How long it waits for other writes of the name."""


class Room:
    """Stores to write to and to read from."""

    def __init__(
        self,
        backend: Backend,
        authority: Authority,
        places: Places,
        stores: StoreDirectory,
        lines: Lines,
        trips: Callable[[], Mapping[str, float]],
    ) -> None:
        self._backend = backend
        self._authority = authority
        self._places = places
        self._stores = stores
        self._lines = lines
        self._trips = trips
        """The ways from this driver that it measured, in seconds there and back, by place."""
        self._survivors: Recent[tuple[Trusted | None, dict[str, float]]] = Recent(backend, self._look, PLACES_SECONDS)
        self._rows: dict[str, StoreRow] = {}
        """What the coordinator knows of each store."""
        self._looks = 0
        """Of the directory of stores, when the coordinator was last told."""
        self._least = SILENT_MAX
        """Enough stores remember that writes tolerate as few losses."""

    async def survivors(self) -> Trusted | None:
        """The answer about the places, as it was a second ago at most."""
        return (await self._survivors.get())[0]

    async def avoid(self) -> frozenset[str]:
        """Places where no task is to run."""
        return await self._places.lost(await self._places.survivors())

    async def ready(self) -> list[Site]:
        """The stores of this catalog that answer; each has seen the fence, and the coordinator has been told of it.

        Raises
        ------
        CatalogLost
            They belong to another one.
        """
        fence = self._lines.fence or await self._lines.renewed(None)
        if self._stores.stale:
            fence = await self._lines.renewed(fence)
        if self._stores.stale or self._stores.fence != fence:
            self._stores.stale = False
            self._stores.fence = fence
            self._stores.doubt()
        infos = await self._stores.recent()
        if self._looks != self._stores.looks:
            seen = [*infos, *self._stores.foreign]
            self._rows = await self._authority.ask(Coordinator.stores_seen, seen)
            self._looks = self._stores.looks
        return [Site.of(info, draining=self._state(info.uuid) != "active") for info in infos]

    async def place(
        self, wish: Wish, shard_bytes: int, held: Mapping[int, str], without: Mapping[str, str]
    ) -> tuple[Layout, dict[int, StoreRef]]:
        """Stores for all shards of an object.

        Parameters
        ----------
        shard_bytes
            Of a shard's file.
        held
            Stores of shards that are there, and stay.
        without
            Stores that failed: chosen only if they answer again, and the others don't suffice.

        Raises
        ------
        NotEnoughPlaces
            The promise can't be kept. Stores that are starting are waited for first, for some seconds.
        """
        until_s = self._backend.uptime_s() + STORES_START_SECONDS
        while True:
            try:
                return await self._place(wish, shard_bytes, held, without)
            except NotEnoughPlaces:
                if without:
                    without = {}
                    continue
                if not self._stores.missing or self._backend.uptime_s() >= until_s:
                    raise
            await self._backend.sleep(STORES_START_PAUSE_SECONDS)
            self._stores.doubt()

    async def _place(
        self, wish: Wish, shard_bytes: int, held: Mapping[int, str], without: Mapping[str, str]
    ) -> tuple[Layout, dict[int, StoreRef]]:
        await self._bear(wish.tolerate)
        if without:
            self._stores.doubt()
        sites = {site.store: site for site in await self.ready() if site.store not in without}
        for store in set(held.values()) - sites.keys():
            sites[store] = Site(store, self.place_of(store), self.region(store), 1, 0, draining=True)
        fleeting = {store for store in sites if wish.durability == "fsync" and self._is_fleeting(store)}
        survivors = await self.survivors()
        try:
            layout = place_object(
                wish.object_id,
                wish.code,
                [site for store, site in sites.items() if store not in fleeting],
                survivors,
                tolerate=wish.tolerate,
                shard_bytes=shard_bytes,
                taken=held,
            )
        except NotEnoughPlaces as error:
            if not fleeting:
                raise
            reason = (
                f'{error.reason}; {len(fleeting)} stores more have durability "none": set FAULTSET_STORE_DIR at their '
                'places, or ask for durability="none"'
            )
            raise NotEnoughPlaces(error.have, error.need, reason) from error
        refs = await self._stores.refs(layout.stores.values())
        return layout, {index: refs[store] for index, store in sorted(layout.stores.items())}

    async def silent(self, stores: Iterable[StoreRef]) -> dict[str, str]:
        """Which of these stores don't answer now, by UUID, and why."""
        return await self._stores.silent(stores)

    async def find(self, entry: Entry) -> tuple[dict[int, StoreRef], dict[int, float]]:
        """The stores of an object's shards that are known, by index; and how many seconds away from here each is.

        Infinite where its place does not survive.
        """
        refs = await self._stores.refs(entry.layout)
        found = {index: refs[store] for index, store in enumerate(entry.layout) if store in refs}
        survivors, away = await self._survivors.get()
        unknown = 0.0 if survivors is None else inf
        return found, {index: away.get(ref.place, unknown) for index, ref in found.items()}

    def place_of(self, store: str) -> str:
        """The place where a store was last seen; empty if it never was."""
        info = self._stores.info(store)
        row = self._rows.get(store)
        return info.place if info is not None else "" if row is None else row.place

    def region(self, store: str) -> str:
        """The region where a store was last seen; its own if it never was."""
        info = self._stores.info(store)
        row = self._rows.get(store)
        return info.region if info is not None else store if row is None else row.region

    def path(self, store: str) -> str:
        """The directory of a store; empty if it was never seen."""
        info = self._stores.info(store)
        row = self._rows.get(store)
        return info.path if info is not None else "" if row is None else row.path

    async def learn(self, entry: Entry) -> None:
        """Know all stores by the time that the coordinator is away, those that don't answer too."""
        if not self._rows or not self._rows.keys() >= {*entry.layout} - {""}:
            try:
                await self.ready()
            except CatalogLost:
                raise
            except ClusterError as error:
                events.STORES_ASKED_LATER.tell(error=error)

    async def everywhere(self) -> dict[str, StoreRef | None]:
        """Every store that may hold something of this catalog, by UUID; None for one of which is not known where it is.

        None at all before the coordinator has told which there are.
        """
        if not self._rows:
            return {}
        with suppress(ClusterError):
            await self._stores.look()
        known = self._stores.known()
        fresh = {uuid: ref for uuid, ref in known.items() if uuid not in self._rows}
        return fresh | {uuid: known.get(uuid) for uuid in self._active()}

    async def close(self) -> None:
        """Give up what is asked for."""
        await self._survivors.close()

    async def _look(self) -> tuple[Trusted | None, dict[str, float]]:
        """The answer about the places, and how far from here those are that survive."""
        survivors = await self._places.survivors()
        away = {} if survivors is None else seconds_away(survivors, self._backend.here, self._trips())
        return survivors, away

    async def _bear(self, tolerate: int) -> None:
        """Have stores remember that a write tolerates as few losses, for readers while the coordinator is away.

        Needed once in the life of a system for each such number.
        """
        if tolerate >= self._least:
            return
        self._lines.fence, remembered = await self._authority.ask(Coordinator.tolerate, tolerate)
        if not remembered:
            self._stores.doubt()
            await self.ready()
            told = sum(info.least <= tolerate for info in await self._stores.recent())
            need = min(SILENT_MAX + 1, len(self._active()))
            if told < need:
                raise NotEnoughPlaces(
                    told, need, f"so many stores are to remember first that writes tolerate {tolerate}"
                )
            await self._authority.ask(Coordinator.tolerate, tolerate, remembered=True)
            events.TOLERANCE_LOWERED.tell(
                tolerate=tolerate,
                reason=f"while the coordinator is away, no object is read with more than {tolerate} stores silent",
            )
        self._least = tolerate

    def _is_fleeting(self, uuid: str) -> bool:
        info = self._stores.info(uuid)
        return info is not None and info.durability == "none"

    def _active(self) -> list[str]:
        """The stores that count: what one that returns has of before is not the newest of anything."""
        return [uuid for uuid, row in self._rows.items() if row.state not in {"retired", "returning"}]

    def _state(self, uuid: str) -> str:
        row = self._rows.get(uuid)
        return "active" if row is None else row.state
