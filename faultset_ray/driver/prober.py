"""Probing: what a driver does to keep the answer about the system's own places true."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from faultset_ray import columns
from faultset_ray.backend.protocol import LABEL_STORE, At, Backend, Place
from faultset_ray.backend.wire import EchoAddress
from faultset_ray.control.prober import (
    HERE,
    Finding,
    Prober,
    Trip,
    Votes,
    observers_of,
    peers_of,
    prober_of,
    stretched,
    survey_by_calls,
)
from faultset_ray.driver.places import POLICY, Feed, Verbs
from faultset_ray.driver.targets import Targets, check_texts
from faultset_ray.errors import BackendClosed, CallTimeout, ClusterError, FaultsetError, InputError, PlaceUnreachable
from faultset_ray.errors.base import shown
from faultset_ray.model import Fleet
from faultset_ray.objects.bucket import Bucket
from faultset_ray.policy import Policy
from faultset_ray.telemetry import events, tracing

_SURVEY_ROUNDS = 4
"""Places survey each other once in so many rounds of the driver."""
_PEERS = 3
"""Whom a place surveys in one turn, and who are asked about a place that did not answer."""
_REFRESH_SECONDS = 1.0
_RESPAWN_SECONDS = 1.0
"""A prober that is gone for so long is replaced."""
_GRACE_SECONDS = 0.5
"""What a call may take beyond the time that its method was given."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, how patiently and how much is probed; see :meth:`AsyncDriver.probe`."""

    every_s: float = 0.2
    timeout_s: float = 1.0
    rate: float = 200.0
    concurrent: int = 16

    def __post_init__(self) -> None:
        """Refuse what can't be.

        Raises
        ------
        InputError
        """
        for name in ("every_s", "timeout_s", "rate"):
            if not 0 < columns.as_float(getattr(self, name)) < math.inf:
                raise InputError(f"{name} is {shown(getattr(self, name))}; expected a number above 0")
        if not columns.is_integer(self.concurrent) or self.concurrent < 1:
            raise InputError(f"concurrent is {shown(self.concurrent)}; expected an integer of at least 1")


@dataclass(slots=True, eq=False)
class _Watched:
    """One place under watch."""

    place: Place
    echo: EchoAddress | None = None
    """Where others reach its prober; None where round trips are those of calls."""
    is_met: bool = False
    """Whether ``echo`` is that of the prober that is there now."""
    up: bool = False
    """Whether its prober was ever there."""
    reached: bool | None = None
    """What the driver's last ping met."""
    since_s: float = 0.0
    """When the first of the pings that met the same began."""
    turn: int = 0
    is_told: bool = False
    """Whether the fleet of places ever got a finding."""
    spawning: asyncio.Task[None] | None = None
    tasks: tuple[asyncio.Task[None], ...] = ()


class _Answer(NamedTuple):
    """What a call to a prober met."""

    reached: bool
    is_gone: bool
    """Whether its process is."""


