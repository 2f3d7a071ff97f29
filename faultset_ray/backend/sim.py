"""The simulated backend: virtual time, and seeded drop, delay and crash; the same seed replays byte for byte.

Everything runs on one thread, on an event loop whose clock jumps to the next timer: an hour of waiting
costs nothing, and a test of a thousand schedules is a loop over seeds.

>>> sim = SimBackend(places, seed=7, faults=SimFaults(drop=0.01))
>>> answer = sim.execute(scenario(sim))
>>> sim.trace_digest()
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from faultset_ray.backend.guard import check_version, typed_errors
from faultset_ray.backend.memory import OneMemory
from faultset_ray.backend.protocol import ANYWHERE, Addr, At, Load, Net, Place, Servant
from faultset_ray.backend.spread import choose_place, list_loads
from faultset_ray.errors import BackendClosed, CallTimeout, PlaceUnreachable
from faultset_ray.limits import CALL_SECONDS, SPAWN_SECONDS, TASK_SECONDS
from faultset_ray.telemetry import tracing

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Servant)

_EPOCH_MS = 1_800_000_000_000
_SYSTEM = "faultset-sim"
"""How traces name this way of calling."""


@dataclass(frozen=True, slots=True)
class SimFaults:
    """What goes wrong, and how often.

    ``drop`` is the probability that one message (a request or a reply) is lost; ``delay_ms`` the
    bounds of a message's uniformly drawn delay.
    """

    drop: float = 0.0
    delay_ms: tuple[float, float] = (0.1, 2.0)


class SimDeadlock(RuntimeError):
    """Raised when every coroutine waits and no timer is set: nothing could ever happen again."""


class _VirtualClock(selectors.SelectSelector):
    """A selector that moves time on where a real one would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise SimDeadlock("every coroutine waits and no timer is set")
        self.now += max(timeout, 0.0)
        return []


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _VirtualClock()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


@dataclass(slots=True)
class _Hosted:
    servant: Servant
    place: str
    cpus: float


class _World:
    """What all views of one simulation share."""

    def __init__(self, places: Sequence[Place], seed: int, faults: SimFaults) -> None:
        self.loop = _VirtualLoop()
        self.random = random.Random(seed)  # noqa: S311 - a simulation must replay
        self.faults = faults
        self.all_places = {place.id: place for place in places}
        self.alive = dict.fromkeys(self.all_places, 0)
        """Incarnation of each living place; a restart is a new one."""
        self.incarnations = dict.fromkeys(self.all_places, 0)
        self.hosted: dict[str, _Hosted] = {}
        self.cut: set[str] = set()
        """Living places that no message reaches or leaves."""
        self.trace: list[str] = []
        self.closed = False

    def now_ms(self) -> int:
        """The time of every place; a driver's own clock may be another."""
        return _EPOCH_MS + int(self.loop.time() * 1000)

    def uptime_s(self) -> float:
        """Seconds of virtual time."""
        return self.loop.time()

    def log(self, event: str) -> None:
        self.trace.append(f"{self.loop.time():.6f} {event}")


