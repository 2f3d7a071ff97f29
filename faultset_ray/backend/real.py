"""Time and chance as they really are, for every backend but the simulated one."""

from __future__ import annotations

import asyncio
import secrets
import time


class RealWorld:
    """The clock and the dice of a :class:`~faultset_ray.backend.protocol.Net`."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, by this machine's clock."""
        return time.time_ns() // 1_000_000

    def uptime_s(self) -> float:
        """Seconds by this machine's monotonic clock, of the finest resolution it has."""
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def token(self, nbytes: int) -> bytes:
        """Random bytes from the operating system."""
        return secrets.token_bytes(nbytes)
