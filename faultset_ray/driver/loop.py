"""The event loop behind a driver for code that does not await."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from faultset_ray.errors import BackendClosed

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
        """Run to the end; an interrupt here cancels it there.

        Raises
        ------
        BackendClosed
            The loop was closed before, or before the work was done.
        """
        with self._lock:
            if self._closed:
                work.close()
                raise BackendClosed
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise BackendClosed from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop, and cancel what still runs; again does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(_cancel_others())
        self._loop.close()


async def _cancel_others() -> None:
    """End what other threads wait for: nobody is left waiting for a loop that stands still."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
