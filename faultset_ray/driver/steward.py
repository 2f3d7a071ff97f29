"""What one driver of a system does for all: save what is new of ranges, replace the silent, split and merge them.

For objects it is the :class:`~faultset_ray.driver.caretaker.Caretaker`, which works under the same lease.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from faultset_ray.control.messages import Census
from faultset_ray.control.region import Region
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.caretaker import Caretaker
from faultset_ray.driver.following import follow
from faultset_ray.driver.keeper import Keeper, address, orders
from faultset_ray.driver.metering import tell_left, tell_looked, tell_ranges
from faultset_ray.driver.moves import give_up
from faultset_ray.driver.shaping import Shaping
from faultset_ray.driver.telling import tell_freeze, tell_panic
from faultset_ray.errors import BackendClosed, CallTimeout, ClusterError, PlaceUnreachable, StaleEpoch, UnknownFleet
from faultset_ray.limits import (
    CENSUS_SECONDS,
    CHECKPOINT_INCREMENTS_MAX,
    CHECKPOINT_SECONDS,
    LEASE_SECONDS,
    RANGE_GONE_SECONDS,
    RANGE_SILENT_SECONDS,
    STEWARD_SECONDS,
)
from faultset_ray.telemetry import events, tracing
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count

_PAUSE_FACTOR = 20

_Range = tuple[str, int, int]
"""Fleet, range and epoch."""


class Steward:
    """A background task of each driver, of which one at a time works: who has the coordinator's lease.

    The lease saves work. That nothing goes wrong where two believe they have it hangs on epochs alone.
    """

    def __init__(self, keeper: Keeper, caretaker: Caretaker) -> None:
        keeper.in_use = self.start
        self._keeper = keeper
        self._caretaker = caretaker
        self._backend = keeper.backend
        self._name = keeper.name
        self._shaping = Shaping(keeper)
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._leads = False
        """Whether it had the lease when it last asked."""
        self._saving: dict[_Range, asyncio.Task[None]] = {}
        self._whole_due_ms: dict[_Range, int] = {}
        self._increments: dict[_Range, int] = {}
        self._silent_ms: dict[_Range, int] = {}
        """Since when a range has not answered."""
        self._behind: set[_Range] = set()
        """Ranges that did not know all their nodes at the last census."""
        self._seen: set[_Range] = set()
        """Ranges that have answered; others may be just brought up by another driver."""

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._task is None and not self._closed:
            self._task = tracing.apart(self._run())

    async def close(self, *, save: bool) -> None:
        """End; with ``save`` all that is new is saved first, and the lease is free at once."""
        self._closed = True
        if self._task is None:
            return
        self._task.cancel()
        tasks = [self._task, *self._saving.values()]
        self._task = None
        await self._shaping.close()
        await self._caretaker.close()
        self._lead(leads=False)
        if save:
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                await self._save_all()
                await self._keeper.authority.ask_within(
                    CENSUS_SECONDS, Coordinator.lease, self._name, 0.0, self._backend.now_ms()
                )
            except ClusterError as error:
                events.NOT_SAVED.tell(error=error)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- Inside

    async def _run(self) -> None:
        with suppress(BackendClosed):  # which a pause may say as well
            while True:
                try:
                    await self._tick()
                except BackendClosed:
                    raise
                except (ClusterError, UnknownFleet) as error:  # the latter where a coordinator lost its state just now
                    count(table.ROUNDS_FAILED, 1, "steward")
                    events.STEWARD_CUT_SHORT.tell(error=error)
                await self._backend.sleep(STEWARD_SECONDS)

    async def _tick(self) -> None:
        authority = self._keeper.authority
        lease = await authority.ask_within(
            CENSUS_SECONDS, Coordinator.lease, self._name, LEASE_SECONDS, self._backend.now_ms()
        )
        self._lead(leads=lease.holder == self._name)
        if self._leads:
            self._caretaker.tick()
            loads = await self._backend.loads() if self._shaping.due else ()
            fleets = await authority.ask_within(CENSUS_SECONDS, Coordinator.fleets)
            tended = await asyncio.gather(*map(self._tend, fleets), return_exceptions=True)
            directories = [each for each in tended if isinstance(each, Directory)]
            for each in tended:
                if isinstance(each, BaseException):
                    raise each
            tell_looked("ranges", self._backend.now_ms())
            if loads:
                await self._shaping.pack(loads, directories)

    def _lead(self, *, leads: bool) -> None:
        """Have the lease or not; who loses it says that what it told is no longer of now."""
        if self._leads and not leads:
            tell_left()
        self._leads = leads

    async def _tend(self, fleet: str) -> Directory:
        authority = self._keeper.authority
        if not self._shaping.busy:
            for move in await authority.ask_within(CENSUS_SECONDS, Coordinator.moves, fleet):
                await give_up(self._keeper, move)  # whoever began it has lost the lease
        directory = await self._keeper.directory(fleet, CENSUS_SECONDS)
        found = await asyncio.gather(*(self._count(directory, info) for info in directory.ranges))
        tell_ranges(fleet, found, self._backend.now_ms())
        counted = [(info, census) for info, census in zip(directory.ranges, found, strict=True) if census is not None]
        for info, census in counted:
            self._save(fleet, info, census)
            if census.sealed is not None:
                await self._unseal(fleet, info, census.sealed)
            if census.parked > 0 and census.roster == info.roster:
                await self._follow(directory, info)
        if directory.policy.freeze_at is not None:
            await tell_freeze(self._keeper, directory, counted)
        if directory.policy.panic == "all" and any(census.short > 0 for _, census in counted):
            await tell_panic(self._keeper, directory)
        self._shaping.shape(directory, counted)
        return directory

    async def _count(self, directory: Directory, info: RangeInfo) -> Census | None:
        """How a range is; None where it does not say."""
        fleet, key = directory.fleet.name, (directory.fleet.name, info.id, info.epoch)
        if self._keeper.is_loading(fleet, info) or self._keeper.is_restoring(fleet, info):
            return None  # it may wait for a place for minutes
        now_ms = self._backend.now_ms()
        region, net = address(fleet, info), self._backend.within(CENSUS_SECONDS)
        try:
            census = await net.call(region, Region.census, info.epoch, orders(directory), now_ms)
        except (PlaceUnreachable, CallTimeout, StaleEpoch) as error:
            self._silent(directory, info, error, now_ms)
            return None
        self._seen.add(key)
        if census.roster < info.roster and key in self._behind:
            self._keeper.restore(directory, info, succeed=False)
        (self._behind.add if census.roster < info.roster else self._behind.discard)(key)
        self._silent_ms.pop(key, None)
        return census

    async def _follow(self, directory: Directory, info: RangeInfo) -> None:
        try:
            await follow(self._keeper, directory, info)
        except ClusterError as error:
            events.NODES_WAIT.tell(range=info.id, fleet=directory.fleet.name, error=error)

    async def _unseal(self, fleet: str, info: RangeInfo, move_id: int) -> None:
        """Let a range go on where whoever gave its move up died before it said so."""
        moves = await self._keeper.authority.ask_within(CENSUS_SECONDS, Coordinator.moves, fleet)
        if move_id not in {move.id for move in moves}:
            net = self._backend.within(CENSUS_SECONDS)
            with suppress(ClusterError):  # the next round tries again
                await net.call(address(fleet, info), Region.unseal, info.epoch, move_id)

    def _silent(self, directory: Directory, info: RangeInfo, error: ClusterError, asked_ms: int) -> None:
        """Begin to replace a range that has been silent for too long, though it may only have been cut off.

        It is silent since the first question that it did not answer was asked.
        """
        key = directory.fleet.name, info.id, info.epoch
        gone = isinstance(error, PlaceUnreachable)
        patience_s = RANGE_GONE_SECONDS if gone and key in self._seen else RANGE_SILENT_SECONDS
        silent_ms = self._backend.now_ms() - self._silent_ms.setdefault(key, asked_ms)
        if silent_ms >= 1000 * patience_s:
            events.RANGE_SILENT.tell(range=info.id, fleet=directory.fleet.name, error=error)
            self._keeper.restore(directory, info, succeed=True)

    def _save(self, fleet: str, info: RangeInfo, census: Census) -> None:
        """Begin to save what is new of a range."""
        key = fleet, info.id, info.epoch
        now_ms = self._backend.now_ms()
        dirty = census.dirty_ms is not None and now_ms - census.dirty_ms >= 1000 * CHECKPOINT_SECONDS
        whole = dirty and now_ms >= self._whole_due_ms.get(key, 0)
        whole = whole or self._increments.get(key, 0) >= CHECKPOINT_INCREMENTS_MAX
        if key not in self._saving and (whole or census.version > census.saved):
            task = asyncio.ensure_future(self._saved(key, info, whole=whole))
            self._saving[key] = task
            task.add_done_callback(lambda _: self._saving.pop(key))

    async def _saved(self, key: _Range, info: RangeInfo, *, whole: bool) -> None:
        began_ms = self._backend.now_ms()
        try:
            await self._keeper.save(key[0], info, whole=whole)
        except ClusterError as error:
            events.RANGE_NOT_SAVED.tell(range=info.id, fleet=key[0], error=error)
            return
        now_ms = self._backend.now_ms()
        self._increments[key] = 0 if whole else self._increments.get(key, 0) + 1
        if whole:
            self._whole_due_ms[key] = now_ms + _PAUSE_FACTOR * (now_ms - began_ms)

    async def _save_all(self) -> None:
        """Save all ranges but those that did not answer lately: nobody is kept from leaving by one that is gone."""

        async def save(fleet: str) -> None:
            directory = await self._keeper.directory(fleet, CENSUS_SECONDS)
            chosen = [
                info
                for info in directory.ranges
                if (fleet, info.id, info.epoch) not in self._silent_ms and not self._keeper.is_restoring(fleet, info)
            ]
            saving = [self._keeper.save(fleet, info, whole=True) for info in chosen]
            await asyncio.gather(*saving, return_exceptions=True)

        fleets = await self._keeper.authority.ask_within(CENSUS_SECONDS, Coordinator.fleets)
        await asyncio.gather(*map(save, fleets))
