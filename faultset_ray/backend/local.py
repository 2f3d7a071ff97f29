"""The backend in this process: servants are objects, tasks are coroutines, places are simulated.

For the driver without a cluster, for notebooks, documentation and most tests. Everything dies with
the process.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from faultset_ray.backend.guard import check_version, typed_errors
from faultset_ray.backend.memory import OneMemory
from faultset_ray.backend.protocol import ANYWHERE, Addr, At, Load, Net, Place, Servant
from faultset_ray.backend.real import RealWorld
from faultset_ray.backend.spread import choose_place, list_loads
from faultset_ray.errors import BackendClosed, CallTimeout, InputError, PlaceUnreachable
from faultset_ray.limits import CALL_SECONDS, TASK_SECONDS
from faultset_ray.telemetry import tracing

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Servant)

_SYSTEM = "faultset-local"
"""How traces name this way of calling."""


class _Hosted(Generic[S]):
    """A servant at its place, with room for as many calls at once as its role allows."""

    def __init__(self, servant: S, place: str, cpus: float) -> None:
        self.servant = servant
        self.place = place
        self.cpus = cpus
        self.room = asyncio.Semaphore(servant.concurrency)


class LocalBackend(RealWorld, OneMemory):
    """Runs everything in this process; :class:`~faultset_ray.backend.protocol.Backend` by structure.

    One event loop at a time uses it, so one synchronous driver, or several asynchronous ones; another is refused with
    ``InputError``.

    Parameters
    ----------
    places
        The simulated places; one without labels by default.
    cpus
        Threads for CPU-bound work; the processors this process may use by default.
    """

    lasting = False

    def __init__(self, places: Sequence[Place] | None = None, *, cpus: int | None = None) -> None:
        self.cpus: float = cpus or len(os.sched_getaffinity(0))
        self._deadline = CALL_SECONDS
        self._places = {place.id: place for place in places or (Place("local-0", cpus=self.cpus),)}
        self.home = self.here = next(iter(self._places))
        self._hosted: dict[str, _Hosted[Any]] = {}
        self._spawning: dict[str, asyncio.Lock] = {}
        self._starting: dict[str, tuple[str, float]] = {}
        """Place and CPUs of each servant whose constructor runs: it counts when the next one is placed."""
        self._pool = ThreadPoolExecutor(max_workers=int(self.cpus) + 8, thread_name_prefix="faultset-local")
        self._closed = threading.Event()
        self._loops: list[asyncio.AbstractEventLoop] = []
        """The event loop that it serves, once there was a call; shared with what :meth:`within` gives."""

    # -- Net

    async def call(
        self, to: Addr[S], method: Callable[Concatenate[S, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """See :meth:`Net.call <faultset_ray.backend.protocol.Net.call>`."""
        with tracing.calling(_SYSTEM, to.name, method) as span:
            return await self._call(span.carrier, to, method, *args, **kwargs)

    def within(self, seconds: float) -> LocalBackend:
        """See :meth:`Net.within <faultset_ray.backend.protocol.Net.within>`; state is shared."""
        other = copy.copy(self)
        other._deadline = seconds  # noqa: SLF001 - a copy of its own class
        return other

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """See :meth:`Net.compute <faultset_ray.backend.protocol.Net.compute>`."""
        self._check_loop()
        return asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))

    # -- Backend

    async def places(self) -> Sequence[Place]:
        """The simulated places that were not killed."""
        self._check_open()
        return list(self._places.values())

    async def loads(self) -> Sequence[Load]:
        """Servants and what they asked for; tasks are not counted."""
        self._check_open()
        return self._loads()

    async def spawn(self, role: type[S], name: str, /, *args: Any, at: At = ANYWHERE) -> Addr[S]:
        """See :meth:`Backend.spawn <faultset_ray.backend.protocol.Backend.spawn>`."""
        self._check_loop()
        async with self._spawning.setdefault(name, asyncio.Lock()):
            if name not in self._hosted:
                place = choose_place(name, at, self._loads())
                self._starting[name] = place, at.cpus
                try:
                    with typed_errors(name):
                        servant = await self.compute(role, *args)
                        servant.clock = RealWorld()
                finally:
                    del self._starting[name]
                if place not in self._places:
                    raise PlaceUnreachable(name, f"its place {place} was lost while it started")
                self._hosted[name] = _Hosted(servant, place, at.cpus)
            check_version(name, self._hosted[name].servant.version())
        return Addr(name)

    async def find(self, role: type[S], name: str) -> Addr[S] | None:  # noqa: ARG002 - the role types the result
        """See :meth:`Backend.find <faultset_ray.backend.protocol.Backend.find>`."""
        self._check_open()
        return Addr(name) if name in self._hosted else None

    async def stop(self, addr: Addr[Any]) -> None:
        """See :meth:`Backend.stop <faultset_ray.backend.protocol.Backend.stop>`."""
        self._check_loop()
        hosted = self._hosted.pop(addr.name, None)
        if hosted is not None:
            for _ in range(hosted.servant.concurrency):
                await hosted.room.acquire()  # calls that nobody waits for any more run to their end
            await self.compute(hosted.servant.close)

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
        """Nothing to scale in one process."""

    async def close(self) -> None:
        """Close every servant and end the threads."""
        if self._closed.is_set():
            return
        for name in list(self._hosted):
            await self.stop(Addr(name))
        self._closed.set()
        self._pool.shutdown(wait=False)

    # -- Faults

    def kill(self, place: str) -> None:
        """Lose a place at once: its servants are gone, unclosed, and what runs there never answers."""
        del self._places[place]
        for name in [name for name, hosted in self._hosted.items() if hosted.place == place]:
            del self._hosted[name]

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
        hosted = self._at(to.name)
        seconds = self._deadline
        try:
            async with asyncio.timeout(seconds):
                with typed_errors(to.name):
                    bound = tracing.served(carrier, _SYSTEM, getattr(hosted.servant, method.__name__), to.name)
                    if inspect.iscoroutinefunction(bound):
                        async with hosted.room:
                            result = await bound(*args, **kwargs)
                    else:
                        result = await self._on_thread(hosted, bound, *args, **kwargs)
        except TimeoutError:
            raise CallTimeout(to.name, method.__name__, seconds) from None
        self._at(to.name)  # a place that was lost meanwhile never answered
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
        self._check_loop()
        name = getattr(task, "__name__", "task")
        place = choose_place(name, at, self._loads())
        span.note({"faultset.place": place})
        try:
            async with asyncio.timeout(TASK_SECONDS):
                with typed_errors(name):
                    net = self.within(CALL_SECONDS)
                    net.cpus = at.cpus
                    result = await tracing.served(span.carrier, _SYSTEM, task)(net, *args, **kwargs)
        except TimeoutError:
            raise CallTimeout(place, name, TASK_SECONDS) from None
        if place not in self._places:
            raise PlaceUnreachable(place, "the place was lost while it ran a task")
        return result

    async def _on_thread(self, hosted: _Hosted[Any], bound: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a method; its room is free when it has ended, which may be after its caller gave up."""
        await hosted.room.acquire()
        try:
            running = asyncio.ensure_future(self.compute(bound, *args, **kwargs))
        except BaseException:
            hosted.room.release()
            raise
        running.add_done_callback(lambda _: hosted.room.release())
        return await asyncio.shield(running)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise BackendClosed

    def _check_loop(self) -> None:
        """Refuse what comes from an event loop beside the one that the locks of servants are of.

        Each synchronous driver has a loop of its own; who waited for a lock of another would wait for ever.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._loops[:1] != [loop]:
            if self._loops and self._loops[0].is_running():
                raise InputError(
                    "this backend object serves a driver on another event loop: share that driver, give each driver a "
                    "backend of its own, or connect several with connect_async on one loop"
                )
            self._loops[:] = [loop]

    def _at(self, name: str) -> _Hosted[Any]:
        self._check_loop()
        hosted = self._hosted.get(name)
        if hosted is None:
            raise PlaceUnreachable(name, "there is no such servant, or its place is gone")
        return hosted

    def _loads(self) -> list[Load]:
        hosting = {name: (hosted.place, hosted.cpus) for name, hosted in self._hosted.items()} | self._starting
        return list_loads(self._places.values(), hosting)
