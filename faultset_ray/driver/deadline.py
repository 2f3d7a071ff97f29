"""How much of a deadline is left, and waiting no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from faultset_ray.backend.protocol import Net


class Deadline:
    """Begins when it is made.

    Attributes
    ----------
    seconds : float
        All that it gives; may be infinite.
    """

    def __init__(self, net: Net, seconds: float) -> None:
        self._net = net
        self._began_s = net.uptime_s()
        self.seconds = seconds

    def passed_s(self) -> float:
        """What has passed."""
        return self._net.uptime_s() - self._began_s

    def left_s(self) -> float:
        """What is left, at least 0."""
        return max(self.seconds - self.passed_s(), 0.0)


async def wait_within(seconds: float | None, tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for tasks, for so long. Those that are later go on; where the wait is cancelled, they are too."""
    if tasks:
        try:
            await asyncio.wait(tasks, timeout=seconds)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
