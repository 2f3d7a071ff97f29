"""Big values where all places are in one process: they are simply there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from faultset_ray.backend.protocol import At, Net

P = ParamSpec("P")
R = TypeVar("R")


class _Runs(Protocol):
    """What is needed of a backend."""

    def run(
        self, task: Callable[Concatenate[Net, P], Awaitable[R]], at: At, /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[R]:
        """Run a task."""
        ...


class OneMemory:
    """That part of a :class:`~faultset_ray.backend.protocol.Backend`."""

    async def hold(
        self: _Runs,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """The task's result: there is one memory."""
        return await self.run(task, at, *args, **kwargs)

    def share(self, value: R) -> R:
        """The value itself: there is one memory."""
        return value

    async def fetch(self, value: Any) -> Any:
        """The value itself."""
        return value