class Probing:
    """Probes under way, from :meth:`AsyncDriver.probe <faultset_ray.driver.asynchronous.AsyncDriver.probe>`.

    An asynchronous context manager; it ends with :meth:`stop`, or with its driver.
    """

    def __init__(
        self,
        backend: Backend,
        verbs: Verbs,
        pace: Pace,
        labels: Mapping[str, str] | None,
        fleet: Fleet | None = None,
        targets: Mapping[str, str] | None = None,
        role: type[Prober] = Prober,
        policy: Policy = POLICY,
    ) -> None:
        self._backend = backend
        self._verbs = verbs
        self._feed = Feed(verbs, policy)
        self._pace = pace
        self._labels = None if labels is None else check_texts("labels", labels)
        self._role = role
        burst = max(pace.rate * pace.every_s, 1.0)
        self._bucket = Bucket(backend, pace.rate, burst)
        """Pings, and who is asked where one had no answer, never wait; surveys wait for what they leave."""
        self._left = Bucket(backend, pace.rate, burst)
        """Servers wait for what all of these leave."""
        self._targets = Targets(backend, fleet, targets, pace.timeout_s, pace.concurrent, self._left)
        self._watched: dict[str, _Watched] = {}
        self._findings: dict[str, Finding] = {}
        self._untold: set[str] = set()
        self._news = asyncio.Event()
        self._votes = Votes()
        self._tasks: list[asyncio.Task[None]] = []

    # -- For users

    @property
    def findings(self) -> dict[str, Finding]:
        """What was found of each place last: ``{place: (reached, latency_ms)}``."""
        return dict(self._findings)

    def round_trips(self) -> dict[tuple[str, str], float | None]:
        """The latest round trip in ms of each pair ``(from, to)`` that was measured; None for no answer.

        ``""`` stands for this driver, whose round trips are those of calls.
        """
        return {(source, target): trip.rtt_ms for source, target, trip in self._votes.table()}

    def ways(self) -> dict[str, float]:
        """The latest round trip in seconds of this driver's calls to each place that answered."""
        trips = self._votes.of(HERE)
        return {place: trip.rtt_ms / 1000 for place, trip in trips.items() if trip.rtt_ms is not None}

    async def measured(self) -> dict[str, Finding]:
        """Wait until there is a finding on every place and the fleet ``"places"`` has it; return all."""
        while not self._watched or not all(watched.is_told for watched in self._watched.values()):
            self._check_running()
            await self._backend.sleep(self._pace.every_s / 4)
        return self.findings

    async def stop(self) -> None:
        """End the probes; what they found grows old. The probers stay, for other drivers of the system."""
        tasks = [*self._tasks, *(task for watched in self._watched.values() for task in _tasks_of(watched))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- Rounds

    async def start(self) -> Self:
        """Begin with the places that are there now."""
        await self._refresh()
        self._tasks = [self._task(self._again(lambda: _REFRESH_SECONDS, self._refresh)), self._task(self._tell())]
        if len(self._targets):
            self._tasks.append(self._task(self._again(self._survey_period, self._measure_targets)))
        return self

    def _task(self, work: Any) -> asyncio.Task[None]:
        task = tracing.apart(work)
        task.add_done_callback(_ended)
        return task

    async def _again(self, period_s: Callable[[], float], step: Callable[[], Awaitable[None]]) -> None:
        """Take a step now and then, at moments that differ from those of others."""
        while True:
            spread = int.from_bytes(self._backend.token(2), "little") / 0xFFFF
            await self._backend.sleep(period_s() * (0.9 + 0.2 * spread))
            try:
                await step()
            except BackendClosed:
                return
            except FaultsetError as error:
                events.PROBE_FAILED.tell(error=error)

    def _period(self) -> float:
        """The time between two pings of a place, within the rate: half of it where there are servers, however many."""
        pace, places = self._pace, len(self._watched)
        surveyed = places * min(_PEERS, max(places - 1, 0))
        rate = pace.rate / 2 if len(self._targets) else pace.rate
        return stretched(pace.every_s, rate, (places + surveyed / _SURVEY_ROUNDS) / pace.every_s)

    def _pay(self, probes: int) -> None:
        """Count what does not wait."""
        self._bucket.pay(probes)
        self._left.pay(probes)

    def _survey_period(self) -> float:
        return self._period() * _SURVEY_ROUNDS

    def _window(self) -> float:
        """How long a measurement counts as evidence: two surveys of a place."""
        return 2 * self._survey_period() + self._pace.timeout_s

    async def _refresh(self) -> None:
        """Watch the places that came, forget those that went."""
        found = {place.id: place for place in await self._backend.places() if self._is_probed(place)}
        for gone in sorted(self._watched.keys() - found.keys()):
            await self._forget(gone)
        for place in found.values():
            if place.id not in self._watched:
                self._watch(place)
        await self._feed.drain(found.values())

    def _is_probed(self, place: Place) -> bool:
        """Whether a place gets a prober. By default those that come and go don't: it would keep them from going."""
        if self._labels is None:
            return not place.elastic or place.labels.get(LABEL_STORE) == "true"
        return self._labels.items() <= place.labels.items()

    def _watch(self, place: Place) -> None:
        watched = self._watched[place.id] = _Watched(place)
        watched.spawning = self._task(self._spawn(watched))
        watched.tasks = (
            self._task(self._again(self._period, partial(self._ping, watched))),
            self._task(self._again(self._survey_period, partial(self._survey, watched))),
        )

    async def _forget(self, place: str) -> None:
        watched = self._watched.pop(place)
        for task in _tasks_of(watched):
            task.cancel()
        self._votes.forget(place)
        self._findings.pop(place, None)
        self._untold.discard(place)
        await self._feed.remove(place)

    async def _spawn(self, watched: _Watched) -> None:
        """Bring the prober of a place up."""
        place = watched.place
        try:
            await self._backend.spawn(self._role, prober_of(place.id).name, place.host, at=At(place=place.id))
            watched.up = True
        except BackendClosed:
            return
        except FaultsetError as error:
            events.PROBER_MISSING.tell(place=place.id, error=error)
            await self._backend.sleep(_RESPAWN_SECONDS)  # the next ping tries again
        finally:
            watched.spawning = None

    async def _ping(self, watched: _Watched) -> None:
        """Ask the prober of a place whether it is there, and others where that has changed."""
        if not watched.up:
            self._respawn(watched)
            return
        begun_s = self._backend.uptime_s()
        answer = await self._call(watched)
        if answer is None:
            return
        if answer.reached != watched.reached:
            watched.reached, watched.since_s = answer.reached, begun_s
            asked = self._witnesses(watched)
            self._pay(len(asked))
            witnesses = [self._survey_from(peer, [watched]) for peer in asked]
            again = [] if answer.reached or answer.is_gone else [self._ping_again(watched)]
            await asyncio.gather(*witnesses, *again)
        self._judge(watched)
        if answer.is_gone:
            watched.is_met = False  # whoever answers next may be its successor, with another echo
            if self._backend.uptime_s() - watched.since_s > _RESPAWN_SECONDS:
                self._respawn(watched)

    async def _ping_again(self, watched: _Watched) -> None:
        """Ask once more, while others are asked: one lost message is no lost place."""
        answer = await self._call(watched)
        if answer is not None:
            watched.reached = answer.reached

    async def _call(self, watched: _Watched) -> _Answer | None:
        """Call a prober and note what that met; None where the fault is here."""
        place, timeout_s = watched.place.id, self._pace.timeout_s
        begun_s = self._backend.uptime_s()
        rtt_ms, is_gone = None, False
        self._pay(1)
        try:
            await self._backend.within(timeout_s).call(prober_of(place), Prober.ping)
        except BackendClosed:
            raise
        except CallTimeout:
            if self._backend.uptime_s() - begun_s > timeout_s + _GRACE_SECONDS:
                return None  # it comes so late that it is this process that hung
        except ClusterError as error:
            is_gone = isinstance(error, PlaceUnreachable)
        else:
            rtt_ms = (self._backend.uptime_s() - begun_s) * 1000
            await self._meet(watched)
        self._votes.add(HERE, place, Trip(begun_s, rtt_ms))
        return _Answer(rtt_ms is not None, is_gone)

    async def _meet(self, watched: _Watched) -> None:
        """Learn where the echo of a prober listens that has just answered."""
        if not watched.is_met:
            net = self._backend.within(self._pace.timeout_s)
            with suppress(PlaceUnreachable, CallTimeout):  # then the next ping tries again
                watched.echo = await net.call(prober_of(watched.place.id), Prober.address)
                watched.is_met = True

    def _respawn(self, watched: _Watched) -> None:
        if watched.spawning is None:
            watched.spawning = self._task(self._spawn(watched))

    def _witnesses(self, watched: _Watched) -> list[_Watched]:
        """Others, of those that are reached, who are asked about a place."""
        others = [other for other in self._watched.values() if other.reached and other is not watched]
        chosen = observers_of(watched.place.id, [other.place.id for other in others], _PEERS)
        return [other for other in others if other.place.id in chosen]

    async def _survey(self, watched: _Watched) -> None:
        """Let a place measure its way to some of the others, in turn."""
        if not watched.reached:
            return
        known = sorted(place for place, other in self._watched.items() if other.up)
        peers = peers_of(watched.place.id, known, watched.turn, _PEERS)
        watched.turn += 1
        if peers:
            await self._bucket.take(len(peers))
            self._left.pay(len(peers))
            await self._survey_from(watched, [self._watched[peer] for peer in peers if peer in self._watched])

    async def _survey_from(self, source: _Watched, targets: Sequence[_Watched]) -> None:
        begun_s, timeout_s = self._backend.uptime_s(), self._pace.timeout_s
        names = [target.place.id for target in targets]
        echoes = {target.place.id: target.echo for target in targets if target.echo}
        trips: dict[str, float]
        try:
            if not source.place.host:
                async with asyncio.timeout(timeout_s + _GRACE_SECONDS):
                    trips = await self._backend.run(survey_by_calls, At(place=source.place.id), names, timeout_s)
            else:
                names = list(echoes)
                net = self._backend.within(timeout_s + _GRACE_SECONDS)
                trips = await net.call(prober_of(source.place.id), Prober.survey, echoes, timeout_s)
        except BackendClosed:
            raise
        except (ClusterError, TimeoutError):
            return  # its own pings tell what is wrong with the source
        for name in names:
            if name in self._watched:
                self._votes.add(source.place.id, name, Trip(begun_s, trips.get(name)))

    async def _measure_targets(self) -> None:
        found = await self._targets.measure([place for place, watched in self._watched.items() if watched.reached])
        if found is not None:
            await self._verbs.observe(found.handles, found.latency_ms, ok=found.reached, fleet=found.fleet)

    def _judge(self, watched: _Watched) -> None:
        place = watched.place.id
        finding = self._votes.judge(place, watched.since_s, self._backend.uptime_s(), self._window())
        if finding is None or place not in self._watched:
            return
        before = self._findings.get(place)
        self._findings[place] = finding
        self._untold.add(place)
        if before is None or before.reached != finding.reached:
            events.PLACE_SEEN.tell(place=place, reached=finding.reached)
            if before is not None:
                self._news.set()

    async def _tell(self) -> None:
        """Feed the findings to the fleet of places: changes at once, the rest in batches."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.every_s):
                    await self._news.wait()
            self._news.clear()
            told, self._untold = sorted(self._untold), set()
            if not told:
                continue
            watched = [self._watched[place] for place in told]
            try:
                await self._feed.tell([(each.place, self._findings[each.place.id]) for each in watched])
                for each in watched:
                    each.is_told = True
            except BackendClosed:
                return
            except (FaultsetError, TimeoutError) as error:
                events.PROBES_UNTOLD.tell(places=len(told), error=error)

    def _check_running(self) -> None:
        if any(task.done() for task in self._tasks):
            raise BackendClosed


class SyncProbing:
    """Probes under way, from :meth:`Driver.probe <faultset_ray.driver.sync.Driver.probe>`; a context manager."""

    def __init__(self, core: Probing, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._core = core
        self._run = run

    @property
    def findings(self) -> dict[str, Finding]:
        """What was found of each place last."""
        return self._core.findings

    def round_trips(self) -> dict[tuple[str, str], float | None]:
        """The latest round trip in ms of each pair ``(from, to)``; None for no answer."""
        return self._core.round_trips()

    def measured(self) -> dict[str, Finding]:
        """Wait until there is a finding on every place and the fleet ``"places"`` has it; return all."""
        found: dict[str, Finding] = self._run(self._core.measured())
        return found

    def stop(self) -> None:
        """End the probes; also where the driver has ended them."""
        with suppress(BackendClosed):
            self._run(self._core.stop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def stop_probers(backend: Backend) -> None:
    """End the prober of every place."""
    await asyncio.gather(*(backend.stop(prober_of(place.id)) for place in await backend.places()))


def _tasks_of(watched: _Watched) -> Iterable[asyncio.Task[None]]:
    return (*watched.tasks, watched.spawning) if watched.spawning else watched.tasks


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        events.PROBING_ENDED.tell(exc_info=error)
