"""What of ours Ray's worker processes begin with: the main function of tasks, and roles made actors.

Whoever waits for an actor or a first task waits for what this module imports, so it imports no more than they need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

import ray

from actors.metering import meter, meter_task
from actors.net import SYSTEM, RayNet
from actors.pieces import cut
from faultset_ray.backend.protocol import Servant
from faultset_ray.backend.real import RealWorld
from faultset_ray.telemetry import tracing

P = ParamSpec("P")
R = TypeVar("R")


async def _task_main(
    namespace: str,
    cpus: float,
    carrier: tracing.Carrier | None,
    task: Callable[..., Awaitable[R]],
    *args: Any,
    **kwargs: Any,
) -> R:
    return await tracing.served(carrier, SYSTEM, task)(RayNet(namespace, cpus), *args, **kwargs)


def _run_task(
    namespace: str,
    cpus: float,
    carrier: tracing.Carrier | None,
    task: Callable[..., Awaitable[R]],
    *args: Any,
    **kwargs: Any,
) -> R:
    meter_task(namespace)
    return asyncio.run(_task_main(namespace, cpus, carrier, task, *args, **kwargs))


remote_task: Any = ray.remote(max_retries=0)(_run_task)


_hosted: dict[type[Servant], type[Servant]] = {}
"""The classes of actors by role: one each, since each is shipped once."""


def traced(self: Servant, carrier: tracing.Carrier, name: str, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method below the span of who asked for it."""
    return tracing.served(carrier, SYSTEM, getattr(self, method), name)(*args, **kwargs)


def in_pieces(
    self: Servant, width: int, carrier: tracing.Carrier | None, name: str, method: str, *args: Any, **kwargs: Any
) -> Any:
    """Call a method whose answer is to come as ``width`` objects; Ray takes one of them as it is, more as a list."""
    pieces = cut(tracing.served(carrier, SYSTEM, getattr(self, method), name)(*args, **kwargs), width)
    return pieces if width > 1 else pieces[0]


def hostable(role: type[Servant]) -> type[Servant]:
    """A role with the clock of the machine that will host it, and whose traces and metrics go where those of Ray do.

    A class of the same name, which is shipped by value; its constructor takes the namespace before all else.
    """
    if role in _hosted:
        return _hosted[role]

    def init(self: Servant, namespace: str, /, *args: Any) -> None:
        meter(namespace)
        role.__init__(self, *args)

    def close(self: Servant) -> None:
        role.close(self)
        tracing.flush()  # its process is ended next

    members = {
        "clock": RealWorld(),
        "__init__": init,
        "traced": traced,
        "in_pieces": in_pieces,
        "close": close,
        "__module__": role.__module__,
        "__doc__": role.__doc__,
    }
    return _hosted.setdefault(role, type(role.__name__, (role,), members))
