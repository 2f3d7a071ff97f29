"""Nodes that leave a range: their rows are carried to the range that they are registered in now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.passage import Rows
from faultset_ray.control.region import Region
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.driver.keeper import Keeper, address, orders, split
from faultset_ray.errors import ClusterError

Handles = NDArray[np.uint32]


async def parted(keeper: Keeper, directory: Directory, leaving: Mapping[int, Handles]) -> dict[int, Rows]:
    """Let ranges park the rows of nodes that leave them, and give these by the range that each node is in now.

    Their states then stay what they are until the new range has them. What can't be reached is left out: it is
    followed up later.

    Parameters
    ----------
    leaving
        By range, the handles of the nodes that the directory has elsewhere now.
    """
    fleet, told = directory.fleet.name, orders(directory)

    async def part(info: RangeInfo, handles: Handles) -> Rows:
        now_ms = keeper.backend.now_ms()
        try:
            rows = await keeper.backend.call(
                address(fleet, info), Region.part, info.epoch, told, now_ms, info.roster, handles
            )
            await _secured(keeper, fleet, info)  # so that who watches is told first what was here
        except ClusterError as error:
            keeper.lost(directory, info, error)
            return Rows.none()
        return rows

    chosen = [(info, leaving[info.id]) for info in directory.ranges if info.id in leaving]
    found = await asyncio.gather(*(part(info, handles) for info, handles in chosen))
    return _by_range(directory, Rows.joined([Rows.none(), *found]))


async def follow(keeper: Keeper, directory: Directory, info: RangeInfo) -> None:
    """Look where the nodes are that a range has parked, and let it forget those that are safe elsewhere or removed.

    Of a node that was removed, the range that it was in last tells it, also where the row comes from another. A
    range that is not reached keeps what it has parked; a later call goes on.
    """
    fleet, backend, told = directory.fleet.name, keeper.backend, orders(directory)
    region = address(fleet, info)
    rows = await backend.call(region, Region.parked, info.epoch)
    roster = int(rows.rosters.max(initial=0))
    if not len(rows) or roster > directory.version:
        return  # if another driver knows more, it follows them
    by_range = _by_range(directory, rows)
    own = by_range.pop(info.id, Rows.none()).handles
    removed = own[~directory.living[own]]
    if by_range:
        await _secured(keeper, fleet, info)
    for range_id, arriving in by_range.items():
        target = directory.find(range_id)
        assert target is not None, "a range of this directory"
        there = address(fleet, target)
        await backend.call(there, Region.adopt, target.epoch, told, backend.now_ms(), arriving)
        await _secured(keeper, fleet, target)
    adopted = rows.handles[~np.isin(rows.handles, own)]
    await backend.call(region, Region.followed, info.epoch, told, backend.now_ms(), roster, removed, adopted)


async def _secured(keeper: Keeper, fleet: str, info: RangeInfo) -> None:
    """Save what is new of a range.

    Raises
    ------
    StaleEpoch
        It gives way to others: it may have something new that is not saved.
    """
    if not await keeper.save(fleet, info, whole=False):
        await keeper.backend.call(address(fleet, info), Region.parked, info.epoch)


def _by_range(directory: Directory, rows: Rows) -> dict[int, Rows]:
    parts = split(directory.positions(rows.handles), np.arange(len(rows)))
    return {directory.ranges[position].id: rows.of(np.isin(np.arange(len(rows)), chosen)) for position, chosen in parts}
