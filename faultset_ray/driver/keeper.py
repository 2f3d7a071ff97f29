"""What keeps the ranges of fleets alive: their servants, what these are loaded with, and what is saved of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Addr, At, Backend
from faultset_ray.control.checkpoint import Checkpoint, unsaved
from faultset_ray.control.messages import Members, Orders
from faultset_ray.control.passage import Rows
from faultset_ray.control.prober import PLACES
from faultset_ray.control.ranges import range_of
from faultset_ray.control.region import Region
from faultset_ray.coordinator.directory import Directory, RangeInfo, first_ranges
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.deadline import wait_within
from faultset_ray.driver.directories import Directories, Known
from faultset_ray.errors import CallTimeout, ClusterError, FaultsetError, PlaceUnreachable, StaleEpoch
from faultset_ray.limits import CALL_SECONDS, CENSUS_SECONDS, CLAIM_SECONDS, REGION_CPUS, SPAWN_SECONDS
from faultset_ray.telemetry import events
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count

REGION_PREFIX = "region/"
"""With this begin the names of all servants of ranges, and of no others."""
_AGAIN_SECONDS = 0.05
_Handles = NDArray[np.intp]

R = TypeVar("R")


class Keeper:
    """The ranges of one system, as one driver sees them."""

    def __init__(self, backend: Backend, authority: Authority) -> None:
        self.backend = backend
        self.authority = authority
        self.name = backend.token(8).hex()
        """Of this driver, in claims and for the lease."""
        self._directories = Directories(backend, authority, self._learned)
        self.in_use: Callable[[], None] = lambda: None
        """Called whenever a directory arrives: there is something to keep."""
        self._begun: set[asyncio.Task[Any]] = set()
        self._loading: Counter[tuple[str, int]] = Counter()
        self._expected: dict[tuple[str, Addr[Region]], asyncio.Task[None]] = {}
        """First servants that were begun before their fleet was registered, by its name and theirs."""
        self._restoring: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def directory(self, fleet: str, deadline_s: float = CALL_SECONDS) -> Directory:
        """The fleet's directory as the coordinator has it now."""
        return await self._directories.ask(fleet, deadline_s)

    async def known(self, fleet: str, deadline_s: float) -> Known:
        """The same, or what was known last; see :meth:`Directories.known`."""
        return await self._directories.known(fleet, deadline_s)

    def learn(self, directory: Directory) -> Directory:
        """Take a directory that the coordinator gave just now, unless it comes later than a newer one."""
        return self._directories.learn(directory, self.backend.uptime_s())

    async def is_registered(self, fleet: str, deadline_s: float) -> bool:
        """Whether there is a fleet of that name."""
        known = self._directories.has(fleet)
        return known or fleet in await self.authority.ask_within(deadline_s, Coordinator.fleets)

    def begin(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Begin something that goes on when its caller waits no longer, at most until this driver leaves."""
        task = asyncio.ensure_future(work)
        self._begun.add(task)
        task.add_done_callback(self._ended)
        return task

    # -- Servants

    async def load_all(
        self,
        directory: Directory,
        range_ids: Sequence[int],
        arrivals: Mapping[int, Rows] = MappingProxyType({}),
        timeout_s: float | None = None,
    ) -> dict[int, FaultsetError]:
        """Tell some ranges their nodes, and the rows of those that come from others.

        Returned is, by range, what could not be mended. What takes longer than ``timeout_s`` goes on, and counts as
        not mended.

        Servants are brought up only for a fleet that is new. One that is gone later has a successor in the
        next epoch: two servants of one epoch would count the same versions twice.
        """
        positions = range_of(directory.bounds, directory.cells)

        async def load(position: int, info: RangeInfo) -> FaultsetError | None:
            fleet, members = directory.fleet.name, np.flatnonzero((positions == position) & directory.living)
            try:
                if directory.version == 1:
                    async with self._bringing_up(fleet, info):
                        await (self._expected.pop((fleet, address(fleet, info)), None) or self.spawn(fleet, info))
                        await self.load(directory, info, members)
                else:
                    while self.is_loading(fleet, info):
                        await self.backend.sleep(_AGAIN_SECONDS)
                    await self.load(directory, info, members, arrivals=arrivals.get(info.id))
            except ClusterError as error:
                self.lost(directory, info, error)
                if directory.version == 1 and isinstance(error, StaleEpoch):  # it outlived a fleet that was lost
                    self.restore(directory, info, succeed=True)
                return None if await self._mended(fleet, info) else error
            return None

        loading = {
            info: self.begin(load(position, info))
            for position, info in enumerate(directory.ranges)
            if info.id in range_ids
        }
        await wait_within(timeout_s, loading.values())
        failed: dict[int, FaultsetError] = {}
        for info, task in loading.items():
            name = address(directory.fleet.name, info).name
            error = task.result() if task.done() else CallTimeout(name, "load", timeout_s or 0.0)
            if error is not None:
                failed[info.id] = error
        return failed

    async def mark(self, before: Directory, after: Directory, position: int, handles: NDArray[np.uint32]) -> bool:
        """Tell a range which of its nodes were marked; whether it heard."""
        fleet, info, old = after.fleet.name, after.ranges[position], before.find(after.ranges[position].id)
        try:
            roster = await self.backend.call(
                address(fleet, info),
                Region.mark,
                info.epoch,
                orders(after),
                self.backend.now_ms(),
                old.roster if old else 0,
                info.roster,
                handles,
                after.marks[handles],
            )
        except ClusterError as error:
            self.lost(after, info, error)
            return False
        return roster >= info.roster or not await self.load_all(after, [info.id])

    def expect(self, fleet: str, ranges: int) -> None:
        """Begin to bring up the first servants of a fleet that is being registered: they start meanwhile."""
        for info in first_ranges(np.zeros(ranges, np.uint64)):
            self._expected[fleet, address(fleet, info)] = self.begin(self.spawn(fleet, info))

    async def forgo(self, fleet: str) -> None:
        """End what is left of those servants where nobody registered the fleet; if somebody did, they are its own."""
        begun = {region: self._expected.pop((of, region)) for of, region in [*self._expected] if of == fleet}
        with suppress(ClusterError):  # else the steward ends them, as it does those of drivers that are gone
            if begun and fleet not in await self.authority.ask(Coordinator.fleets):
                for task in begun.values():
                    task.cancel()
                await asyncio.gather(*begun.values(), return_exceptions=True)
                await asyncio.gather(*map(self.backend.stop, begun))

    async def spawn(self, fleet: str, info: RangeInfo, at: At | None = None) -> None:
        """Bring a range's servant up."""
        if fleet == PLACES:  # the answer about places must not go with the places that it is about
            at = At(place=self.backend.home)
        name = address(fleet, info).name
        await self.backend.spawn(Region, name, info.epoch, at=at or At(cpus=REGION_CPUS))

    async def load(
        self,
        directory: Directory,
        info: RangeInfo,
        members: _Handles,
        checkpoint: Checkpoint | None = None,
        arrivals: Rows | None = None,
    ) -> None:
        """Tell a range its nodes, what was saved of them, and what other ranges knew of some.

        Raises
        ------
        StaleEpoch
            Its servant holds nothing, though there was one before it: it needs what was saved.
        """
        fleet = directory.fleet
        roster = Members(
            info.roster,
            members.astype(np.uint32),
            directory.cells[members],
            fleet.latency_ms[members],
            directory.registered_ms[members],
            directory.marks[members],
        )
        region, now_ms = address(fleet.name, info), self.backend.now_ms()
        told = orders(directory)
        await self.backend.call(region, Region.load, info.epoch, told, now_ms, roster, checkpoint, arrivals)

    @asynccontextmanager
    async def _bringing_up(self, fleet: str, info: RangeInfo) -> AsyncIterator[None]:
        """While its first servant starts, a range is not lost."""
        self._loading[fleet, info.id] += 1
        try:
            async with self._claimed(fleet, info):
                yield
        finally:
            self._loading[fleet, info.id] -= 1

    @asynccontextmanager
    async def _claimed(self, fleet: str, info: RangeInfo) -> AsyncIterator[None]:
        """While this driver brings up the servant of an epoch that it has claimed, no other driver takes the next."""

        async def hold() -> None:
            while True:
                await self.backend.sleep(CLAIM_SECONDS / 3)
                with suppress(ClusterError):
                    await self._claim(fleet, info, CLAIM_SECONDS)

        holding = asyncio.ensure_future(hold())
        try:
            yield
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            with suppress(ClusterError):  # else it runs out
                await self._claim(fleet, info, 0.0)

    async def _claim(self, fleet: str, info: RangeInfo, seconds: float) -> bool:
        """Whether it is this driver who brings up a range's servant."""
        arguments = fleet, info.id, info.epoch, self.name, self.backend.now_ms(), seconds
        return await self.authority.ask_within(CENSUS_SECONDS, Coordinator.claim, *arguments)

    def is_loading(self, fleet: str, info: RangeInfo) -> bool:
        """Whether this driver is just bringing the range up for the first time."""
        return self._loading[fleet, info.id] > 0

    def is_restoring(self, fleet: str, info: RangeInfo) -> bool:
        """Whether this driver is just replacing the range's servant, or telling it what it lacks."""
        return (fleet, info.id) in self._restoring

    def lost(self, directory: Directory, info: RangeInfo, error: FaultsetError) -> None:
        """Note that a range did not answer; where its servant is gone, begin to replace it."""
        if not isinstance(error, (PlaceUnreachable, CallTimeout, StaleEpoch)):
            raise error
        gone = isinstance(error, PlaceUnreachable)
        event = events.RANGE_LOST if gone else events.RANGE_SILENT
        event.tell(range=info.id, fleet=directory.fleet.name, error=error)
        if gone:
            self.restore(directory, info, succeed=True)

    def restore(self, directory: Directory, info: RangeInfo, *, succeed: bool) -> None:
        """Begin to load a range anew; with ``succeed`` into a servant of the next epoch."""
        key = (directory.fleet.name, info.id)
        if key not in self._restoring and not self._loading[key]:
            task = asyncio.ensure_future(self._restored(directory, info, succeed=succeed))
            self._restoring[key] = task
            task.add_done_callback(lambda done: self._restore_ended(key, done))

    async def settle(self) -> None:
        """Wait until the restorations under way have ended."""
        while self._restoring:
            # gather would not yield, from Python 3.12 on, where all have ended and their callbacks have yet to run
            await asyncio.wait([*self._restoring.values()])

    async def close(self) -> None:
        """Give up the restorations under way, and all else that was begun."""
        for task in (*self._restoring.values(), *self._begun):
            task.cancel()
        await self.settle()
        await asyncio.gather(*self._begun, return_exceptions=True)
        await self._directories.close()

    # -- What is saved

    async def save(self, fleet: str, info: RangeInfo, *, whole: bool) -> bool:
        """Save what is new of a range; a whole checkpoint also where there is none yet.

        Any driver may do so at any time: the coordinator keeps the newest, and no other epoch's.

        Returns
        -------
        bool
            Whether there was anything.
        """
        region = address(fleet, info)
        made = await self.backend.call(region, Region.checkpoint, info.epoch, self.backend.now_ms(), whole)
        if made is None:
            return False
        durable = await self.authority.ask(Coordinator.save, fleet, info.id, info.epoch, made)
        if durable < made.version and not made.whole:
            return await self.save(fleet, info, whole=True)
        samples = made.samples if made.whole and durable == made.version else None
        await self.backend.call(region, Region.saved, info.epoch, durable, samples, made.at_ms)
        return True

    # -- Inside

    async def _mended(self, fleet: str, info: RangeInfo) -> bool:
        """Whether a range is being restored, once that has ended well."""
        task = self._restoring.get((fleet, info.id))
        if task is None:
            return False
        await asyncio.wait([task], timeout=SPAWN_SECONDS)  # it may wait for a place for longer
        return task.done() and not task.cancelled() and task.exception() is None

    async def _restored(self, directory: Directory, info: RangeInfo, *, succeed: bool) -> None:
        fleet = directory.fleet.name
        if not succeed:
            await self._told_anew(directory, info)
            return
        epoch = info.epoch
        while True:
            arguments = fleet, info.id, epoch, self.name, self.backend.now_ms()
            directory = self.learn(await self.authority.ask(Coordinator.succeed, *arguments))
            successor = directory.find(info.id)
            if successor is None:
                return  # it was split or merged meanwhile
            if await self._claim(fleet, successor, CLAIM_SECONDS):
                break
            epoch = successor.epoch  # another driver brings it up, or did; if he is gone too, it is lost once more
            with suppress(PlaceUnreachable, CallTimeout):
                await self._told_anew(directory, successor)
                return
            await self.backend.sleep(_AGAIN_SECONDS)
        async with self._claimed(fleet, successor):
            await self.spawn(fleet, successor)
            count(table.RANGE_RESTORES, 1, fleet)
            await self._loaded(directory, successor)
        if successor.epoch != info.epoch:
            await self.backend.stop(address(fleet, info))  # it may only have been cut off

    async def _told_anew(self, directory: Directory, info: RangeInfo) -> None:
        """Tell a range its nodes; if it holds nothing, since who brought it up is gone, what was saved too."""
        if directory.find(info.id) is None:
            return
        try:
            await self.load(directory, info, directory.members(info.id))
        except StaleEpoch:
            await self._loaded(directory, info)

    async def _loaded(self, directory: Directory, info: RangeInfo) -> None:
        fleet = directory.fleet.name
        checkpoint = await self.authority.ask(Coordinator.checkpoint, fleet, info.id)
        await self.load(directory, info, directory.members(info.id), checkpoint or unsaved(info.epoch))
        events.RANGE_RESTORED.tell(range=info.id, fleet=fleet, epoch=info.epoch)

    def _learned(self) -> None:
        self.in_use()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._begun.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            events.LATE_WORK_FAILED.tell(error=error)

    def _restore_ended(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        del self._restoring[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            events.RANGE_NOT_RESTORED.tell(range=key[1], fleet=key[0], error=error)


def address(fleet: str, info: RangeInfo) -> Addr[Region]:
    """Where the servant of a range is called."""
    return Addr(f"{REGION_PREFIX}{fleet}/{info.id}/{info.epoch}")


def orders(directory: Directory) -> Orders:
    """By what the ranges of a fleet decide."""
    return Orders(directory.policy_version, directory.policy, directory.fleet.name, directory.birth)


def split(groups: NDArray[np.intp], values: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
    """Values by group, groups ascending, values in their order."""
    order = np.argsort(groups, kind="stable")
    present, begins = np.unique(groups[order], return_index=True)
    return list(zip(present.tolist(), np.split(values[order], begins[1:]), strict=True)) if len(present) else []
