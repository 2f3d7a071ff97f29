"""Changes of a fleet as they happen: pulled at the reader's pace, each once, resumable."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from faultset_ray.control.alarms import NOBODY
from faultset_ray.control.checkpoint import Checkpoint
from faultset_ray.control.journal import Events
from faultset_ray.control.messages import Tail
from faultset_ray.control.region import Region
from faultset_ray.control.states import Mark, Named, Rule, State
from faultset_ray.control.versions import Version, Versions
from faultset_ray.coordinator.directory import Directory, RangeInfo
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.deadline import Deadline, wait_within
from faultset_ray.driver.keeper import Keeper, address, orders
from faultset_ray.errors import (
    CallTimeout,
    CoordinatorUnavailable,
    HistoryLost,
    OtherHistory,
    PlaceUnreachable,
    StaleEpoch,
)
from faultset_ray.geohash import cells_to_strings
from faultset_ray.limits import TAIL_SECONDS, WATCH_EVENTS, WATCH_SECONDS
from faultset_ray.plain import finite
from faultset_ray.telemetry import events


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one node: who, from what, to what, and why."""

    id: str
    handle: int
    region: str
    """The one that it was in then."""
    at_ms: int
    before: State
    """Equal to ``after`` where only the node's mark changed."""
    after: State
    rule: Rule
    """Why; it says what ``value`` and ``threshold`` are."""
    value: float | None
    threshold: float | None
    survived: bool
    """Whether it was a survivor before, and is one now; the answer of the policy also counts its mark."""
    survives: bool
    mark: Mark
    """The mark that it has now."""
    range: int
    version: int
    """Of the range: there it holds from this version on."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, enumerations by their labels, infinity as ``"inf"``."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class RegionChange:
    """What began or ended in a region: shortage, panic, or a freeze of ejections."""

    region: str | None
    """None: in all regions of the range, as a freeze is; ranges that take over go on with it."""
    at_ms: int
    rule: Rule
    """``SHORT`` until ``ENOUGH``, ``PANIC`` until ``CALM``, ``FROZEN`` until ``THAWED``."""
    value: float | None
    """Of ``SHORT`` and ``ENOUGH``: how many survivors it has, and how many it needs."""
    threshold: float | None
    range: int
    version: int
    """Of the range: there it holds from this version on."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, enumerations by their labels, infinity as ``"inf"``."""
        return _plain(self)


