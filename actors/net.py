"""What a task on Ray sees: calls to named actors, with a deadline each."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import ray

from actors.faults import ray_faults
from faultset_ray.backend.protocol import Addr, Servant
from faultset_ray.errors import CallTimeout, PlaceUnreachable
from faultset_ray.limits import CALL_SECONDS

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Servant)

_handles_in: defaultdict[str, dict[str, Any]] = defaultdict(dict)
"""By namespace and name, the actors that this process found alive."""


class RayNet:
    """A :class:`~faultset_ray.backend.protocol.Net` over the actors of one namespace."""

    def __init__(self, namespace: str, cpus: float, deadline: float = CALL_SECONDS) -> None:
        self.namespace = namespace
        self.cpus = cpus
        self._deadline = deadline
        self._handles = _handles_in[namespace]

    async def call(
        self, to: Addr[S], method: Callable[Concatenate[S, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """See :meth:`Net.call <faultset_ray.backend.protocol.Net.call>`."""
        try:
            with ray_faults(to.name):
                bound = getattr(self._handle(to.name), method.__name__)
                return cast("R", await fetch(bound.remote(*args, **kwargs), to.name, method.__name__, self._deadline))
        except PlaceUnreachable:
            self._handles.pop(to.name, None)  # its successor has the same name
            raise

    def within(self, seconds: float) -> RayNet:
        """See :meth:`Net.within <faultset_ray.backend.protocol.Net.within>`."""
        return RayNet(self.namespace, self.cpus, seconds)

    async def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now: a task has its process to itself."""
        return function(*args, **kwargs)

    def now_ms(self) -> int:
        """Milliseconds since the epoch, by this machine's clock."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def token(self, nbytes: int) -> bytes:
        """Random bytes from the operating system."""
        return secrets.token_bytes(nbytes)

    def _handle(self, name: str) -> Any:
        handle = self._handles.get(name)
        if handle is None:
            handle = self._handles[name] = ray.get_actor(name, namespace=self.namespace)
        return handle


async def fetch(ref: Awaitable[Any], target: str, method: str, seconds: float) -> Any:
    """Await an object reference for at most ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            return await ref
    except TimeoutError:
        raise CallTimeout(target, method, seconds) from None
