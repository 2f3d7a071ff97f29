"""One question to all ranges of a fleet, within one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from faultset_ray.backend.protocol import Net
from faultset_ray.control.compose import RegionPart
from faultset_ray.control.messages import Orders
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.deadline import Deadline
from faultset_ray.driver.keeper import Keeper
from faultset_ray.errors import ClusterError

R = TypeVar("R")

_AGES_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Gathered(Generic[R]):
    """What was answered in time."""

    directory: Directory
    directory_age_ms: int
    """Since when it was not confirmed by the coordinator; 0 where it is of now."""
    parts: dict[int, R]
    """The answers, by range."""
    saved_ms: dict[int, int]
    """Where ranges are missing: when what is saved of each range was made."""


async def gather(
    keeper: Keeper,
    fleet: str,
    deadline_s: float,
    ask: Callable[[Directory, RangeInfo, Net], Awaitable[R]],
    part_of: Callable[[R], RegionPart],
) -> Gathered[R]:
    """The answers of all ranges that answer in time about all their nodes, by one policy.

    Where ranges were split or merged meanwhile, their successors are asked; where one has a newer policy than the
    directory, as another driver set it just now, the others are asked by that, and the directory returned has it.

    Raises
    ------
    CoordinatorUnavailable
        Neither it nor any range answered, or nothing is known of the fleet.
    """
    deadline = Deadline(keeper.backend, deadline_s)

    def roster_of(found: R) -> int:
        return part_of(found).roster

    async def answer(directory: Directory, info: RangeInfo, net: Net) -> R | None:
        try:
            return await ask(directory, info, net)
        except ClusterError as error:
            keeper.lost(directory, info, error)
            return None

    known = first = await keeper.known(fleet, deadline_s)
    late = asyncio.ensure_future(_saved_late(keeper, fleet, deadline))
    try:
        answers: dict[tuple[int, int], tuple[R | None, int]] = {}
        """With each, by which version of the policy it was made."""
        latest: Orders | None = None

        def waits(directory: Directory, info: RangeInfo) -> bool:
            """Whether the range is still to be asked; one that gave no answer is not asked again."""
            if (info.id, info.epoch) not in answers:
                return True
            part, version = answers[info.id, info.epoch]
            return part is not None and version < directory.policy_version

        while True:
            directory = _ordered(known.directory, latest)
            asked = [info for info in directory.ranges if waits(directory, info)]
            if not asked:
                break
            net = keeper.backend.within(deadline.left_s())
            found = await asyncio.gather(*(answer(directory, info, net) for info in asked))
            behind = False
            for info, part in zip(asked, found, strict=True):
                newer = None if part is None else part_of(part).newer
                answers[info.id, info.epoch] = part, directory.policy_version if newer is None else newer.version
                latest = max(filter(None, (latest, newer)), key=lambda each: each.version, default=None)
                behind |= part is None or newer is not None or roster_of(part) > info.roster
            if not behind or deadline.left_s() <= 0:
                break
            # a range may have given way to others just now, or got more nodes or a policy by another driver
            known = await keeper.known(fleet, deadline.left_s())
        directory = _ordered(known.directory, latest)
        parts: dict[int, R] = {}
        for info in directory.ranges:
            part = None if waits(directory, info) else answers[info.id, info.epoch][0]
            if part is not None and roster_of(part) == info.roster:
                parts[info.id] = part
            elif part is not None and roster_of(part) < info.roster:
                keeper.restore(directory, info, succeed=False)  # a registration was cut short
        if not parts and first.error is not None:
            raise first.error
        missing = len(parts) < len(directory.ranges)
        saved_ms = await _saved(keeper, fleet, deadline, late) if missing else {}
        return Gathered(directory, known.age_ms, parts, saved_ms)
    finally:
        late.cancel()


def _ordered(directory: Directory, latest: Orders | None) -> Directory:
    """A directory with the policy that a range has, where that is newer."""
    if latest is None or latest.version <= directory.policy_version:
        return directory
    return replace(directory, policy=latest.policy, policy_version=latest.version)


async def _saved(keeper: Keeper, fleet: str, deadline: Deadline, late: asyncio.Task[dict[int, int]]) -> dict[int, int]:
    """When what is saved of each range was made, as far as the coordinator tells before the deadline."""
    if deadline.left_s() > _reserve_s(deadline):
        return await _ask_saved(keeper, fleet, min(deadline.left_s(), _AGES_SECONDS))
    return await late


async def _saved_late(keeper: Keeper, fleet: str, deadline: Deadline) -> dict[int, int]:
    """The same, asked a little before the deadline, since by then a range is likely to miss it."""
    await keeper.backend.sleep(max(deadline.left_s() - _reserve_s(deadline), 0.0))
    return await _ask_saved(keeper, fleet, deadline.left_s())


def _reserve_s(deadline: Deadline) -> float:
    return min(_AGES_SECONDS, deadline.seconds / 4)


async def _ask_saved(keeper: Keeper, fleet: str, seconds: float) -> dict[int, int]:
    saved_ms: dict[int, int] = {}
    with suppress(ClusterError):
        saved_ms = await keeper.authority.ask_within(seconds, Coordinator.saved_ms, fleet)
    return saved_ms
