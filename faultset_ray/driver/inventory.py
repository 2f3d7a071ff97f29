"""The stores of a system at one moment, as whoever looks after its objects sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from faultset_ray.backend.protocol import Backend
from faultset_ray.config import Repair
from faultset_ray.coordinator.objects import StoreRow
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.stores import StoreDirectory, ref_of
from faultset_ray.errors import BackendClosed, ClusterError
from faultset_ray.limits import STORE_INFO_SECONDS
from faultset_ray.objects.entry import RetiredStores
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.sites import Site
from faultset_ray.objects.store_values import StoreInfo
from faultset_ray.telemetry import events


@dataclass(frozen=True, slots=True)
class Inventory:
    """Which stores there are, which of them answer, and which are given up."""

    rows: Mapping[str, StoreRow]
    """Every store that is not retired, by UUID."""
    here: Mapping[str, StoreInfo]
    """Those that answer."""
    leaving: frozenset[str]
    """Those that are to become empty: decommissioned, or their place is about to leave; and those that return."""
    away: frozenset[str]
    """Those that don't answer, for long enough not to be just starting."""
    gone: frozenset[str]
    """Of these, the ones that are repaired around."""
    retired: frozenset[str] = frozenset()

    def lost(self, *, urgent: bool) -> frozenset[str]:
        """The stores whose shards are made anew: for an object that bears no further loss, all that are away."""
        return self.retired | (self.away if urgent else self.gone)

    @property
    def sites(self) -> list[Site]:
        """What placement chooses from: what is away and not given up keeps its shards, and gets none."""
        found = [Site.of(info, draining=uuid in self.leaving) for uuid, info in self.here.items() if uuid in self.rows]
        for uuid, row in self.rows.items():
            if uuid not in self.here and uuid not in self.gone:
                found.append(Site(uuid, row.place, row.region, row.capacity_bytes, 0, away=True))
        return found


@dataclass(slots=True)
class Lookout:
    """Looks at the stores again and again, and remembers since when one is missed."""

    backend: Backend
    authority: Authority
    stores: StoreDirectory
    patience: Repair
    """When stores are away, and when they are given up."""
    retired: RetiredStores = field(default_factory=RetiredStores)
    """The stores that were let go of."""
    _missed_s: dict[str, float] = field(default_factory=dict)
    """By the uptime: what a wrong clock has written down of a store does not keep it from being given up."""
    _away: frozenset[str] = frozenset()
    """As they were told last."""
    _gone: frozenset[str] = frozenset()

    async def look(self) -> Inventory:
        """Look at all stores, show them the fence of now, and tell the coordinator."""
        self.stores.fence = await self.authority.ask(Coordinator.fence)
        infos = {info.uuid: info for info in await self.stores.look()}
        seen = [*infos.values(), *self.stores.foreign]
        rows = await self.authority.ask(Coordinator.stores_seen, seen)
        await self.remember(infos.values())
        counted = {uuid: row for uuid, row in rows.items() if row.state != "retired"}
        missing = counted.keys() - infos.keys()
        now_s = self.backend.uptime_s()
        self._missed_s = {uuid: self._missed_s.get(uuid, now_s) for uuid in missing}
        missed_s = {uuid: now_s - since_s for uuid, since_s in self._missed_s.items()}
        away = {uuid for uuid in missing if missed_s[uuid] >= self.patience.soon_s}
        unseen_s = {uuid: max(missed_s[uuid], counted[uuid].unseen_s) for uuid in away}
        gone = {uuid for uuid in away if unseen_s[uuid] >= self.patience.after_s}
        self._tell_news(frozenset(away), frozenset(gone), frozenset(infos))
        leaving = {
            uuid
            for uuid, row in counted.items()
            if row.state in {"draining", "returning"} or (uuid in infos and self.stores.is_draining(infos[uuid]))
        }
        return Inventory(
            counted,
            infos,
            frozenset(leaving),
            frozenset(away),
            frozenset(gone),
            frozenset(rows.keys() - counted.keys()),
        )

    def _tell_news(self, away: frozenset[str], gone: frozenset[str], here: frozenset[str]) -> None:
        """Log which stores are away, given up or back since the last look."""
        news = {
            events.STORES_AWAY: away - self._away,
            events.STORES_GIVEN_UP: gone - self._gone,
            events.STORES_BACK: self._away & here,
        }
        self._away, self._gone = away, gone
        for event, uuids in news.items():
            if uuids:
                event.tell(count=len(uuids), stores=sorted(uuids))

    async def remember(self, infos: Iterable[StoreInfo]) -> None:
        """Have stores remember which were let go of; one that fails is told with the next look."""
        newer = await self.authority.ask(Coordinator.retired_stores, self.retired.version)
        if newer is not None:
            self.retired = newer
        fence, net = self.stores.fence, self.backend.within(STORE_INFO_SECONDS)
        assert fence is not None, "it was asked for"

        async def tell(info: StoreInfo) -> None:
            try:
                await net.call(ref_of(info).addr, PlaceStore.keep_retired, self.retired, fence)
            except BackendClosed:
                raise
            except ClusterError as error:
                events.STORE_RETIRED_UNTOLD.tell(store=info.uuid, error=error)

        behind = [info for info in infos if info.retired < self.retired.version]
        await asyncio.gather(*map(tell, behind))
