"""A driver's way to its system's coordinator, which it starts again where that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from faultset_ray.backend.protocol import Addr, At, Backend, Net
from faultset_ray.coordinator.catalog import CATALOG_ID_BYTES
from faultset_ray.coordinator.directory import About
from faultset_ray.coordinator.home import state_root, systems_at
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.deadline import Deadline
from faultset_ray.errors import (
    CallTimeout,
    CoordinatorUnavailable,
    PlaceUnreachable,
    StateFailure,
    StateInUse,
    UnknownSystem,
    UnsupportedState,
)
from faultset_ray.limits import CALL_SECONDS, RESTART_SECONDS, SPAWN_SECONDS, START_SECONDS
from faultset_ray.telemetry import events

P = ParamSpec("P")
R = TypeVar("R")

COORDINATOR = "coordinator"
"""The name of a system's coordinator."""
ATTENDANT = "attendant"
"""That of the servant that looks after it while no driver is connected, where there is one."""
_AGAIN_SECONDS = 0.1


class Authority:
    """Calls to the coordinator of one system; start it with :meth:`start`.

    Parameters
    ----------
    durable
        Whether the coordinator keeps its state in a directory. If so, one that is gone is started again
        from there; if not, its state has died with it.
    state_dir
        That directory's parent; by default the coordinator's place has one.
    """

    def __init__(self, backend: Backend, system: str, *, durable: bool = False, state_dir: str | None = None) -> None:
        self._backend = backend
        self._system = system
        self._durable = durable
        self._state_dir = state_dir
        self._addr: Addr[Coordinator] = Addr(COORDINATOR)
        self._restarting: asyncio.Task[None] | None = None
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether the coordinator is gone for good: what it knew was in memory."""
        return self._lost

    @property
    def system(self) -> str:
        """The system's name."""
        return self._system

    @property
    def lasts(self) -> bool:
        """Whether what the coordinator knows is on a disk."""
        return self._durable

    async def start(self, *, create: bool = True) -> About:
        """Find the system's coordinator, or create it where the backend lasts longest.

        Parameters
        ----------
        create
            Whether to make a system that there is not: one that does not run, and has left no state.

        Raises
        ------
        UnknownSystem
            There is none, and none is to be made.
        StateInUse, UnsupportedState, StateFailure
            It can't serve what is in its directory.
        InputError
            It keeps its state elsewhere.
        """
        try:
            if not create and await self._backend.find(Coordinator, COORDINATOR) is None:
                kept = await self._backend.run(systems_there, At(place=self._backend.home), self._state_dir)
                if not self._durable or self._system not in kept:
                    raise UnknownSystem(self._system, kept)
            about = await self._started(START_SECONDS)
        except (PlaceUnreachable, CallTimeout) as error:
            raise CoordinatorUnavailable(self._system, str(error)) from error
        self._durable, self._state_dir = about.state_root is not None, about.state_root
        return about

    async def stop(self) -> None:
        """End the coordinator; its state stays in its directory."""
        await self._backend.stop(self._addr)

    async def ask(
        self,
        method: Callable[Concatenate[Coordinator, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call the coordinator, within the default deadline of calls; as :meth:`ask_within`."""
        return await self.ask_within(CALL_SECONDS, method, *args, **kwargs)

    async def ask_within(
        self,
        seconds: float,
        method: Callable[Concatenate[Coordinator, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call the coordinator; where it is gone, start it again from its directory and call once more.

        So a method may run twice: one that changes something is given a request id.

        Raises
        ------
        CoordinatorUnavailable
            It is gone for good, or did not answer in time.
        """
        deadline = Deadline(self._backend, seconds)
        net = self._backend.within(seconds)
        try:
            try:
                return await net.call(self._addr, method, *args, **kwargs)
            except PlaceUnreachable as error:
                if not self._durable:
                    self._lost = True
                    reason = f"{error}. Its state was in memory and died with it: connect again, and register anew"
                    raise CoordinatorUnavailable(self._system, reason) from error
                events.COORDINATOR_GONE.tell(system=self._system, error=error)
            await asyncio.wait_for(asyncio.shield(self._restarted()), deadline.left_s())
            return await self._backend.within(deadline.left_s()).call(self._addr, method, *args, **kwargs)
        except (PlaceUnreachable, CallTimeout, StateInUse, UnsupportedState, StateFailure) as error:
            raise CoordinatorUnavailable(self._system, str(error)) from error
        except TimeoutError:
            raise CoordinatorUnavailable(self._system, "it is being started again; ask once more") from None

    async def close(self) -> None:
        """Give up a restart under way."""
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)

    def _restarted(self) -> asyncio.Task[None]:
        """One restart at a time, whoever waits for it."""
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.ensure_future(self._restart())
        return self._restarting

    async def _restart(self) -> None:
        about = await self._started(RESTART_SECONDS)
        events.COORDINATOR_RESTORED.tell(system=self._system, epoch=about.epoch)

    async def _started(self, seconds: float) -> About:
        """Bring the coordinator up; for so long, wait for the one before to let go of the state."""
        ends_s = self._backend.uptime_s() + seconds
        while True:
            try:
                return await self._spawned()
            except (StateInUse, PlaceUnreachable):
                if self._backend.uptime_s() > ends_s:
                    raise
                await self._backend.sleep(_AGAIN_SECONDS)

    async def _spawned(self) -> About:
        args = (self._system, self._durable, self._state_dir, self._backend.token(CATALOG_ID_BYTES))
        self._addr = await self._backend.spawn(Coordinator, COORDINATOR, *args, at=At(place=self._backend.home))
        try:
            return await self._backend.within(SPAWN_SECONDS).call(self._addr, Coordinator.about, self._state_dir)
        except (StateInUse, UnsupportedState, StateFailure):
            await self.stop()  # it serves nothing
            raise


async def systems_there(_: Net, state_dir: str | None) -> list[str]:
    """The systems that have left their state at this place."""
    return systems_at(state_root(state_dir))
