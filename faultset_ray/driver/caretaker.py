"""What one driver of a system does for the objects of all: the steward's other half.

Ends what drivers left open, drops garbage, mends what lost shards, empties stores that leave, spreads objects over
stores that came, and scrubs. All of it in tasks of its own, so that the control plane never waits for a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from faultset_ray.backend.protocol import Backend
from faultset_ray.config import Health
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.collecting import Collector
from faultset_ray.driver.inventory import Inventory, Lookout
from faultset_ray.driver.metering import tell_looked, tell_objects, tell_stores
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.repairs import Repairs
from faultset_ray.driver.returning import Returning
from faultset_ray.driver.scrubbing import Scrubbed, Scrubber
from faultset_ray.driver.spreading import Spreading
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.errors import BackendClosed, FaultsetError
from faultset_ray.limits import (
    CARETAKER_SECONDS,
    LEASE_SECONDS,
    METRICS_SECONDS,
    MOVE_SECONDS,
    SCRUB_NOTED_SECONDS,
)
from faultset_ray.objects.bucket import Bucket
from faultset_ray.telemetry import events
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count, listened


class Caretaker:
    """Works as long as :meth:`tick` is called again and again, and stops by itself when it is not."""

    def __init__(
        self, backend: Backend, authority: Authority, stores: StoreDirectory, mover: Mover, health: Health
    ) -> None:
        self._backend = backend
        self._authority = authority
        self._mover = mover
        self._health = health
        self._lookout = Lookout(backend, authority, stores, health.repair)
        self._collector = Collector(backend, authority)
        self._repairs = Repairs(backend, authority, mover, health.repair.concurrent)
        self._returning = Returning(backend, authority)
        self._scrubber = Scrubber(backend, authority)
        self._spreading = Spreading(backend, authority, mover, health.repair.concurrent)
        self._inventory: Inventory | None = None
        self._ends_s = 0.0
        """When the lease is over, unless it is renewed: by the uptime, as clocks may jump."""
        self._looked_s = -CARETAKER_SECONDS
        self._counted_s = -METRICS_SECONDS
        self._regions_told: set[str] = set()
        self._inherited = False
        """Whether what the one before left under way was given up."""
        self._chores: asyncio.Task[None] | None = None
        self._work: asyncio.Task[None] | None = None
        self._scrub: asyncio.Task[None] | None = None

    def tick(self) -> None:
        """Go on for as long as the lease holds; begins what is due and returns at once."""
        now_s = self._backend.uptime_s()
        if now_s > self._ends_s:
            self._inherited = False
        self._ends_s = now_s + LEASE_SECONDS
        if _idle(self._chores) and now_s - self._looked_s >= CARETAKER_SECONDS:
            self._looked_s = now_s
            self._chores = self._begin("a round of chores", self._do_chores())
        if _idle(self._work) and self._inventory is not None and self._inherited:
            self._work = self._begin("a round of work", self._do_work())
        if _idle(self._scrub) and self._inventory is not None and self._inherited:
            self._scrub = self._begin("a scrub", self._do_scrub())

    async def close(self) -> None:
        """End; what is under way is given up by the next caretaker."""
        tasks = [task for task in (self._chores, self._work, self._scrub) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- Inside

    def _begin(self, what: str, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.ensure_future(_told(what, doing))

    def _holds(self) -> bool:
        return self._backend.uptime_s() < self._ends_s

    def _look(self) -> Inventory:
        assert self._inventory is not None, "it was looked before anything is worked at"
        return self._inventory

    def _goes_on(self, inventory: Inventory) -> bool:
        """Whether work that was planned with these stores is still right: none came or went since."""
        now = self._look()
        same = (now.here.keys(), now.gone, now.leaving) == (inventory.here.keys(), inventory.gone, inventory.leaving)
        return same and self._holds()

    async def _do_chores(self) -> None:
        """What is quick: look at the stores, end writes, drop garbage."""
        if not await self._authority.ask(Coordinator.stores):
            return  # no object was ever written: the system need have no stores
        inventory = self._inventory = await self._lookout.look()
        tell_stores(inventory, self._regions_told)
        tell_looked("stores", self._backend.now_ms())
        # one that fails does not keep the others from being done
        await _told("giving moves up", self._give_up_moves())
        await _told("ending writes", self._collector.resolve(inventory))
        await _told("dropping garbage", self._collector.collect(inventory))
        await _told("clearing stores that return", self._returning.clear(inventory, self._lookout.retired))
        await _told("counting objects", self._count(inventory))

    async def _count(self, inventory: Inventory) -> None:
        """Tell how the objects are, now and then, if anybody listens: it takes a look at the whole catalog."""
        now_s = self._backend.uptime_s()
        if not listened() or now_s - self._counted_s < METRICS_SECONDS:
            return
        tally = await self._authority.ask(Coordinator.tally)
        needs = await self._repairs.needs(inventory, at_once=True)
        passes = {"light": await self._scrubber.cursor(deep=False), "deep": await self._scrubber.cursor(deep=True)}
        tell_objects(tally, needs, {depth: cursor.began_ms if cursor else 0 for depth, cursor in passes.items()})
        tell_looked("objects", self._backend.now_ms())
        self._counted_s = now_s

    async def _give_up_moves(self) -> None:
        """End moves that nobody carries on: all of the caretaker before, and those of other drivers that take long."""
        left = await self._authority.ask(Coordinator.shard_moves, MOVE_SECONDS if self._inherited else None)
        left = [move for move in left if move not in self._mover.under_way]
        if left:
            events.MOVES_GIVEN_UP.tell(count=len(left))
            await self._authority.ask(Coordinator.abort_shard_moves, left)
        self._inherited = True

    async def _do_work(self) -> None:
        """What moves bytes: the objects least safe first, then balance."""
        bucket = Bucket(self._backend, self._health.repair.bytes_per_s)
        inventory = self._look()
        needs = await self._repairs.needs(inventory, due=True)
        if needs.count:
            done = await self._repairs.mend(needs.first, inventory, bucket, going=lambda: self._goes_on(inventory))
            if done.shards:
                events.REPAIR_DONE.tell(shards=done.shards, objects=done.objects)
        else:
            await self._spreading.step(inventory, bucket, lambda: self._goes_on(inventory))
        await self._backend.sleep(CARETAKER_SECONDS)

    async def _do_scrub(self) -> None:
        """Look at what nobody reads: the next page of the pass that is due; repair does not wait for it."""
        by = self._health.scrub
        bucket = Bucket(self._backend, by.bytes_per_s)
        ends_s = self._backend.uptime_s() + SCRUB_NOTED_SECONDS
        now_ms = self._backend.now_ms()
        for deep, every_s in ((False, by.light_every_s), (True, by.deep_every_s)):
            cursor = await self._scrubber.cursor(deep=deep)
            if cursor is None or cursor.done_ms is None or not 0 <= now_ms - cursor.began_ms < 1000 * every_s:
                await self._scrubber.step(
                    self._look(), Scrubbed(deep), bucket, lambda: self._holds() and self._backend.uptime_s() < ends_s
                )
        await self._backend.sleep(CARETAKER_SECONDS)


async def _told(what: str, doing: Coroutine[Any, Any, Any]) -> None:
    """Do something in the background; that it was cut short is told, and it is tried again."""
    try:
        await doing
    except BackendClosed:
        return
    except FaultsetError as error:
        count(table.ROUNDS_FAILED, 1, "caretaker")
        events.UPKEEP_CUT_SHORT.tell(what=what, error=error)


def _idle(task: asyncio.Task[None] | None) -> bool:
    return task is None or task.done()