class SimBackend(OneMemory):
    """A :class:`~faultset_ray.backend.protocol.Backend` under a virtual clock; see the module's text."""

    lasting = False

    def __init__(self, places: Sequence[Place], *, seed: int, faults: SimFaults | None = None) -> None:
        self.cpus: float = 1.0
        self._world = _World(places, seed, faults or SimFaults())
        self.home = self.here = places[0].id
        self._deadline = CALL_SECONDS

    def execute(self, scenario: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine to its end in virtual time."""
        return self._world.loop.run_until_complete(scenario)

    def dispose(self) -> None:
        """Release the simulation's event loop; what still runs on it, as a driver that nobody closed, is cancelled."""
        loop = self._world.loop
        if not loop.is_closed():
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.close()

    # -- Faults

    @property
    def faults(self) -> SimFaults:
        """What goes wrong now."""
        return self._world.faults

    @property
    def trace(self) -> list[str]:
        """What happened so far, a line each, with its virtual time."""
        return self._world.trace

    def set_faults(self, faults: SimFaults) -> None:
        """Change what goes wrong from now on."""
        self._world.faults = faults
        self._world.log(f"faults {faults}")

    def kill(self, place: str) -> None:
        """Crash a place: its servants are gone, unclosed, and calls under way never answer."""
        del self._world.alive[place]
        for name in [name for name, hosted in self._world.hosted.items() if hosted.place == place]:
            del self._world.hosted[name]
        self._world.log(f"kill {place}")

    def revive(self, place: str) -> None:
        """Bring a crashed place back, empty."""
        self._world.incarnations[place] += 1
        self._world.alive[place] = self._world.incarnations[place]
        self._world.log(f"revive {place}")

    def cut(self, place: str) -> None:
        """Cut a place off: it lives on, and messages to and from it are lost until :meth:`heal`."""
        self._world.cut.add(place)
        self._world.log(f"cut {place}")

    def heal(self, place: str) -> None:
        """Join a place that was cut off; what was lost meanwhile stays lost."""
        self._world.cut.discard(place)
        self._world.log(f"heal {place}")

    def trace_digest(self) -> str:
        """SHA-256 over all that happened, in order, with its virtual times."""
        return hashlib.sha256("\n".join(self._world.trace).encode()).hexdigest()

    # -- Net

    async def call(
        self, to: Addr[S], method: Callable[Concatenate[S, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """See :meth:`Net.call <faultset_ray.backend.protocol.Net.call>`."""
        with tracing.calling(_SYSTEM, to.name, method) as span:
            return await self._call(span.carrier, to, method, *args, **kwargs)

    def within(self, seconds: float) -> SimBackend:
        """See :meth:`Net.within <faultset_ray.backend.protocol.Net.within>`; the world is shared."""
        other = object.__new__(SimBackend)
        other.cpus = self.cpus
        other.home = self.home
        other.here = self.here
        other._world = self._world
        other._deadline = seconds
        return other

    async def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function at once: computing takes no virtual time."""
        self._check_open()
        return function(*args, **kwargs)

    def now_ms(self) -> int:
        """Milliseconds of virtual time since an arbitrary epoch."""
        return self._world.now_ms()

    def uptime_s(self) -> float:
        """Seconds of virtual time."""
        return self._world.uptime_s()

    async def sleep(self, seconds: float) -> None:
        """Wait for virtual time."""
        await asyncio.sleep(seconds)

    def token(self, nbytes: int) -> bytes:
        """Bytes from the simulation's seed."""
        return self._world.random.randbytes(nbytes)

    # -- Backend

    async def places(self) -> Sequence[Place]:
        """The places that are up."""
        self._check_open()
        return self._up()

    async def loads(self) -> Sequence[Load]:
        """Servants and what they asked for; tasks are not counted."""
        self._check_open()
        return self._loads()

    async def spawn(self, role: type[S], name: str, /, *args: Any, at: At = ANYWHERE) -> Addr[S]:
        """See :meth:`Backend.spawn <faultset_ray.backend.protocol.Backend.spawn>`."""
        self._check_open()
        try:
            async with asyncio.timeout(SPAWN_SECONDS):
                await self._carry(f"-> spawn {name}")
                if name not in self._world.hosted:
                    place = choose_place(name, at, self._loads())
                    await self._cross(place)
                    with typed_errors(name):
                        servant = role(*args)
                    servant.clock = self._world
                    self._world.hosted[name] = _Hosted(servant, place, at.cpus)
                    self._world.log(f"spawned {name} at {place}")
                check_version(name, self._world.hosted[name].servant.version())
                await self._cross(self._world.hosted[name].place)
                await self._carry(f"<- spawn {name}")
        except TimeoutError:
            raise CallTimeout(name, "spawn", SPAWN_SECONDS) from None
        return Addr(name)

    async def find(self, role: type[S], name: str) -> Addr[S] | None:  # noqa: ARG002 - the role types the result
        """See :meth:`Backend.find <faultset_ray.backend.protocol.Backend.find>`."""
        self._check_open()
        return Addr(name) if name in self._world.hosted else None

    async def stop(self, addr: Addr[Any]) -> None:
        """See :meth:`Backend.stop <faultset_ray.backend.protocol.Backend.stop>`."""
        self._check_open()
        hosted = self._world.hosted.pop(addr.name, None)
        if hosted is not None:
            hosted.servant.close()
            self._world.log(f"stop {addr.name}")

    async def run(
        self,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """See :meth:`Backend.run <faultset_ray.backend.protocol.Backend.run>`."""
        with tracing.running(_SYSTEM, task) as span:
            return await self._run(span, task, at, *args, **kwargs)

    async def want(self, demand: Sequence[At]) -> None:
        """Noted in the trace; the simulated fleet of places does not scale."""
        self._world.log(f"want {len(demand)}")

    async def close(self) -> None:
        """Close every servant."""
        if self._world.closed:
            return
        for name in list(self._world.hosted):
            await self.stop(Addr(name))
        self._world.closed = True

    # -- Inside

    async def _call(
        self,
        carrier: tracing.Carrier | None,
        to: Addr[S],
        method: Callable[Concatenate[S, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        self._check_open()
        seconds = self._deadline
        subject = f"{to.name}.{method.__name__}"
        try:
            async with asyncio.timeout(seconds):
                await self._carry(f"-> {subject}")
                hosted = self._world.hosted.get(to.name)
                await self._cross(hosted.place if hosted else None)
                if hosted is None:
                    self._world.log(f"gone {subject}")
                    raise PlaceUnreachable(to.name, "there is no such servant, or its place is gone")
                incarnation = self._world.alive[hosted.place]
                with typed_errors(to.name):
                    served = tracing.served(carrier, _SYSTEM, getattr(hosted.servant, method.__name__), to.name)
                    result = served(*args, **kwargs)
                    if inspect.isawaitable(result):
                        result = await result
                if self._world.alive.get(hosted.place) != incarnation:
                    raise PlaceUnreachable(to.name, f"its place {hosted.place} was lost during the call")
                await self._cross(hosted.place)
                await self._carry(f"<- {subject}")
        except TimeoutError:
            self._world.log(f"timeout {subject}")
            raise CallTimeout(to.name, method.__name__, seconds) from None
        return cast("R", result)

    async def _run(
        self,
        span: tracing.Spanned,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        self._check_open()
        name = getattr(task, "__name__", "task")
        place = choose_place(name, at, self._loads())
        span.note({"faultset.place": place})
        incarnation = self._world.alive[place]
        try:
            async with asyncio.timeout(TASK_SECONDS):
                await self._carry(f"-> run {name} at {place}")
                await self._cross(place)
                with typed_errors(name):
                    served = tracing.served(span.carrier, _SYSTEM, task)
                    result = await served(self.within(CALL_SECONDS), *args, **kwargs)
                if self._world.alive.get(place) != incarnation:
                    raise PlaceUnreachable(place, "the place was lost while it ran a task")
                await self._cross(place)
                await self._carry(f"<- run {name} at {place}")
        except TimeoutError:
            raise CallTimeout(place, name, TASK_SECONDS) from None
        return result

    def _check_open(self) -> None:
        if self._world.closed:
            raise BackendClosed

    async def _carry(self, message: str) -> None:
        """One message's way: delayed, or lost for good (the caller's deadline then speaks)."""
        faults = self._world.faults
        low, high = faults.delay_ms
        delay_s = self._world.random.uniform(low, high) / 1000
        if faults.drop and self._world.random.random() < faults.drop:
            self._world.log(f"drop {message}")
            await self._world.loop.create_future()
        await asyncio.sleep(delay_s)
        self._world.log(message)

    async def _cross(self, place: str | None) -> None:
        """The last part of a message's way, which leads to a place or from it; lost where it is cut off."""
        if place in self._world.cut:
            self._world.log(f"lost at {place}")
            await self._world.loop.create_future()

    def _up(self) -> list[Place]:
        return [place for place in self._world.all_places.values() if place.id in self._world.alive]

    def _loads(self) -> list[Load]:
        hosting = {name: (hosted.place, hosted.cpus) for name, hosted in self._world.hosted.items()}
        return list_loads(self._up(), hosting)
