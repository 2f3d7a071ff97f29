"""The driver's control plane: what is known of nodes, and the answers of all ranges made into one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial as delayed
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray import columns
from faultset_ray.backend.protocol import Backend, Net
from faultset_ray.control.answer import Survivors
from faultset_ray.control.compose import RegionPart, compose
from faultset_ray.control.dryrun import DryRun
from faultset_ray.control.explain import Verdict
from faultset_ray.control.ladder import Tier
from faultset_ray.control.missing import Missing, Told
from faultset_ray.control.prober import PLACES
from faultset_ray.control.ranges import plan_bounds, ranges_for
from faultset_ray.control.recording import Recording
from faultset_ray.control.region import Region
from faultset_ray.control.states import Mark
from faultset_ray.coordinator.directory import Directory, Founded, RangeInfo, Registered
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.deadline import Deadline, wait_within
from faultset_ray.driver.directories import Known
from faultset_ray.driver.following import parted
from faultset_ray.driver.gathering import Gathered, gather
from faultset_ray.driver.keeper import Keeper, address, orders, split
from faultset_ray.driver.layouts import Layouts
from faultset_ray.driver.metering import tell_observed, told_answer
from faultset_ray.driver.naming import Named
from faultset_ray.driver.observations import check_batch, check_deadline, check_ids, check_times
from faultset_ray.driver.planning import Plan
from faultset_ray.errors import (
    ClusterError,
    EmptyNodesError,
    FaultsetError,
    InputError,
    RegionTimeout,
    UnknownNode,
)
from faultset_ray.errors.base import shown
from faultset_ray.geohash import cells_to_strings, encode_many
from faultset_ray.limits import CALL_SECONDS
from faultset_ray.model import Fleet, OnDuplicate
from faultset_ray.policy import Policy
from faultset_ray.telemetry import events

_REGISTERED = "the nodes are registered, and these regions learn of them as soon as they can be reached"
_MARKS = {"drain": Mark.DRAIN, "pin": Mark.PIN, None: Mark.NONE}


class Fleets:
    """The fleets of one system, as one driver sees them."""

    def __init__(
        self, backend: Backend, keeper: Keeper, regions_max: int | None, policies: Mapping[str, Policy]
    ) -> None:
        self._backend = backend
        self._keeper = keeper
        self._authority = keeper.authority
        self._regions_max = regions_max
        self._policies = policies
        """What fleets of these names are registered with."""
        self._layouts = Layouts()
        self._named = Named()
        self._ahead = False
        self._recordings: list[Recording] = []

    # -- What is durable

    async def register(
        self,
        nodes: Any,
        precision: int,
        fleet: str | None,
        on_duplicate: OnDuplicate | None,
        policy: Policy | None,
        deadline_s: float | None,
    ) -> Fleet:
        """See :meth:`AsyncDriver.register <faultset_ray.driver.asynchronous.AsyncDriver.register>`."""
        deadline = None if deadline_s is None else Deadline(self._backend, check_deadline(deadline_s))
        columns.check_precision(precision)
        if policy is not None:
            _check_policy(policy)
        given = await self._backend.compute(_named, nodes, fleet, on_duplicate)
        cells, ranges_max, known = await asyncio.gather(
            self._backend.compute(encode_many, given.lat, given.lon, precision),
            self._ranges_max(given),
            self._keeper.is_registered(given.name, CALL_SECONDS if deadline is None else deadline.left_s()),
        )
        registering = asyncio.ensure_future(
            self._authority.ask_within(
                CALL_SECONDS if deadline is None else deadline.left_s(),
                Coordinator.register,
                given,
                cells,
                precision,
                ranges_max,
                self._backend.now_ms(),
                self._policies.get(given.name) if policy is None else policy,
                self._request(),
                self._keeper.name,
                brief=True,
            )
        )
        try:
            if not known:
                bounds = await self._backend.compute(plan_bounds, cells, ranges_max)
                self._keeper.expect(given.name, len(bounds))
            registered = await registering
        except BaseException:
            registering.cancel()
            self._keeper.begin(self._keeper.forgo(given.name))
            raise
        made = registered.directory
        directory = made.directory(given, cells, precision) if isinstance(made, Founded) else made
        self._keeper.learn(directory)
        bringing = self._keeper.begin(self._bring(directory, registered))
        await wait_within(None if deadline is None else deadline.left_s(), [bringing])
        failed = bringing.result() if bringing.done() else registered.touched
        if failed and deadline is not None:
            missing = await self._backend.compute(_missing, directory, failed)
            raise RegionTimeout(missing.regions, _regions(directory), deadline.seconds, _REGISTERED)
        for error in bringing.result().values():
            raise error
        return given.with_handles(registered.handles)

    async def remove(self, ids: Any, fleet: str, deadline_s: float) -> Told:
        """See :meth:`AsyncDriver.remove <faultset_ray.driver.asynchronous.AsyncDriver.remove>`."""
        columns.check_name("fleet", fleet)
        deadline = Deadline(self._backend, check_deadline(deadline_s))
        changed = await self._authority.ask_within(
            deadline.seconds, Coordinator.remove, fleet, check_ids(ids), self._request()
        )
        after = self._keeper.learn(changed.directory)
        untold = await self._keeper.load_all(changed.directory, changed.touched, timeout_s=deadline.left_s())
        return Told(len(changed.handles), await self._backend.compute(_missing, after, untold))

    async def mark(self, ids: Any, mark: Any, fleet: str, deadline_s: float) -> Told:
        """See :meth:`AsyncDriver.mark <faultset_ray.driver.asynchronous.AsyncDriver.mark>`."""
        if mark is not None and (not isinstance(mark, str) or mark not in _MARKS):
            raise InputError(f'mark is {shown(mark)}; expected "drain", "pin" or None')
        deadline = Deadline(self._backend, check_deadline(deadline_s))
        before = await self._keeper.directory(fleet, deadline_s)
        changed = await self._authority.ask_within(
            deadline.left_s(), Coordinator.mark, fleet, check_ids(ids), _MARKS[mark], self._request()
        )
        after = self._keeper.learn(changed.directory)
        telling = {
            position: self._keeper.begin(self._keeper.mark(before, changed.directory, position, handles))
            for position, handles in split(changed.directory.positions(changed.handles), changed.handles)
        }
        await wait_within(deadline.left_s(), telling.values())
        untold = [
            changed.directory.ranges[position].id
            for position, task in telling.items()
            if not (task.done() and task.result())
        ]
        return Told(len(changed.handles), await self._backend.compute(_missing, after, untold))

    async def set_policy(self, policy: Policy, fleet: str, deadline_s: float) -> None:
        """See :meth:`AsyncDriver.set_policy <faultset_ray.driver.asynchronous.AsyncDriver.set_policy>`."""
        columns.check_name("fleet", fleet)
        directory = await self._authority.ask_within(
            check_deadline(deadline_s), Coordinator.set_policy, fleet, _check_policy(policy), self._request()
        )
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

    async def handles(self, ids: Any, fleet: str, deadline_s: float) -> NDArray[np.uint32]:
        """See :meth:`AsyncDriver.handles <faultset_ray.driver.asynchronous.AsyncDriver.handles>`."""
        wanted = check_ids(ids)
        known = await self._keeper.known(fleet, check_deadline(deadline_s))
        try:
            return await self._backend.compute(self._named.handles, known.directory, wanted)
        except UnknownNode:
            directory = await self._keeper.directory(fleet, deadline_s)  # they may have come since
            return await self._backend.compute(self._named.handles, directory, wanted)

    # -- Observations

    async def observe(
        self,
        handles: ArrayLike,
        latency_ms: ArrayLike,
        ok: ArrayLike | None,
        at_ms: Any,
        fleet: str,
        deadline_s: float,
    ) -> Told:
        """See :meth:`AsyncDriver.observe <faultset_ray.driver.asynchronous.AsyncDriver.observe>`."""
        now_ms = self._backend.now_ms()
        deadline = Deadline(self._backend, check_deadline(deadline_s))
        known = await self._keeper.known(fleet, deadline_s)
        try:
            batch = check_batch(known.directory, handles, latency_ms, ok)
        except InputError:
            if known.error is None:
                raise
            known = Known(await self._keeper.directory(fleet, deadline.left_s()))  # nodes may have come since
            batch = check_batch(known.directory, handles, latency_ms, ok)
        directory, (checked, latencies, answered) = known.directory, batch
        times = check_times(at_ms, len(checked), now_ms)
        told, net = orders(directory), self._backend.within(deadline.left_s())

        async def tell(info: RangeInfo, chosen: NDArray[np.intp]) -> int | None:
            columns_ = checked[chosen], latencies[chosen], answered[chosen], times[chosen]
            try:
                return await net.call(address(fleet, info), Region.observe, info.epoch, told, now_ms, *columns_)
            except ClusterError as error:
                self._keeper.lost(directory, info, error)
                return None

        parts = [
            (directory.ranges[position], chosen)
            for position, chosen in split(directory.positions(checked), np.arange(len(checked)))
        ]
        taken = await asyncio.gather(*(tell(info, chosen) for info, chosen in parts))
        tell_observed(fleet, sum(count or 0 for count in taken), len(checked))
        untold = {
            info.id: directory.cells[checked[chosen]]
            for (info, chosen), count in zip(parts, taken, strict=True)
            if count is None
        }
        self._recordings = [recording for recording in self._recordings if not recording.closed]
        for recording in self._recordings:
            if recording.fleet == fleet:
                whose = directory.fleet.ids[checked], directory.cells[checked]
                await self._backend.compute(recording.take, *whose, latencies, answered, times)
        return Told(sum(count or 0 for count in taken), Missing(untold))

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
            known = self._layouts.known(directory, info)
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

        async with told_answer(self._backend, fleet) as answered:
            found = await gather(self._keeper, fleet, check_deadline(deadline_s), ask, lambda part: part)
            answer = await self._answer(found, found.parts, threshold, at_ms, deadline_s, partial=partial)
            answered(whole=answer.whole)
        return answer

    async def why(self, node_id: str, fleet: str, deadline_s: float) -> Verdict:
        """See :meth:`AsyncDriver.why <faultset_ray.driver.asynchronous.AsyncDriver.why>`."""
        deadline, [node] = Deadline(self._backend, check_deadline(deadline_s)), check_ids([node_id])
        known = await self._keeper.known(fleet, deadline_s)
        [*found] = np.flatnonzero((known.directory.fleet.ids == node) & known.directory.living)
        if not found and known.error is not None:  # it may have come since
            known = Known(await self._keeper.directory(fleet, deadline.left_s()))
            [*found] = np.flatnonzero((known.directory.fleet.ids == node) & known.directory.living)
        if not found:
            raise UnknownNode(node, fleet, 1)
        directory, handle = known.directory, int(found[0])
        while True:
            [region] = cells_to_strings(directory.cells[handle : handle + 1]).tolist()
            info = _holder(directory, handle)
            try:
                verdict = await self._backend.within(deadline.left_s()).call(
                    address(fleet, info),
                    Region.why,
                    info.epoch,
                    orders(directory),
                    self._backend.now_ms(),
                    handle,
                    node,
                    region,
                )
                break
            except ClusterError as error:
                self._keeper.lost(directory, info, error)
                if deadline.left_s() > 0:  # it may have given way to others just now, or have a successor
                    directory = (await self._keeper.known(fleet, deadline.left_s())).directory
                holder = _holder(directory, handle)
                if (holder.id, holder.epoch) == (info.id, info.epoch) or deadline.left_s() <= 0:
                    seconds = round(deadline.passed_s(), 3)
                    raise RegionTimeout([region], _regions(directory), seconds, str(error)) from error
        return replace(verdict, tier=int(Tier.OWN)) if verdict.survives else verdict

    async def plan(self, policy: Policy, fleet: str, deadline_s: float, *, partial: bool) -> Plan:
        """See :meth:`AsyncDriver.plan <faultset_ray.driver.asynchronous.AsyncDriver.plan>`."""
        _check_policy(policy)
        at_ms = self._backend.now_ms()

        def ask(directory: Directory, info: RangeInfo, net: Net) -> Awaitable[tuple[RegionPart, RegionPart, DryRun]]:
            return net.call(
                address(fleet, info), Region.plan, info.epoch, orders(directory), self._backend.now_ms(), policy
            )

        found = await gather(self._keeper, fleet, check_deadline(deadline_s), ask, lambda answer: answer[0])
        live = {range_id: answer[0] for range_id, answer in found.parts.items()}
        planned = {range_id: answer[1] for range_id, answer in found.parts.items()}
        return Plan(
            policy,
            await self._answer(found, live, None, at_ms, deadline_s, partial=partial),
            await self._answer(found, planned, None, at_ms, deadline_s, partial=partial, policy=policy),
            found.directory.fleet.ids,
            [answer[2] for answer in found.parts.values()],
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

    async def _ranges_max(self, fleet: Fleet) -> int:
        """Into how many ranges a new fleet is cut."""
        if fleet.name == PLACES:
            return 1
        if self._regions_max is not None:
            return self._regions_max
        cpus = sum(place.cpus for place in await self._backend.places())
        return ranges_for(len(fleet), int(2 * cpus))

    async def _bring(self, directory: Directory, registered: Registered) -> Mapping[int, FaultsetError]:
        """Tell ranges what was registered; by range, what could not be mended."""
        arrivals = await parted(self._keeper, directory, registered.leaving)
        return await self._keeper.load_all(directory, registered.touched, arrivals)

    async def _answer(
        self,
        found: Gathered[Any],
        parts: dict[int, RegionPart],
        threshold: float | None,
        at_ms: int,
        deadline_s: float,
        *,
        partial: bool,
        policy: Policy | None = None,
    ) -> Survivors:
        directory = found.directory
        lost = [info.id for info in directory.ranges if info.id not in parts]
        missing = await self._backend.compute(_missing, directory, lost, found.saved_ms, at_ms) if lost else Missing({})
        if missing and not partial:
            raise await self._backend.compute(RegionTimeout, missing.regions, _regions(directory), deadline_s)
        decided = None if threshold is not None else policy or directory.policy
        ordered = {info.id: parts[info.id] for info in directory.ranges if info.id in parts}
        layout = await self._backend.compute(self._layouts.of, directory, ordered) if parts else None
        return Survivors(
            directory.fleet.name,
            threshold if threshold is not None else (policy or directory.policy).threshold_ms,
            at_ms,
            directory.fleet.ids,
            delayed(compose, list(ordered.values()), decided, layout, missing),
            {range_id: (part.epoch, part.version) for range_id, part in parts.items()},
            missing,
            policy=decided,
            directory_age_ms=found.directory_age_ms,
            clock_ahead_ms=self._ahead_ms(parts),
            birth=directory.birth,
        )

    def _ahead_ms(self, parts: Mapping[int, RegionPart]) -> int:
        """By how much this driver's clock is too far ahead; said once, loudly."""
        ahead_ms = max((part.ahead_ms for part in parts.values()), default=0)
        if ahead_ms and not self._ahead:
            events.CLOCK_AHEAD.tell(ahead_ms=ahead_ms)
        self._ahead = ahead_ms > 0
        return ahead_ms


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


def _holder(directory: Directory, handle: int) -> RangeInfo:
    """The range that a node is in."""
    return directory.ranges[int(directory.positions(np.array([handle]))[0])]


def _missing(
    directory: Directory, lost: Iterable[int], saved_ms: Mapping[int, int] | None = None, at_ms: int = 0
) -> Missing:
    """The regions of some ranges that have nodes."""
    return Missing({range_id: directory.cells[directory.members(range_id)] for range_id in lost}, saved_ms, at_ms)


def _regions(directory: Directory) -> int:
    """How many regions have nodes."""
    return len(np.unique(directory.cells[directory.living]))
