"""The driver's control plane: registration, observations, and the survivors of all ranges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray import columns
from faultset_ray.backend.protocol import Addr, At, Backend
from faultset_ray.control.answer import Survivors
from faultset_ray.control.compose import RegionPart, compose
from faultset_ray.control.prober import PLACES
from faultset_ray.control.ranges import range_of
from faultset_ray.control.region import Region
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.errors import (
    CallTimeout,
    ClusterError,
    FaultsetError,
    InputError,
    PlaceUnreachable,
    RegionTimeout,
    StaleEpoch,
)
from faultset_ray.geohash import cells_to_strings, encode_many
from faultset_ray.limits import CALL_SECONDS, CLOCK_AHEAD_MS_MAX, REGION_CPUS
from faultset_ray.model import Fleet, OnDuplicate

_LOG = logging.getLogger(__name__)


class Fleets:
    """The fleets of one system, as one driver sees them."""

    def __init__(self, backend: Backend, authority: Authority, regions_max: int | None) -> None:
        self._backend = backend
        self._authority = authority
        self._regions_max = regions_max
        self._directories: dict[str, Directory] = {}
        self._restoring: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def register(self, nodes: Any, precision: int, fleet: str, on_duplicate: OnDuplicate | None) -> Fleet:
        """See :meth:`AsyncDriver.register <faultset_ray.driver.asynchronous.AsyncDriver.register>`."""
        columns.check_precision(precision)
        given = await self._backend.compute(Fleet.of, nodes, name=fleet, on_duplicate=on_duplicate)
        cells = await self._backend.compute(encode_many, given.lat, given.lon, precision)
        registered = await self._authority.ask(
            Coordinator.register, given, cells, precision, await self._ranges_max(given.name), self._backend.now_ms()
        )
        directory = self._directories[given.name] = registered.directory
        positions = range_of(directory.bounds, directory.cells)
        await asyncio.gather(
            *(
                self._load(directory, info, np.flatnonzero(positions == position))
                for position, info in enumerate(directory.ranges)
                if info.id in registered.touched
            )
        )
        return given.with_handles(registered.handles)

    async def observe(
        self, handles: ArrayLike, latency_ms: ArrayLike, ok: ArrayLike | None, at_ms: int | None, fleet: str
    ) -> int:
        """See :meth:`AsyncDriver.observe <faultset_ray.driver.asynchronous.AsyncDriver.observe>`."""
        now_ms = self._backend.now_ms()
        at = now_ms if at_ms is None else _timestamp(at_ms, now_ms)
        directory = await self._directory(fleet)
        latencies, checked = _observation(directory, handles, latency_ms, ok)

        async def tell(info: RangeInfo, chosen: NDArray[np.intp]) -> int:
            try:
                return await self._backend.call(
                    _region(fleet, info), Region.observe, info.epoch, checked[chosen], latencies[chosen], at
                )
            except ClusterError as error:
                self._lost(directory, info, error)
                return 0

        parts = _split(directory.positions(checked), np.arange(len(checked)))
        return sum(await asyncio.gather(*(tell(directory.ranges[position], chosen) for position, chosen in parts)))

    async def survivors(self, threshold_ms: float, fleet: str, deadline_s: float, *, partial: bool) -> Survivors:
        """See :meth:`AsyncDriver.survivors <faultset_ray.driver.asynchronous.AsyncDriver.survivors>`."""
        threshold = columns.check_threshold(threshold_ms)
        if not columns.is_number(deadline_s) or not deadline_s > 0:
            raise InputError(f"deadline_s is {deadline_s!r}; expected a number of seconds above 0")
        at_ms = self._backend.now_ms()
        directory = await self._directory(fleet, deadline_s)

        def left_s() -> float:
            return max(deadline_s - (self._backend.now_ms() - at_ms) / 1000, 0.0)

        net = self._backend.within(left_s())

        async def ask(info: RangeInfo) -> RegionPart | None:
            try:
                return await net.call(_region(fleet, info), Region.survivors, threshold)
            except ClusterError as error:
                self._lost(directory, info, error)
                return None

        asked = directory.ranges
        answers = await asyncio.gather(*(ask(info) for info in asked))
        if any(part is not None and part.roster > info.roster for info, part in zip(asked, answers, strict=True)):
            directory = await self._directory(fleet, left_s())  # another driver registered nodes just now
        parts = {
            info.id: part
            for info, part in zip(asked, answers, strict=True)
            if part is not None and self._complete(directory, info.id, part)
        }
        missing = _regions_of(directory, [info.id not in parts for info in directory.ranges])
        if missing and not partial:
            raise RegionTimeout(missing, len(np.unique(directory.cells)), deadline_s)
        composed = await self._backend.compute(compose, list(parts.values()))
        versions = {range_id: (part.epoch, part.version) for range_id, part in parts.items()}
        return Survivors(fleet, threshold, at_ms, directory.fleet.ids, composed, versions, missing)

    async def settle(self) -> None:
        """Wait until the restorations under way have ended."""
        while self._restoring:
            await asyncio.gather(*self._restoring.values(), return_exceptions=True)

    async def stop(self) -> None:
        """End every region of the system."""
        for fleet in await self._authority.ask(Coordinator.fleets):
            directory = await self._directory(fleet)
            await asyncio.gather(*(self._backend.stop(_region(fleet, info)) for info in directory.ranges))

    async def close(self) -> None:
        """Give up the restorations under way."""
        for task in self._restoring.values():
            task.cancel()
        await self.settle()

    # -- Inside

    async def _ranges_max(self, fleet: str) -> int:
        if fleet == PLACES:
            return 1
        if self._regions_max is not None:
            return self._regions_max
        cpus = sum(place.cpus for place in await self._backend.places())
        return max(4, int(2 * cpus))

    async def _directory(self, fleet: str, deadline_s: float = CALL_SECONDS) -> Directory:
        """The fleet's directory as the coordinator has it now."""
        cached = self._directories.get(fleet)
        version = cached.version if cached else 0
        fresh = await self._authority.ask_within(deadline_s, Coordinator.directory, fleet, version)
        if fresh is not None:
            cached = self._directories[fleet] = fresh
        assert cached is not None
        return cached

    async def _load(self, directory: Directory, info: RangeInfo, members: NDArray[np.intp]) -> None:
        """Bring a range's servant up, and its nodes into it."""
        fleet = directory.fleet
        region = _region(fleet.name, info)
        # the answer about places must not go with the places that it is about: it lives beside the coordinator
        at = At(place=self._backend.home) if fleet.name == PLACES else At(cpus=REGION_CPUS)
        await self._backend.spawn(Region, region.name, info.epoch, at=at)
        await self._backend.call(
            region,
            Region.load,
            info.epoch,
            info.roster,
            members.astype(np.uint32),
            directory.cells[members],
            fleet.latency_ms[members],
            directory.registered_ms[members],
        )

    def _complete(self, directory: Directory, range_id: int, part: RegionPart) -> bool:
        """Whether a range looked at all its nodes; if not (a registration was cut short), reload it."""
        info = directory.find(range_id)
        if info is None or part.roster == info.roster:
            return info is not None
        self._restore(directory, info, succeed=False)
        return False

    def _lost(self, directory: Directory, info: RangeInfo, error: FaultsetError) -> None:
        """Note that a range did not answer; where its servant is gone, begin to replace it."""
        if not isinstance(error, (PlaceUnreachable, CallTimeout, StaleEpoch)):
            raise error
        _LOG.warning("range %d of fleet %r: %s", info.id, directory.fleet.name, error)
        if isinstance(error, PlaceUnreachable):
            self._restore(directory, info, succeed=True)

    def _restore(self, directory: Directory, info: RangeInfo, *, succeed: bool) -> None:
        key = (directory.fleet.name, info.id)
        if key not in self._restoring:
            task = asyncio.ensure_future(self._restored(directory, info, succeed=succeed))
            self._restoring[key] = task
            task.add_done_callback(lambda done: self._restore_ended(key, done))

    async def _restored(self, directory: Directory, info: RangeInfo, *, succeed: bool) -> None:
        fleet = directory.fleet.name
        if succeed:
            directory = await self._authority.ask(Coordinator.succeed, fleet, info.id, info.epoch)
        successor = directory.find(info.id)
        if successor is not None:
            await self._load(directory, successor, directory.members(info.id))
            _LOG.info("range %d of fleet %r is back, in epoch %d", info.id, fleet, successor.epoch)

    def _restore_ended(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        del self._restoring[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.warning("range %d of fleet %r could not be brought back yet: %s", key[1], key[0], error)


def _region(fleet: str, info: RangeInfo) -> Addr[Region]:
    return Addr(f"region/{fleet}/{info.id}/{info.epoch}")


def _split(groups: NDArray[np.intp], values: NDArray[Any]) -> Iterable[tuple[int, NDArray[Any]]]:
    """Values by group, groups ascending, values in their order."""
    order = np.argsort(groups, kind="stable")
    present, begins = np.unique(groups[order], return_index=True)
    return zip(present.tolist(), np.split(values[order], begins[1:]), strict=True) if len(present) else ()


def _regions_of(directory: Directory, chosen: list[bool]) -> list[str]:
    """The geohashes of the regions of the chosen ranges, in Z-order."""
    if not any(chosen):
        return []
    cells = np.unique(directory.cells)
    inside = np.array(chosen)[range_of(directory.bounds, cells)]
    return [str(text) for text in cells_to_strings(cells[inside])]


def _timestamp(at_ms: Any, now_ms: int) -> int:
    whole = isinstance(at_ms, (int, np.integer)) and not isinstance(at_ms, bool)
    if not whole or not 0 <= at_ms < 1 << 63:
        raise InputError(f"at_ms is {at_ms!r}; expected an integer, the milliseconds since the epoch")
    if at_ms > now_ms + CLOCK_AHEAD_MS_MAX:  # nothing later would be believed until then
        raise InputError(f"at_ms is {at_ms - now_ms:,} ms ahead of this driver's clock; check the observer's")
    return int(at_ms)


def _observation(
    directory: Directory, handles: ArrayLike, latency_ms: ArrayLike, ok: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
    """Check one batch; a failed observation becomes NaN, which never survives."""
    given = np.asarray(handles)
    if given.dtype.kind not in "ui" or given.ndim != 1:
        raise InputError(f"handles are {given.dtype}{list(given.shape)}; expected the uint32[n] of fleet.handles")
    latencies = columns.numbers("latency_ms", latency_ms)
    columns.check_lengths(handles=given, latency_ms=latencies)
    columns.check_latencies(latencies)
    nodes = len(directory.fleet)
    if given.size and not (int(given.min()) >= 0 and int(given.max()) < nodes):
        raise InputError(f"handles reach {int(given.max())}; fleet {directory.fleet.name!r} has {nodes:,} nodes")
    if ok is not None:
        answered = np.asarray(ok)
        if answered.dtype != np.bool_ or answered.ndim != 1:
            raise InputError(f"ok is {answered.dtype}{list(answered.shape)}; expected bool[n]")
        columns.check_lengths(handles=given, ok=answered)
        latencies = np.where(answered, latencies, np.nan)
    return latencies, given.astype(np.uint32)
