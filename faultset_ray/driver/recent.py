"""An answer that serves for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from faultset_ray.backend.protocol import Backend

T = TypeVar("T")


class Shared(Generic[T]):
    """Asks once at a time, however many wait for the answer."""

    def __init__(self) -> None:
        self._asking: asyncio.Task[T] | None = None

    async def get(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to what is asked now, or is being asked.

        Raises
        ------
        Exception
            What asking raises; the next call asks anew.
        """
        return await asyncio.shield(self.begin(ask))

    def begin(self, ask: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """Ask, unless that is under way."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(ask())
            self._asking.add_done_callback(_seen)
        return self._asking

    async def close(self) -> None:
        """Give up what is asked for."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


class Recent(Generic[T]):
    """Asks when its last answer is too old, once at a time, however many wait for it.

    Parameters
    ----------
    backend
        Its clock.
    ask
    seconds
        How old an answer may be; an older one still serves, for as long again, while the next is asked for.
    """

    def __init__(self, backend: Backend, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._backend = backend
        self._ask = ask
        self._seconds = seconds
        self._last: tuple[T, float] | None = None
        """And when it was asked for, by the uptime."""
        self._shared: Shared[T] = Shared()

    async def get(self) -> T:
        """The answer.

        Raises
        ------
        Exception
            What asking raises; the next call asks anew.
        """
        if self._last is not None:
            age_s = self._backend.uptime_s() - self._last[1]
            if age_s < self._seconds:
                return self._last[0]
            if age_s < 2 * self._seconds:
                self._shared.begin(self._asked)
                return self._last[0]
        return await self._shared.get(self._asked)

    async def anew(self) -> T:
        """The answer, asked for now; or by somebody else just now."""
        return await self._shared.get(self._asked)

    def doubt(self) -> None:
        """Ask anew next time."""
        self._last = None

    async def close(self) -> None:
        """Give up what is asked for."""
        await self._shared.close()

    async def _asked(self) -> T:
        now_s = self._backend.uptime_s()
        found = await self._ask()
        self._last = found, now_s
        return found


def _seen(asking: asyncio.Task[T]) -> None:
    """An error is theirs who waited; where nobody did, the next one who asks meets it."""
    if not asking.cancelled():
        asking.exception()
