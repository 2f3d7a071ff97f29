"""Many small requests made into few large calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from faultset_ray.telemetry import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Does items together: those that come while calls are under way go with the next one.

    So a lone item waits for nothing, and a thousand at once are a few calls.

    Parameters
    ----------
    work
        Does some items, in the order they came; a result or an exception for each. What it raises, all of them get.
    at_once
        Calls under way at the same time.
    items
        Most items of a call.
    weight
        Most weight of a call; a heavier item goes alone.
    """

    def __init__(
        self,
        work: Callable[[list[T]], Awaitable[Sequence[R | BaseException]]],
        *,
        at_once: int = 1,
        items: int = 1024,
        weight: int = 1 << 62,
    ) -> None:
        self._work = work
        self._at_once = at_once
        self._items = items
        self._weight = weight
        self._waiting: deque[tuple[T, int, asyncio.Future[R], SpanContext | None]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._active = 0
        """Of these, how many still take items."""

    def add(self, item: T, weight: int = 1) -> asyncio.Future[R]:
        """The item's result, in time. Cancelled before its call begins, the item is left out."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, weight, future, tracing.here()))
        if self._active < self._at_once:
            self._active += 1
            task = tracing.apart(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return future

    async def close(self) -> None:
        """Give up calls under way, and all that waits."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for _, _, future, _ in self._waiting:
            future.cancel()
        self._waiting.clear()

    async def _run(self) -> None:
        try:
            await self._drain()
        finally:
            self._active -= 1

    async def _drain(self) -> None:
        while batch := self._take():
            futures = [future for _, future, _ in batch]
            try:
                with tracing.together(span for _, _, span in batch):
                    results = await self._work([item for item, _, _ in batch])
            except asyncio.CancelledError:
                for future in futures:
                    future.cancel()
                raise
            except BaseException as error:  # noqa: BLE001 - it is theirs who wait
                results = [error] * len(futures)
            for future, result in zip(futures, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _take(self) -> list[tuple[T, asyncio.Future[R], SpanContext | None]]:
        batch: list[tuple[T, asyncio.Future[R], SpanContext | None]] = []
        total = 0
        while self._waiting and len(batch) < self._items:
            item, weight, future, span = self._waiting[0]
            if batch and total + weight > self._weight:
                break
            self._waiting.popleft()
            if future.cancelled():
                continue
            total += weight
            batch.append((item, future, span))
        return batch
