"""Ranges that give way to others: splits, merges and drains, all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faultset_ray.backend.protocol import At
from faultset_ray.control.checkpoint import Checkpoint, divided
from faultset_ray.control.region import Region
from faultset_ray.coordinator.moves import Move
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.keeper import Keeper, address
from faultset_ray.errors import ClusterError
from faultset_ray.telemetry import events


async def move_ranges(keeper: Keeper, fleet: str, range_ids: Sequence[int], bounds: Sequence[int], at: At) -> None:
    """Let neighbouring ranges give way to new ones with these lower bounds; no state and no answer is lost.

    Observations that come while the old ranges are sealed and the new ones not yet there are lost, as any may be.

    Parameters
    ----------
    at
        Where the servants of the new ranges are to run.

    Raises
    ------
    ClusterError
        It was given up, or will be by the next steward: the old ranges stay.
    """
    move = await keeper.authority.ask(Coordinator.begin_move, fleet, range_ids, bounds)
    try:
        await _carry_out(keeper, move, at)
    except ClusterError:
        await give_up(keeper, move)
        raise


async def _carry_out(keeper: Keeper, move: Move, at: At) -> None:
    fleet, backend = move.fleet, keeper.backend
    await asyncio.gather(*(keeper.spawn(fleet, info, at) for info in move.targets))
    sealed = await asyncio.gather(
        *(
            backend.call(address(fleet, info), Region.seal, info.epoch, backend.now_ms(), move.id)
            for info in move.sources
        )
    )
    parts = await backend.compute(divided, sealed, np.array([info.lower for info in move.targets], np.uint64))
    directory = await keeper.directory(fleet)
    kept = [info for info in directory.ranges if info.id not in {source.id for source in move.sources}]
    coming = replace(directory, ranges=tuple(sorted([*kept, *move.targets], key=lambda info: info.lower)))

    async def bring_up(number: int, part: Checkpoint) -> None:
        info = move.targets[number]
        await keeper.authority.ask(Coordinator.save, fleet, info.id, info.epoch, part)
        await keeper.load(coming, info, coming.members(info.id), part)

    await asyncio.gather(*(bring_up(number, part) for number, part in enumerate(parts)))
    last = {info.id: checkpoint.without_health() for info, checkpoint in zip(move.sources, sealed, strict=True)}
    committed = await keeper.authority.ask(Coordinator.commit_move, fleet, move.id, last)
    keeper.learn(committed)
    old, new = [info.id for info in move.sources], [info.id for info in move.targets]
    events.RANGES_MOVED.tell(ranges=old, fleet=fleet, to=new)
    meanwhile = [info.id for info in committed.ranges if info.id in new and info not in move.targets]
    await keeper.load_all(committed, meanwhile)  # nodes were registered, marked or removed
    await asyncio.gather(*(backend.stop(address(fleet, info)) for info in move.sources))


async def give_up(keeper: Keeper, move: Move) -> None:
    """Let the old ranges of a move go on, and end what was brought up of the new ones."""
    directory = await keeper.authority.ask(Coordinator.abort_move, move.fleet, move.id)
    keeper.learn(directory)
    if any(directory.find(info.id) for info in move.targets):
        return  # it was committed after all
    for info in move.sources:
        now = directory.find(info.id)
        if now is not None:
            try:
                await keeper.backend.call(address(move.fleet, now), Region.unseal, now.epoch, move.id)
            except ClusterError as error:
                keeper.lost(directory, now, error)
    await asyncio.gather(*(keeper.backend.stop(address(move.fleet, info)) for info in move.targets))
