"""The driver's control plane: what is known of nodes, and the answers of all ranges made into one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial as delayed
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray import columns
from faultset_ray.backend.protocol import Backend, Net
from faultset_ray.control.answer import Survivors
from faultset_ray.control.compose import RegionPart, compose
from faultset_ray.control.dryrun import DryRun
from faultset_ray.control.explain import Verdict
from faultset_ray.control.ladder import Tier
from faultset_ray.control.policy import Policy
from faultset_ray.control.prober import PLACES
from faultset_ray.control.ranges import range_of
from faultset_ray.control.recording import Recording
from faultset_ray.control.region import Region
from faultset_ray.control.states import Mark
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.following import parted
from faultset_ray.driver.keeper import Keeper, address, orders, split
from faultset_ray.driver.layouts import Layouts
from faultset_ray.driver.observations import check_batch, check_deadline, check_ids, check_times
from faultset_ray.driver.planning import Plan
from faultset_ray.errors import (
    ClusterError,
    CoordinatorUnavailable,
    EmptyNodesError,
    InputError,
    RegionTimeout,
    UnknownNode,
)
from faultset_ray.errors.base import shown
from faultset_ray.geohash import cells_to_strings, encode_many
from faultset_ray.limits import RANGES_SPARED
from faultset_ray.model import Fleet, OnDuplicate

R = TypeVar("R")

_AGES_SECONDS = 0.5
_MARKS = {"drain": Mark.DRAIN, "pin": Mark.PIN, None: Mark.NONE}


class Fleets:
    """The fleets of one system, as one driver sees them."""

    def __init__(self, backend: Backend, keeper: Keeper, regions_max: int | None) -> None:
        self._backend = backend
        self._keeper = keeper
        self._authority = keeper.authority
        self._regions_max = regions_max
        self._layouts = Layouts()
        self._recordings: list[Recording] = []

    # -- What is durable

    async def register(
        self, nodes: Any, precision: int, fleet: str | None, on_duplicate: OnDuplicate | None, policy: Policy | None
    ) -> Fleet:
        """See :meth:`AsyncDriver.register <faultset_ray.driver.asynchronous.AsyncDriver.register>`."""
        columns.check_precision(precision)
        if policy is not None:
            _check_policy(policy)
        given = await self._backend.compute(_named, nodes, fleet, on_duplicate)
        cells = await self._backend.compute(encode_many, given.lat, given.lon, precision)
        registered = await self._authority.ask(
            Coordinator.register,
            given,
            cells,
            precision,
            await self._ranges_max(given.name),
            self._backend.now_ms(),
            policy,
            self._request(),
            self._keeper.name,
        )
        self._keeper.learn(registered.directory)
        arrivals = await parted(self._keeper, registered.directory, registered.leaving)
        if failed := await self._keeper.load_all(registered.directory, registered.touched, arrivals):
            raise failed[0]
        return given.with_handles(registered.handles)

    async def remove(self, ids: Any, fleet: str) -> int:
        """See :meth:`AsyncDriver.remove <faultset_ray.driver.asynchronous.AsyncDriver.remove>`."""
        columns.check_name("fleet", fleet)
        changed = await self._authority.ask(Coordinator.remove, fleet, check_ids(ids), self._request())
        self._keeper.learn(changed.directory)
        await self._keeper.load_all(changed.directory, changed.touched)
        return len(changed.handles)

    async def mark(self, ids: Any, mark: Any, fleet: str) -> int:
        """See :meth:`AsyncDriver.mark <faultset_ray.driver.asynchronous.AsyncDriver.mark>`."""
        if mark is not None and (not isinstance(mark, str) or mark not in _MARKS):
            raise InputError(f'mark is {shown(mark)}; expected "drain", "pin" or None')
        before = await self._keeper.directory(fleet)
        chosen = check_ids(ids)
        changed = await self._authority.ask(Coordinator.mark, fleet, chosen, _MARKS[mark], self._request())
        self._keeper.learn(changed.directory)
        await asyncio.gather(
            *(
                self._keeper.mark(before, changed.directory, position, handles)
                for position, handles in split(changed.directory.positions(changed.handles), changed.handles)
            )
        )
        return len(changed.handles)

    async def set_policy(self, policy: Policy, fleet: str) -> None:
        """See :meth:`AsyncDriver.set_policy <faultset_ray.driver.asynchronous.AsyncDriver.set_policy>`."""
        columns.check_name("fleet", fleet)
        directory = await self._authority.ask(Coordinator.set_policy, fleet, _check_policy(policy), self._request())
        self._keeper.learn(directory)

    async def fleet(self, name: str) -> Fleet:
        """See :meth:`AsyncDriver.fleet <faultset_ray.driver.asynchronous.AsyncDriver.fleet>`."""
        directory = await self._keeper.directory(name)
        kept = np.flatnonzero(directory.living)
        known = directory.fleet
        if not len(kept):
            raise EmptyNodesError
        nodes = Fleet.of_checked(known.ids[kept], known.lat[kept], known.lon[kept], known.latency_ms[kept], name=name)
        return nodes.with_handles(kept)

    # -- Observations

    async def observe(
        self, handles: ArrayLike, latency_ms: ArrayLike, ok: ArrayLike | None, at_ms: Any, fleet: str
    ) -> int:
        """See :meth:`AsyncDriver.observe <faultset_ray.driver.asynchronous.AsyncDriver.observe>`."""
        now_ms = self._backend.now_ms()
        directory = await self._keeper.directory(fleet)
        checked, latencies, answered = check_batch(directory, handles, latency_ms, ok)
        times = check_times(at_ms, len(checked), now_ms)
        told = orders(directory)

        async def tell(info: RangeInfo, chosen: NDArray[np.intp]) -> int:
            columns_ = checked[chosen], latencies[chosen], answered[chosen], times[chosen]
            try:
                return await self._backend.call(
                    address(fleet, info), Region.observe, info.epoch, told, now_ms, *columns_
                )
            except ClusterError as error:
                self._keeper.lost(directory, info, error)
                return 0

        parts = split(directory.positions(checked), np.arange(len(checked)))
        taken = sum(await asyncio.gather(*(tell(directory.ranges[position], chosen) for position, chosen in parts)))
        self._recordings = [recording for recording in self._recordings if not recording.closed]
        for recording in self._recordings:
            if recording.fleet == fleet:
                whose = directory.fleet.ids[checked], directory.cells[checked]
                await self._backend.compute(recording.take, *whose, latencies, answered, times)
        return taken

    def record(self, path: Any, fleet: str) -> Recording:
        """See :meth:`AsyncDriver.record <faultset_ray.driver.asynchronous.AsyncDriver.record>`."""
        recording = Recording(path, fleet)
        self._recordings.append(recording)
        return recording

    def end_recordings(self) -> None:
        """Close the files of recordings; what went wrong with one was logged."""
        for recording in self._recordings:
            with suppress(OSError):
                recording.close()

    # -- Answers

    async def survivors(self, threshold_ms: float | None, fleet: str, deadline_s: float, *, partial: bool) -> Survivors:
        """See :meth:`AsyncDriver.survivors <faultset_ray.driver.asynchronous.AsyncDriver.survivors>`."""
        threshold = None if threshold_ms is None else columns.check_threshold(threshold_ms)
        at_ms = self._backend.now_ms()

        async def ask(directory: Directory, info: RangeInfo, net: Net) -> RegionPart:
            known = self._layouts.known(fleet, info)
            part = await net.call(
                address(fleet, info),
                Region.survivors,
                info.epoch,
                orders(directory),
                self._backend.now_ms(),
                threshold,
                known.roster if known else 0,
            )
            return (
                replace(part, cells=known.cells, first=known.first) if known and part.roster == known.roster else part
            )

        directory, parts = await self._gather(fleet, deadline_s, ask, lambda part: part.roster)
        return await self._answer(directory, parts, threshold, at_ms, deadline_s, partial=partial)

    async def why(self, node_id: str, fleet: str, deadline_s: float) -> Verdict:
        """See :meth:`AsyncDriver.why <faultset_ray.driver.asynchronous.AsyncDriver.why>`."""
        deadline_s, [node] = check_deadline(deadline_s), check_ids([node_id])
        directory = await self._keeper.directory(fleet, deadline_s)
        [*found] = np.flatnonzero((directory.fleet.ids == node) & directory.living)
        if not found:
            raise UnknownNode(node, fleet, 1)
        handle = int(found[0])
        [region] = cells_to_strings(directory.cells[handle : handle + 1]).tolist()
        [position] = directory.positions(np.array([handle]))
        info = directory.ranges[position]
        try:
            verdict = await self._backend.within(deadline_s).call(
                address(fleet, info),
                Region.why,
                info.epoch,
                orders(directory),
                self._backend.now_ms(),
                handle,
                node,
                region,
            )
        except ClusterError as error:
            self._keeper.lost(directory, info, error)
            raise RegionTimeout([region], len(np.unique(directory.cells)), deadline_s) from error
        return replace(verdict, tier=int(Tier.OWN)) if verdict.survives else verdict

    async def plan(self, policy: Policy, fleet: str, deadline_s: float, *, partial: bool) -> Plan:
        """See :meth:`AsyncDriver.plan <faultset_ray.driver.asynchronous.AsyncDriver.plan>`."""
        _check_policy(policy)
        at_ms = self._backend.now_ms()

        def ask(directory: Directory, info: RangeInfo, net: Net) -> Awaitable[tuple[RegionPart, RegionPart, DryRun]]:
            return net.call(
                address(fleet, info), Region.plan, info.epoch, orders(directory), self._backend.now_ms(), policy
            )

        directory, answers = await self._gather(fleet, deadline_s, ask, lambda answer: answer[0].roster)
        live = {range_id: answer[0] for range_id, answer in answers.items()}
        planned = {range_id: answer[1] for range_id, answer in answers.items()}
        return Plan(
            policy,
            await self._answer(directory, live, None, at_ms, deadline_s, partial=partial),
            await self._answer(directory, planned, None, at_ms, deadline_s, partial=partial, policy=policy),
            directory.fleet.ids,
            [answer[2] for answer in answers.values()],
        )

    async def stop(self) -> None:
        """End every region of the system."""
        for fleet in await self._authority.ask(Coordinator.fleets):
            directory = await self._keeper.directory(fleet)
            await asyncio.gather(*(self._backend.stop(address(fleet, info)) for info in directory.ranges))

    # -- Inside

    def _request(self) -> bytes:
        """An id that makes a change safe to repeat."""
        return self._backend.token(16)

    async def _ranges_max(self, fleet: str) -> int:
        if fleet == PLACES:
            return 1
        if self._regions_max is not None:
            return self._regions_max
        cpus = sum(place.cpus for place in await self._backend.places())
        return max(RANGES_SPARED, int(2 * cpus))

    async def _gather(
        self,
        fleet: str,
        deadline_s: float,
        ask: Callable[[Directory, RangeInfo, Net], Awaitable[R]],
        roster_of: Callable[[R], int],
    ) -> tuple[Directory, dict[int, R]]:
        """The answers of all ranges that answer in time about all their nodes, by range.

        Where ranges were split or merged meanwhile, their successors are asked.
        """
        deadline_s = check_deadline(deadline_s)
        began_ms = self._backend.now_ms()

        def left_s() -> float:
            return max(deadline_s - (self._backend.now_ms() - began_ms) / 1000, 0.0)

        async def answer(directory: Directory, info: RangeInfo, net: Net) -> R | None:
            try:
                return await ask(directory, info, net)
            except ClusterError as error:
                self._keeper.lost(directory, info, error)
                return None

        directory = await self._keeper.directory(fleet, deadline_s)
        answers: dict[tuple[int, int], R | None] = {}
        while True:
            asked = [info for info in directory.ranges if (info.id, info.epoch) not in answers]
            net = self._backend.within(left_s())
            found = await asyncio.gather(*(answer(directory, info, net) for info in asked))
            answers |= {(info.id, info.epoch): part for info, part in zip(asked, found, strict=True)}
            behind = any(part is None or roster_of(part) > info.roster for info, part in zip(asked, found, strict=True))
            if not behind or left_s() <= 0:
                break
            try:  # a range may have given way to others just now, or got more nodes by another driver
                directory = await self._keeper.directory(fleet, left_s())
            except CoordinatorUnavailable:
                break
            if all((info.id, info.epoch) in answers for info in directory.ranges):
                break
        parts: dict[int, R] = {}
        for info in directory.ranges:
            part = answers.get((info.id, info.epoch))
            if part is not None and roster_of(part) == info.roster:
                parts[info.id] = part
            elif part is not None and roster_of(part) < info.roster:
                self._keeper.restore(directory, info, succeed=False)  # a registration was cut short
        return directory, parts

    async def _answer(
        self,
        directory: Directory,
        parts: dict[int, RegionPart],
        threshold: float | None,
        at_ms: int,
        deadline_s: float,
        *,
        partial: bool,
        policy: Policy | None = None,
    ) -> Survivors:
        missing = [info for info in directory.ranges if info.id not in parts]
        regions = {info.id: _regions_of(directory, info) for info in missing}
        named = [region for listed in regions.values() for region in listed]
        if named and not partial:
            raise RegionTimeout(named, len(np.unique(directory.cells)), deadline_s)
        decided = None if threshold is not None else policy or directory.policy
        ordered = {info.id: parts[info.id] for info in directory.ranges if info.id in parts}
        layout = await self._backend.compute(self._layouts.of, directory.fleet.name, ordered) if parts else None
        return Survivors(
            directory.fleet.name,
            threshold if threshold is not None else (policy or directory.policy).threshold_ms,
            at_ms,
            directory.fleet.ids,
            delayed(compose, list(ordered.values()), decided, layout),
            {range_id: (part.epoch, part.version) for range_id, part in parts.items()},
            named,
            policy=decided,
            missing_age_ms=await self._ages(directory, regions, at_ms),
        )

    async def _ages(self, directory: Directory, missing: dict[int, list[str]], at_ms: int) -> dict[str, int | None]:
        """How old is what is saved of each missing region."""
        if not missing:
            return {}
        try:
            saved_ms = await self._authority.ask_within(_AGES_SECONDS, Coordinator.saved_ms, directory.fleet.name)
        except ClusterError:
            saved_ms = {}
        return {
            region: max(at_ms - saved_ms[range_id], 0) if range_id in saved_ms else None
            for range_id, regions in missing.items()
            for region in regions
        }


def _named(nodes: Any, name: str | None, on_duplicate: OnDuplicate | None) -> Fleet:
    """Nodes as a fleet of a name; by default the one that they have, if they are a fleet."""
    if name is not None:
        columns.check_name("fleet", name)
    fleet = Fleet.of(nodes, name=name or "default", on_duplicate=on_duplicate)
    columns.check_name("fleet", fleet.name)
    if name is None or name == fleet.name:
        return fleet
    return Fleet.of_checked(fleet.ids, fleet.lat, fleet.lon, fleet.latency_ms, name=name)


def _check_policy(policy: Any) -> Policy:
    if not isinstance(policy, Policy):
        raise InputError(f"policy is {shown(policy)}; expected a faultset_ray.Policy")
    return policy


def _regions_of(directory: Directory, info: RangeInfo) -> list[str]:
    """The geohashes of the regions of a range that have nodes, in Z-order."""
    cells = np.unique(directory.cells[directory.living])
    position = [each.id for each in directory.ranges].index(info.id)
    inside = cells[range_of(directory.bounds, cells) == position]
    return [str(text) for text in cells_to_strings(inside)]