class Watch:
    """An asynchronous iterator of changes, of nodes and of regions, without end unless it is given an idle time.

    It asks only when everything that it has was taken, so that a slow reader makes it wait. Nothing is
    lost or seen twice, also where a range's servant dies, or ranges are split and merged: only changes that
    were saved are given out. While the coordinator is away it waits for it, however long that takes, unless it is given
    an idle time, or the coordinator's state has died with it. Several tasks may read one watch: they take turns, and
    each change goes to one of them.
    """

    def __init__(
        self, keeper: Keeper, fleet: str, since: Versions | None, idle_s: float | None, deadline_s: float
    ) -> None:
        self._keeper = keeper
        self._fleet = fleet
        self._versions = None if since is None else since.copy()
        self._idle_s = idle_s
        self._deadline_s = deadline_s
        self._pulled: deque[Change | RegionChange] = deque()
        self._reached: dict[int, Version] = {}
        """Where the ranges are once all that was pulled is given out."""
        self._retired: dict[int, tuple[int, ...]] = {}
        """Of those, the ones that are no more, and their successors."""
        self._late: dict[RangeInfo, asyncio.Task[Tail | None]] = {}
        """Questions about what is new, to ranges that the others don't wait for."""
        self._turn = asyncio.Lock()
        """Of the reader that looks for the next change; what it pulls is for all."""
        self._told_ms = 0
        """When the last change was given out."""
        self._away = False
        """Whether the coordinator is, and it was said."""

    @property
    def versions(self) -> Versions:
        """What to watch ``since`` to go on behind the last change that was given out."""
        return Versions() if self._versions is None else self._versions.copy()

    def __aiter__(self) -> Self:
        return self

    async def start(self) -> Self:
        """Find out from where to watch, if that was left open: from now on."""
        if self._versions is None:
            deadline = Deadline(self._keeper.backend, self._deadline_s)
            directory = await self._keeper.directory(self._fleet, self._deadline_s)
            asked = [(info, self._keeper.begin(self._ask(directory, info, None))) for info in directory.ranges]
            await wait_within(deadline.left_s(), [asking for _, asking in asked])
            begins = {
                info.id: (info.epoch, tail.version)
                for info, asking in asked
                if asking.done() and (tail := asking.result()) is not None
            }
            if len(begins) < len(asked):
                for _, asking in asked:
                    asking.cancel()
                # nobody was told more than what was saved, so there news begins
                saved = await self._keeper.authority.ask(Coordinator.saved_versions, self._fleet)
                begins = {info.id: saved.get(info.id, (info.epoch, 0)) for info in directory.ranges} | begins
            self._versions = Versions(begins, directory.birth)
        return self

    async def __anext__(self) -> Change | RegionChange:
        asked_ms = self._keeper.backend.now_ms()
        async with self._turn:
            await self.start()
            while not self._pulled:
                away = await self._pull_if_there()
                if not self._pulled:
                    waited_ms = self._keeper.backend.now_ms() - max(asked_ms, self._told_ms)
                    if self._idle_s is not None and waited_ms >= 1000 * self._idle_s:
                        raise away or StopAsyncIteration
                    await self._keeper.backend.sleep(WATCH_SECONDS)
            change = self._pulled.popleft()
            assert self._versions is not None
            epoch, _ = self._reached[change.range]
            self._versions[change.range] = epoch, change.version
            self._told_ms = self._keeper.backend.now_ms()
            if not self._pulled:
                self._arrive()
            return change

    # -- Inside

    async def _pull_if_there(self) -> CoordinatorUnavailable | None:
        """Get what is new; while the coordinator is away, nothing is lost: why it is, where it may come back."""
        try:
            await self._pull()
        except CoordinatorUnavailable as error:
            if self._keeper.authority.lost:
                raise
            if not self._away:
                events.WATCH_WAITS.tell(fleet=self._fleet, error=error)
            self._away = True
            return error
        if self._away:
            events.WATCH_GOES_ON.tell(fleet=self._fleet)
        self._away = False
        return None

    async def _pull(self) -> None:
        """Get what is new: first of ranges that gave way to others, so that a node's changes keep their order."""
        assert self._versions is not None
        directory = await self._keeper.directory(self._fleet)
        if directory.birth != self._versions.birth:
            raise OtherHistory(self._fleet, self._versions.birth, directory.birth)
        living = {info.id: info for info in directory.ranges}
        waiting = sorted(range_id for range_id in self._versions if range_id not in living)
        events: dict[int, Events] = {}
        reached: dict[int, Version] = {}
        retired: dict[int, tuple[int, ...]] = {}
        while waiting:  # the oldest first: what a range gave way to has a higher id
            oldest = waiting.pop(0)
            last, children, since = await self._last_of(oldest)
            events[oldest], retired[oldest] = last.events.after_version(since), children
            reached[oldest] = last.epoch, max(since, last.version)
            waiting += [child for child in children if child not in living and child not in [*events, *waiting]]
            if not _tells_moves(events):
                waiting.clear()
        if not retired or _tells_moves(events):
            tails = await self._tails(directory)
            if _tells_moves(events | {info.id: tail.events for info, tail in tails}):
                # what nodes did before they left another range was saved first; if it does not answer, they wait for it
                tails = await self._tails(directory, anew=True)
                if len(tails) < len(directory.ranges):
                    tails = [] if retired else [(info, _before_moves(tail)) for info, tail in tails]
                    events, reached, retired = {}, {}, {}
            events |= {info.id: tail.events for info, tail in tails}
            reached |= {info.id: (info.epoch, tail.version) for info, tail in tails}
        self._reached, self._retired = reached, retired
        await self._put(directory, events)
        if not self._pulled:
            self._arrive()

    async def _tails(self, directory: Directory, *, anew: bool = False) -> list[tuple[RangeInfo, Tail]]:
        """What is new of the ranges that tell soon.

        What others tell later is taken then: a range is asked once at a time, so that goes on from where it still is.
        With ``anew`` only what was asked for now is taken.
        """
        assert self._versions is not None
        late, self._late = self._late, {}
        for info in late.keys() - {*directory.ranges}:
            late.pop(info).cancel()  # another servant, or others in its place
        asked = {
            info: self._keeper.begin(self._ask(directory, info, self._versions.get(info.id, (0, 0))))
            for info in directory.ranges
            if info not in late
        }
        await wait_within(TAIL_SECONDS, asked.values())
        found = []
        for info in directory.ranges:
            asking = asked.get(info) or late[info]
            if not asking.done() or (anew and info in late):
                self._late[info] = asking
            elif (tail := asking.result()) is not None:
                found.append((info, tail))
        return found

    async def _last_of(self, range_id: int) -> tuple[Checkpoint, tuple[int, ...], int]:
        """What is left of a range that gave way to others, to which, and from which version on it is news."""
        assert self._versions is not None
        epoch, version = self._versions.get(range_id, (0, 0))
        retired = await self._keeper.authority.ask(Coordinator.retired, self._fleet, range_id)
        if retired is None:
            raise HistoryLost(version, -1)
        since = retired.last.since_of(epoch, version)
        if since < retired.last.floor:
            raise HistoryLost(since, retired.last.floor)
        return retired.last, retired.children, since

    async def _ask(self, directory: Directory, info: RangeInfo, since: tuple[int, int] | None) -> Tail | None:
        """What a range has behind a version, or with None where it is now; None where it does not answer."""
        region, told = address(self._fleet, info), orders(directory)

        async def ask() -> Tail:
            now_ms = self._keeper.backend.now_ms()
            return await self._keeper.backend.call(
                region, Region.changes, info.epoch, told, now_ms, since, WATCH_EVENTS
            )

        try:
            tail = await ask()
            if tail.unsaved and not len(tail.events) and await self._keeper.save(self._fleet, info, whole=False):
                tail = await ask()
        except (PlaceUnreachable, CallTimeout, StaleEpoch) as error:
            self._keeper.lost(directory, info, error)
            return None
        return tail

    async def _put(self, directory: Directory, events: Mapping[int, Events]) -> None:
        named = [found.handle[found.handle != NOBODY] for found in events.values()]
        if any(int(handles.max(initial=0)) >= len(directory.fleet) for handles in named):
            directory = await self._keeper.directory(self._fleet)  # nodes were registered just now
        changes = [change for range_id, found in events.items() for change in _changes(directory, range_id, found)]
        changes.sort(key=lambda change: change.at_ms)  # stable: of one range by version
        self._pulled.extend(changes)

    def _arrive(self) -> None:
        """All that was pulled is given out: go on from there, and from retired ranges to those after them."""
        assert self._versions is not None
        self._versions.update(self._reached)
        for range_id, children in self._retired.items():
            self._versions.pop(range_id, None)
            for child in set(children) - self._retired.keys():
                self._versions.setdefault(child, (0, 0))
        self._reached, self._retired = {}, {}


