"""When and where ranges move: split under load, merged when it falls, packed so that places become empty."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from faultset_ray.backend.protocol import Addr, At, Load
from faultset_ray.control.messages import Census
from faultset_ray.control.packing import plan_packing
from faultset_ray.control.prober import PLACES
from faultset_ray.control.ranges import RangeLoad, Reshape, Shaper, Sizing
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.driver.keeper import REGION_PREFIX, Keeper, address
from faultset_ray.driver.moves import move_ranges
from faultset_ray.errors import ClusterError
from faultset_ray.limits import PACK_SECONDS, RANGES_SPARED, REGION_CPUS
from faultset_ray.telemetry import events

Counted = Sequence[tuple[RangeInfo, Census]]


class Shaping:
    """Moves of one steward's system, one at a time, beside its other work."""

    def __init__(self, keeper: Keeper, sizing: Sizing | None = None) -> None:
        self._keeper = keeper
        self._sizing = sizing or Sizing(ranges_min=RANGES_SPARED)
        self._shapers: dict[str, Shaper] = {}
        self._samples: dict[tuple[str, int, int], tuple[int, int]] = {}
        """Of each range's servant, when its observations were last counted, and how many there were."""
        self._packed_ms = 0
        self._strays: set[str] = set()
        """Servants that belonged to no range when last looked: a driver died before it ended them, or is about to."""
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a move is under way."""
        return self._task is not None and not self._task.done()

    def shape(self, directory: Directory, counted: Counted) -> None:
        """Take a fleet's census; begin to split or merge what has asked for it for long enough."""
        fleet, now_ms = directory.fleet.name, self._keeper.backend.now_ms()
        if fleet == PLACES or len(counted) < len(directory.ranges):
            return
        loads = [
            RangeLoad(info.id, info.lower, census.nodes, self._rate(fleet, info, census, now_ms))
            for info, census in counted
        ]
        shaper = self._shapers.setdefault(fleet, Shaper(self._sizing))
        reshape = shaper.step(loads, directory.cells[directory.living], now_ms)
        if reshape is not None and not self.busy:
            at = At(cpus=REGION_CPUS, pack=len(reshape.bounds) < len(reshape.range_ids))
            self._begin(fleet, reshape, at)

    @property
    def due(self) -> bool:
        """Whether it is time to look at the places."""
        return not self.busy and self._keeper.backend.now_ms() - self._packed_ms >= 1000 * PACK_SECONDS

    async def pack(self, loads: Sequence[Load], directories: Sequence[Directory]) -> None:
        """End what is left of ranges that are no more; begin to move a range if on fewer places some could leave.

        Parameters
        ----------
        loads
            Of all places, looked at before the directories: then what they know of and these don't is no more.
        directories
            Of all fleets.
        """
        self._packed_ms = self._keeper.backend.now_ms()
        ranges = {
            address(directory.fleet.name, info).name: (directory.fleet.name, info)
            for directory in directories
            for info in directory.ranges
        }
        found = {name for load in loads for name in load.servants if name.startswith(REGION_PREFIX)} - ranges.keys()
        strays, self._strays = found & self._strays, found
        for name in strays:
            events.RANGE_SERVANT_ENDED.tell(servant=name)
        await asyncio.gather(*(self._keeper.backend.stop(Addr(name)) for name in strays))
        movable = {name: REGION_CPUS for name, (fleet, _) in ranges.items() if fleet != PLACES}
        plan = plan_packing(loads, movable)
        if plan and not self.busy:
            name = next(iter(plan))  # one place after the other
            fleet, info = ranges[name]
            self._packed_ms = 0  # the next one follows as soon as this is done
            self._begin(fleet, Reshape((info.id,), (info.lower,)), At(place=plan[name], soft=True, cpus=REGION_CPUS))

    async def close(self) -> None:
        """End; a move that is cut short is given up by the next steward."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- Inside

    def _begin(self, fleet: str, reshape: Reshape, at: At) -> None:
        self._task = asyncio.ensure_future(self._move(fleet, reshape, at))

    async def _move(self, fleet: str, reshape: Reshape, at: At) -> None:
        try:
            await move_ranges(self._keeper, fleet, reshape.range_ids, reshape.bounds, at)
        except ClusterError as error:
            events.RANGES_STAY.tell(ranges=reshape.range_ids, fleet=fleet, error=error)

    def _rate(self, fleet: str, info: RangeInfo, census: Census, now_ms: int) -> float:
        """Observations a second since the last census."""
        key = fleet, info.id, info.epoch
        before_ms, before = self._samples.get(key, (now_ms, census.samples))
        self._samples[key] = now_ms, census.samples
        return 1000 * (census.samples - before) / (now_ms - before_ms) if now_ms > before_ms else 0.0
