"""What a task on Ray sees: calls to named actors, with a deadline each."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError

from actors.faults import ray_faults
from actors.pieces import join
from faultset_ray.backend.protocol import Addr, Servant, is_sizeable
from faultset_ray.backend.real import RealWorld
from faultset_ray.errors import BackendClosed, CallTimeout
from faultset_ray.limits import CALL_SECONDS
from faultset_ray.telemetry import tracing

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Servant)

SYSTEM = "ray"
"""How traces name this way of calling."""

_handles_in: defaultdict[str, dict[str, Any]] = defaultdict(dict)
"""By namespace and name, the actors that this process found alive."""


_widths_in: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
"""By namespace, name and method, as how many objects the last sizeable answer would have come."""


def forget_handles() -> None:
    """Look all actors up again: a handle is worth nothing once this process has left Ray, also if it comes back."""
    for handles in _handles_in.values():
        handles.clear()


class RayNet(RealWorld):
    """A :class:`~faultset_ray.backend.protocol.Net` over the actors of one namespace."""

    def __init__(
        self, namespace: str, cpus: float, deadline: float = CALL_SECONDS, closed: threading.Event | None = None
    ) -> None:
        self.namespace = namespace
        self.cpus = cpus
        self._deadline = deadline
        self._closed = threading.Event() if closed is None else closed
        """Whether the driver has left, whatever deadline is used: Ray would connect anew for who asks it then."""
        self._handles = _handles_in[namespace]
        self._widths = _widths_in[namespace]

    async def call(
        self, to: Addr[S], method: Callable[Concatenate[S, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """See :meth:`Net.call <faultset_ray.backend.protocol.Net.call>`.

        Where another servant has taken the name since this process last looked, that one is called.
        """
        self._check_open()
        with tracing.calling(SYSTEM, to.name, method) as span, ray_faults(to.name):
            handle = self._handle(to.name)
            try:
                return await self._call(span.carrier, handle, to, method, *args, **kwargs)
            except (RayActorError, ActorUnschedulableError):
                successor = self._successor(to.name, handle)
                if successor is None:
                    raise
            return await self._call(span.carrier, successor, to, method, *args, **kwargs)

    async def _call(
        self,
        carrier: tracing.Carrier | None,
        handle: Any,
        to: Addr[S],
        method: Callable[Concatenate[S, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        key = to.name, method.__name__
        if is_sizeable(method):
            width = self._widths.get(key, 1)
            named = handle.in_pieces.options(name=method.__qualname__, num_returns=width)
            refs = named.remote(width, carrier, *key, *args, **kwargs)
            pieces = asyncio.gather(*(refs if width > 1 else [refs]))
            value, self._widths[key] = join(await fetch(pieces, *key, self._deadline))
            return cast("R", value)
        if carrier is None:
            ref = getattr(handle, method.__name__).remote(*args, **kwargs)
        else:
            named = handle.traced.options(name=method.__qualname__)
            ref = named.remote(carrier, *key, *args, **kwargs)
        return cast("R", await fetch(ref, *key, self._deadline))

    def within(self, seconds: float) -> RayNet:
        """See :meth:`Net.within <faultset_ray.backend.protocol.Net.within>`."""
        return RayNet(self.namespace, self.cpus, seconds, self._closed)

    async def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now: a task has its process to itself."""
        return function(*args, **kwargs)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise BackendClosed

    def _handle(self, name: str) -> Any:
        handle = self._handles.get(name)
        if handle is None:
            handle = self._handles[name] = ray.get_actor(name, namespace=self.namespace)
        return handle

    def _successor(self, name: str, gone: Any) -> Any | None:
        """Whoever has the name of an actor that is gone."""
        if self._handles.get(name) is gone:
            del self._handles[name]
        try:
            found = self._handle(name)
        except ValueError:
            return None
        if found._actor_id != gone._actor_id:  # noqa: SLF001 - handles can't be compared otherwise
            return found
        self._handles.pop(name, None)  # Ray goes on naming actors that are dead
        return None


async def fetch(ref: Awaitable[Any], target: str, method: str, seconds: float) -> Any:
    """Await an object reference for at most ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            return await ref
    except TimeoutError:
        raise CallTimeout(target, method, seconds) from None
