"""The event loop behind a driver for code that does not await."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from faultset_ray.errors import BackendClosed
from faultset_ray.limits import INTERRUPT_SECONDS

R = TypeVar("R")


class Loop:
    """An event loop on a daemon thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="faultset-driver", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run to the end. An interrupt here cancels it there, and goes on when it has tidied up, or after some seconds.

        Raises
        ------
        BackendClosed
            The loop was closed before, or before the work was done.
        """
        with self._lock:
            if self._closed:
                work.close()
                raise BackendClosed
            begun, ended = threading.Event(), threading.Event()
            future = asyncio.run_coroutine_threadsafe(_tracked(work, begun, ended), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise BackendClosed from None
        except BaseException:
            if not future.done():
                future.cancel()
                self._tidied(work, begun, ended)
            raise

    def close(self) -> None:
        """Stop, and cancel what still runs; again does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _tidied(self, work: Coroutine[Any, Any, Any], begun: threading.Event, ended: threading.Event) -> None:
        """Wait for the end of what was cancelled."""
        with self._lock:
            if self._closed:
                return
            behind = asyncio.run_coroutine_threadsafe(_nothing(), self._loop)
        with suppress(TimeoutError, CancelledError):
            behind.result(INTERRUPT_SECONDS)  # by now it has begun, or never will
            if begun.is_set():
                ended.wait(INTERRUPT_SECONDS)
            else:
                work.close()

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(_cancel_others())
        self._loop.close()


async def _tracked(work: Coroutine[Any, Any, R], begun: threading.Event, ended: threading.Event) -> R:
    begun.set()
    try:
        return await work
    finally:
        ended.set()


async def _nothing() -> None:
    """Passes through the loop."""


async def _cancel_others() -> None:
    """End what other threads wait for: nobody is left waiting for a loop that stands still."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
