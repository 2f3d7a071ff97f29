"""What no range sees alone, and the steward tells them: that most of the fleet fails at once, and who is in panic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from faultset_ray.backend.protocol import Net
from faultset_ray.control.compose import RegionPart, compose
from faultset_ray.control.messages import Census
from faultset_ray.control.ranges import range_of
from faultset_ray.control.region import Region
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.keeper import Keeper, address, orders
from faultset_ray.errors import ClusterError
from faultset_ray.limits import CENSUS_SECONDS

R = TypeVar("R")
Counted = Sequence[tuple[RangeInfo, Census]]


async def tell_freeze(keeper: Keeper, directory: Directory, counted: Counted) -> None:
    """Tell the coordinator how the ranges are, and them whether ejections are frozen."""
    fleet, now_ms = directory.fleet.name, keeper.backend.now_ms()
    told = [census.condition for _, census in counted]
    freeze = await keeper.authority.ask_within(CENSUS_SECONDS, Coordinator.census, fleet, told, now_ms)
    if freeze is not None:

        def tell(info: RangeInfo, net: Net) -> Awaitable[None]:
            region, by = address(fleet, info), orders(directory)
            return net.call(region, Region.freeze, info.epoch, by, now_ms, freeze.since_ms, freeze.until_ms)

        await _all(keeper, directory, tell)


async def tell_panic(keeper: Keeper, directory: Directory) -> None:
    """Tell the ranges which of their regions are in panic, if all ranges say what they have."""
    fleet, by = directory.fleet.name, orders(directory)

    def ask(info: RangeInfo, net: Net) -> Awaitable[RegionPart]:
        return net.call(address(fleet, info), Region.survivors, info.epoch, by, keeper.backend.now_ms(), None)

    parts = await _all(keeper, directory, ask)
    if len(parts) < len(directory.ranges):
        return
    composed = await keeper.backend.compute(compose, parts, directory.policy)
    cells = np.empty(0, np.uint64)
    if composed.shortage is not None:
        cells = composed.cells[composed.shortage.groups[composed.shortage.panic]]
    position = range_of(directory.bounds, cells)

    def tell(info: RangeInfo, net: Net) -> Awaitable[None]:
        inside = cells[position == directory.ranges.index(info)]
        return net.call(address(fleet, info), Region.panic, info.epoch, by, keeper.backend.now_ms(), inside)

    await _all(keeper, directory, tell)


async def _all(keeper: Keeper, directory: Directory, ask: Callable[[RangeInfo, Net], Awaitable[R]]) -> list[R]:
    """The answers of all ranges that give one."""
    net = keeper.backend.within(CENSUS_SECONDS)

    async def one(info: RangeInfo) -> list[R]:
        try:
            return [await ask(info, net)]
        except ClusterError as error:
            keeper.lost(directory, info, error)
            return []

    return list(chain.from_iterable(await asyncio.gather(*map(one, directory.ranges))))
