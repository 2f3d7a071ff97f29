"""Tasks by the hundred: few under way at once, and run again where the one that ran was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from faultset_ray.backend.protocol import At, Backend, Net
from faultset_ray.errors import CallTimeout, PlaceUnreachable
from faultset_ray.limits import INFLIGHT_BYTES_MAX, TASK_ATTEMPTS, TASK_WAITS_SECONDS
from faultset_ray.telemetry import events

P = ParamSpec("P")
R = TypeVar("R")


class Window:
    """Bounds the stripes under way by the bytes they hold; the first failure ends the rest.

    >>> async with Window(stripe_bytes) as window:
    ...     for stripe in range(stripes):
    ...         await window.room()
    ...         window.add(work(stripe))
    """

    def __init__(self, item_bytes: int, most_bytes: int = INFLIGHT_BYTES_MAX) -> None:
        self._slots = asyncio.Semaphore(max(2, most_bytes // max(1, item_bytes)))
        self._group = asyncio.TaskGroup()

    async def room(self) -> None:
        """Wait until one more may be added."""
        await self._slots.acquire()

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Start one piece of work, in the room that :meth:`room` waited for."""
        task = self._group.create_task(work)
        task.add_done_callback(lambda _: self._slots.release())

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if error is None or isinstance(error, asyncio.CancelledError):
                first = group.exceptions[0]  # why the others were cancelled
                raise first from first.__cause__
            # else the feeder failed first, and its own error goes on its way


async def each(
    count: int, work: Callable[[int], Coroutine[Any, Any, None]], item_bytes: int, most_bytes: int = INFLIGHT_BYTES_MAX
) -> None:
    """Run ``work(0)`` … ``work(count - 1)``, begun in this order, in a :class:`Window`."""
    async with Window(item_bytes, most_bytes) as window:
        for number in range(count):
            await window.room()
            window.add(work(number))


class Turns:
    """Lets pieces of work through one after another in order of their numbers, from 0 on.

    >>> async with turns.of(stripe):
    ...     write(data)
    """

    def __init__(self) -> None:
        self._next = 0
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def of(self, number: int) -> AsyncIterator[None]:
        """Wait until all lower numbers are through."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._next == number)
        yield
        async with self._moved:
            self._next += 1
            self._moved.notify_all()


def threads_of(net: Net) -> int:
    """How many threads a task may keep busy: its CPUs, one at least."""
    return max(1, int(net.cpus))


async def run_again(
    backend: Backend,
    task: Callable[Concatenate[Net, P], Awaitable[R]],
    at: At,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run an idempotent task, and again elsewhere if its place is lost or late; the last time wherever it can.

    The first time it may be late by ``TASK_WAITS_SECONDS`` only: its place may hang, or every CPU may be asked for,
    by ranges for instance. From then on it asks for none.

    Raises
    ------
    PlaceUnreachable, CallTimeout
        It was lost ``TASK_ATTEMPTS`` times.
    """
    for attempt in range(1, TASK_ATTEMPTS):
        try:
            async with asyncio.timeout(TASK_WAITS_SECONDS if attempt == 1 else None):
                return await backend.run(task, at, *args, **kwargs)
        except (PlaceUnreachable, CallTimeout, TimeoutError) as error:
            events.TASK_RUN_AGAIN.tell(reason=str(error) or "it waited for a CPU, or its place hangs")
            await backend.sleep(0.05 * attempt)
            at = At(cpus=0.0 if isinstance(error, TimeoutError) else at.cpus, avoid=at.avoid)
    return await backend.run(task, At(cpus=at.cpus), *args, **kwargs)
