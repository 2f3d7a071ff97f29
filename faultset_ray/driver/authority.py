"""A driver's way to its system's coordinator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from faultset_ray.backend.protocol import Addr, At, Backend
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import CallTimeout, CoordinatorUnavailable, PlaceUnreachable
from faultset_ray.limits import CALL_SECONDS

P = ParamSpec("P")
R = TypeVar("R")

_NAME = "coordinator"


class Authority:
    """Calls to the coordinator of one system; start it with :meth:`start`."""

    def __init__(self, backend: Backend, system: str) -> None:
        self._backend = backend
        self._system = system
        self._addr: Addr[Coordinator] = Addr(_NAME)

    async def start(self) -> None:
        """Find the system's coordinator, or create it where the backend lasts longest."""
        self._addr = await self._backend.spawn(Coordinator, _NAME, self._system, at=At(place=self._backend.home))

    async def stop(self) -> None:
        """End the coordinator."""
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
        """Call the coordinator.

        Raises
        ------
        CoordinatorUnavailable
            It is gone, or did not answer in time.
        """
        try:
            return await self._backend.within(seconds).call(self._addr, method, *args, **kwargs)
        except (PlaceUnreachable, CallTimeout) as error:
            raise CoordinatorUnavailable(self._system, str(error)) from error
