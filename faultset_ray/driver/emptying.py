"""Stores that are emptied and let go of: everything moves elsewhere first, and what can't is told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import StoreState
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.collecting import Collector
from faultset_ray.driver.deadline import Deadline
from faultset_ray.driver.inventory import Inventory, Lookout
from faultset_ray.driver.observations import check_deadline
from faultset_ray.driver.repairs import Repaired, Repairs
from faultset_ray.driver.stores import ref_of, store_addr
from faultset_ray.errors import ClusterError, InputError, NotEnoughPlaces, StoreInUse, StoreNotEmptied
from faultset_ray.errors.base import shown
from faultset_ray.limits import DECOMMISSION_PAUSE_SECONDS, SEAL_SECONDS, UPKEEP_PAGE
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.intake import SoFar
from faultset_ray.objects.needs import Need, mending, need_of
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record
from faultset_ray.telemetry import events

_HOPELESS_ROUNDS = 2
"""After so many rounds in which nothing could be moved, for want of shards, that is so."""
_BEYOND_REACH = (
    "too few of their other shards are within reach. Bring back the stores that have these; if the data is gone for "
    "good, delete the objects, or let a store go that is gone without them: force=True, --force"
)


@dataclass(frozen=True, slots=True)
class Decommissioned:
    """A store that was emptied and let go."""

    stores: tuple[str, ...]
    objects: int
    shards: int
    bytes: int
    lost: tuple[str, ...] = ()
    """Names of objects with shards on it that could not be moved, of a store that was let go by force."""


@dataclass(slots=True)
class _Leaving:
    """One decommission."""

    before: dict[str, StoreState]
    """What the stores were that are not let go of yet."""
    force: bool
    deadline: Deadline
    told: SoFar
    bucket: Bucket | None
    total: Repaired = field(default_factory=Repaired)


class Emptying:
    """Empties stores of one system."""

    def __init__(
        self, backend: Backend, authority: Authority, lookout: Lookout, repairs: Repairs, collector: Collector
    ) -> None:
        self._backend = backend
        self._authority = authority
        self._lookout = lookout
        self._repairs = repairs
        self._collector = collector

    async def empty(
        self, which: str, bucket: Bucket | None, timeout_s: float | None, told: SoFar, *, force: bool
    ) -> Decommissioned:
        """See :meth:`AsyncUpkeepVerbs.decommission
        <faultset_ray.driver.upkeep_verbs.AsyncUpkeepVerbs.decommission>`.
        """  # noqa: D205 - one sentence
        seconds = inf if timeout_s is None else check_deadline(timeout_s, "timeout_s")
        inventory = await self._lookout.look()
        uuids = _named(inventory, which)
        if force and (answers := [uuid for uuid in uuids if uuid in inventory.here]):
            raise InputError(f"store {answers[0]} answers; force is for stores that are gone for good")
        states = {uuid: inventory.rows[uuid].state for uuid in uuids}
        leaving = _Leaving(states, force, Deadline(self._backend, seconds), told, bucket)
        try:
            for uuid in uuids:
                await self._authority.ask(Coordinator.set_store_state, uuid, "draining")
            lost = await self._emptied(leaving)
        except BaseException:
            await asyncio.shield(self._restored(leaving.before))
            raise
        total = leaving.total
        events.STORES_LET_GO.tell(stores=uuids, objects=total.objects, shards=total.shards)
        return Decommissioned(tuple(uuids), total.objects, total.shards, total.bytes, tuple(sorted(lost)))

    async def cancel(self, which: str) -> tuple[str, ...]:
        """See :meth:`AsyncUpkeepVerbs.cancel_decommission
        <faultset_ray.driver.upkeep_verbs.AsyncUpkeepVerbs.cancel_decommission>`.
        """  # noqa: D205 - one sentence
        uuids = _named(await self._lookout.look(), which)
        changed = [
            await self._authority.ask(Coordinator.set_store_state, uuid, "active", only="draining") for uuid in uuids
        ]
        return tuple(uuid for uuid, was_draining in zip(uuids, changed, strict=True) if was_draining)

    # -- Inside

    async def _restored(self, before: dict[str, StoreState]) -> None:
        """Have stores take part as before; those that were let go of already stay so."""
        for uuid, state in before.items():
            try:
                await self._authority.ask(
                    Coordinator.set_store_state, uuid, "draining" if state == "draining" else "active"
                )
            except ClusterError as error:
                events.STORE_STILL_EMPTIED.tell(store=uuid, error=error)

    async def _emptied(self, leaving: _Leaving) -> dict[str, str]:
        """Move everything off the stores, then end them; by name, why objects are as lost."""
        if not leaving.force:
            await self._check_room(leaving)
        hopeless = 0
        lost: dict[str, str] = {}
        while True:
            inventory = await self._lookout.look()
            if any(inventory.rows[uuid].state != "draining" for uuid in leaving.before if uuid in inventory.rows):
                raise _cancelled(leaving)
            collected = await self._collector.tidy(inventory)
            needs = (await self._repairs.needs(inventory, which=lambda need: _on(need, leaving))).first
            if needs:
                self._check_time(needs, leaving)
                done = await self._round(needs, inventory, leaving)
                if done.objects:
                    hopeless, lost = 0, {}
                    continue
                lost |= done.lost  # who else tries to move one is in the way now and then
                hopeless += await self._is_settled(needs, lost, done, leaving)
                if hopeless >= _HOPELESS_ROUNDS:
                    if not leaving.force:
                        raise StoreNotEmptied(list(leaving.before), lost, _BEYOND_REACH)
                    if await self._let_go(inventory, leaving, collected):
                        return lost
            elif await self._let_go(inventory, leaving, collected):
                if not leaving.before:
                    return {}
                continue
            self._check_time(needs, leaving)
            await self._backend.sleep(DECOMMISSION_PAUSE_SECONDS)

    async def _is_settled(
        self, needs: Sequence[Need], lost: Mapping[str, str], done: Repaired, leaving: _Leaving
    ) -> bool:
        """Whether waiting would not help, after rounds in which nothing was moved."""
        names = {need.entry.record.name for need in needs}
        if leaving.force:
            return names <= {*lost, *done.wanting}
        if done.wanting:
            await self._check_room(leaving)
        return names <= lost.keys()

    async def _round(self, needs: Sequence[Need], inventory: Inventory, leaving: _Leaving) -> Repaired:
        """Move what can be moved; tells how far it is after each object."""
        everything = leaving.total.bytes + sum(need.file_bytes for need in needs)

        def told(done: Repaired) -> None:
            leaving.told(leaving.total.bytes + done.bytes, everything)

        def going() -> bool:
            return leaving.deadline.left_s() > 0

        done = await self._repairs.mend(needs, inventory, leaving.bucket, going=going, told=told, at_once=True)
        leaving.total.add(done)
        return done

    def _check_time(self, needs: Sequence[Need], leaving: _Leaving) -> None:
        if not leaving.deadline.left_s():
            failed = leaving.total.failed
            left = {need.entry.record.name: failed.get(need.entry.record.name, "not moved yet") for need in needs}
            raise StoreNotEmptied(list(leaving.before), left, f"{leaving.deadline.seconds:g} s have passed")

    async def _check_room(self, leaving: _Leaving) -> None:
        """Refuse where the other stores can't keep the promise of an object; one of each code is tried.

        Raises
        ------
        NotEnoughPlaces
        """
        inventory = await self._lookout.look()
        uuids = list(leaving.before)
        tried: set[tuple[str, int]] = set()
        need_bytes = 0
        for uuid in uuids:
            after = 0
            while True:
                entries, after = await self._authority.ask(Coordinator.by_store, uuid, after, UPKEEP_PAGE)
                for entry in entries:
                    record = entry.record
                    shard_bytes = record.header.layout.file_bytes(record.size)
                    need_bytes += shard_bytes * entry.layout.count(uuid)
                    kind = record.spec, record.tolerate
                    need = need_of(entry, (), uuids)
                    if kind not in tried and need is not None:
                        mending(need, inventory.sites, shard_bytes, promised=True)
                        tried.add(kind)
                if not after:
                    break
        others = [site for site in inventory.sites if not site.draining]
        free_bytes = sum(site.free_bytes for site in others)
        if need_bytes > free_bytes:
            reason = f"their shards have {need_bytes:,} bytes, the other stores {free_bytes:,} bytes free"
            raise NotEnoughPlaces(len(others), len(others) + 1, reason)

    async def _let_go(self, inventory: Inventory, leaving: _Leaving, collected: int) -> bool:
        """Let stores go that need nothing more; False where nothing came of it, so that something is waited for.

        One that answers drops all its garbage first. A write that was begun before may still count on one.
        """
        waiting = await self._authority.ask(Coordinator.garbage, 1)
        if any(item.store in inventory.here and item.store in leaving.before for item in waiting):
            return collected > 0
        for uuid in list(leaving.before):
            await self._tombstones(uuid, inventory, leaving.before)
            try:
                retired = await self._authority.ask(
                    Coordinator.set_store_state, uuid, "retired", force=leaving.force, only="draining"
                )
            except StoreInUse:
                return False
            if not retired:
                raise _cancelled(leaving)
            del leaving.before[uuid]
            await self._lookout.remember(inventory.here.values())
            place = inventory.rows[uuid].place
            if uuid in inventory.here or all(info.place != place for info in inventory.here.values()):
                await self._backend.stop(store_addr(place))
        return True

    async def _tombstones(self, uuid: str, inventory: Inventory, leaving: Collection[str]) -> None:
        """Have tombstones of a store on as many others as may be lost, and one more: they may outlive all shards.

        On all others, where those are fewer.

        Raises
        ------
        StoresLost
            A store failed at it.
        """
        others = [
            other
            for other in sorted(inventory.here)
            if other not in leaving and other in inventory.rows and inventory.rows[other].state == "active"
        ]
        fence, after = await self._authority.ask(Coordinator.fence), 0
        while True:
            page = await self._authority.ask(Coordinator.tombstones, uuid, after, UPKEEP_PAGE)
            given: dict[str, list[Record]] = {}
            for entry in page:
                lacking = entry.record.tolerate + 1 - len(set(entry.layout).intersection(others))
                first = entry.record.generation % max(len(others), 1)
                free = [other for other in (*others[first:], *others[:first]) if other not in entry.layout]
                for other in free[: max(lacking, 0)]:
                    given.setdefault(other, []).append(entry.record)
            for other, records in given.items():
                await self._authority.ask(Coordinator.add_tombstones, other, [each.generation for each in records])
                net, addr = self._backend.within(SEAL_SECONDS), ref_of(inventory.here[other]).addr
                for failed in await net.call(addr, PlaceStore.record, [each.pack() for each in records], fence):
                    if failed is not None:
                        raise failed
            if len(page) < UPKEEP_PAGE:
                return
            after = page[-1].record.generation


def _named(inventory: Inventory, which: str) -> list[str]:
    """The stores that are called so, or that are at the place that is."""
    uuids = sorted(uuid for uuid, row in inventory.rows.items() if which in (uuid, row.place))
    if not uuids:
        raise InputError(f"there is no store, and no place with a store, called {shown(which)}")
    return uuids


def _cancelled(leaving: _Leaving) -> StoreNotEmptied:
    """What to raise once somebody has the stores take part again: they stay as that made them."""
    stores = list(leaving.before)
    leaving.before.clear()
    return StoreNotEmptied(stores, {}, "it was cancelled, or another call let it go")


def _on(need: Need, leaving: _Leaving) -> bool:
    return any(uuid in leaving.before for uuid in need.entry.layout)