def _tells_moves(events: Mapping[int, Events]) -> bool:
    """Whether a node came from another range."""
    return any((found.rule == Rule.MOVED).any() for found in events.values())


def _before_moves(tail: Tail) -> Tail:
    """What a range has until a node came to it from elsewhere."""
    moves = np.flatnonzero(tail.events.rule == Rule.MOVED)
    if not len(moves):
        return tail
    version = int(tail.events.version[moves[0]]) - 1
    return replace(tail, events=tail.events.until_version(version), version=version, more=True)


def _changes(directory: Directory, range_id: int, events: Events) -> Iterator[Change | RegionChange]:
    nodes = np.where(events.handle == NOBODY, 0, events.handle)
    ids = directory.fleet.ids[nodes].tolist()
    regions = cells_to_strings(np.where(events.cell > 0, events.cell, directory.cells[nodes])).tolist()
    of = {name: column.tolist() for name, column in events.to_columns().items()}
    for row, (node_id, region) in enumerate(zip(ids, regions, strict=True)):
        if of["handle"][row] == NOBODY:
            yield RegionChange(
                region=region if of["cell"][row] else None,
                at_ms=of["at_ms"][row],
                rule=Rule(of["rule"][row]),
                value=_known(of["value"][row]),
                threshold=_known(of["threshold"][row]),
                range=range_id,
                version=of["version"][row],
            )
            continue
        yield Change(
            id=node_id,
            handle=of["handle"][row],
            region=region,
            at_ms=of["at_ms"][row],
            before=State(of["before"][row]),
            after=State(of["after"][row]),
            rule=Rule(of["rule"][row]),
            value=_known(of["value"][row]),
            threshold=_known(of["threshold"][row]),
            survived=of["survived"][row],
            survives=of["survives"][row],
            mark=Mark(of["mark"][row]),
            range=range_id,
            version=of["version"][row],
        )


def _plain(change: Change | RegionChange) -> dict[str, Any]:
    return {name: value.label if isinstance(value, Named) else finite(value) for name, value in asdict(change).items()}


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN
