"""Ranges that give way to others: splits, merges and drains, all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faultset_ray.control.checkpoint import Checkpoint, divided
from faultset_ray.control.region import Region
from faultset_ray.coordinator.moves import Move
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.keeper import Keeper, address
from faultset_ray.errors import ClusterError

_LOG = logging.getLogger(__name__)


async def move_ranges(keeper: Keeper, fleet: str, range_ids: Sequence[int], bounds: Sequence[int]) -> None:
    """Let neighbouring ranges give way to new ones with these lower bounds; no state and no answer is lost.

    Raises
    ------
    ClusterError
        It was given up, or will be by the next steward: the old ranges stay.
    """
    move = await keeper.authority.ask(Coordinator.begin_move, fleet, range_ids, bounds)
    try:
        await carry_out(keeper, move)
    except ClusterError:
        await give_up(keeper, move)
        raise


async def carry_out(keeper: Keeper, move: Move) -> None:
    """Carry a move on that was begun, by this driver or by another that is gone."""
    fleet = move.fleet
    sealed = await asyncio.gather(
        *(
            keeper.backend.call(address(fleet, info), Region.seal, info.epoch, keeper.backend.now_ms())
            for info in move.sources
        )
    )
    bounds = np.array([info.lower for info in move.targets], np.uint64)
    parts = await keeper.backend.compute(divided, sealed, bounds)
    directory = await keeper.directory(fleet)
    position = [info.id for info in directory.ranges].index(move.sources[0].id)
    ranges = list(directory.ranges)
    ranges[position : position + len(move.sources)] = move.targets
    coming = replace(directory, ranges=tuple(ranges))

    async def bring_up(number: int, part: Checkpoint) -> None:
        info = move.targets[number]
        await keeper.authority.ask(Coordinator.save, fleet, info.id, info.epoch, part)
        await keeper.load(coming, info, coming.members(info.id), part)

    await asyncio.gather(*(bring_up(number, part) for number, part in enumerate(parts)))
    last = {info.id: checkpoint.without_health() for info, checkpoint in zip(move.sources, sealed, strict=True)}
    committed = keeper.learn(await keeper.authority.ask(Coordinator.commit_move, fleet, move.id, last))
    _LOG.info(
        "ranges %s of fleet %r gave way to %s",
        *([info.id for info in move.sources], fleet, [info.id for info in move.targets]),
    )
    stale = [info.id for info in committed.ranges if info not in move.targets]
    await keeper.load_all(committed, [info.id for info in move.targets if info.id in stale])  # registered meanwhile
    await asyncio.gather(*(keeper.backend.stop(address(fleet, info)) for info in move.sources))


async def give_up(keeper: Keeper, move: Move) -> None:
    """Let the old ranges of a move go on, and end what was brought up of the new ones."""
    directory = keeper.learn(await keeper.authority.ask(Coordinator.abort_move, move.fleet, move.id))
    if any(directory.find(info.id) for info in move.targets):
        return  # it was committed after all
    for info in move.sources:
        now = directory.find(info.id)
        if now is not None:
            try:
                await keeper.backend.call(address(move.fleet, now), Region.unseal, now.epoch)
            except ClusterError as error:
                keeper.lost(directory, now, error)
    await asyncio.gather(*(keeper.backend.stop(address(move.fleet, info)) for info in move.targets))
