"""A token bucket: background work waits here, so that what users do goes first. It counts bytes, or anything else."""

from __future__ import annotations

from faultset_ray.backend.protocol import Net
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown


class Bucket:
    """Lets bytes through at a rate, in the order in which they were asked for.

    Parameters
    ----------
    net
        Its clock and its pauses.
    bytes_per_s : float
        Infinite for no limit.
    burst_bytes : float
        What passes at once after a time of rest; by default what the rate gives in a second. A larger piece passes
        too: what comes after it waits the longer.
    """

    def __init__(self, net: Net, bytes_per_s: float, burst_bytes: float | None = None) -> None:
        if isinstance(bytes_per_s, bool) or not isinstance(bytes_per_s, (int, float)) or not bytes_per_s > 0:
            raise InputError(f"bytes_per_s is {shown(bytes_per_s)}; expected a positive number")
        self._net = net
        self._rate = bytes_per_s
        self._burst_s = 1.0 if burst_bytes is None else burst_bytes / bytes_per_s
        self._paid_s = net.uptime_s()
        """Until when all that was let through would have taken, at the rate."""

    async def take(self, nbytes: int) -> None:
        """Wait until the bytes asked for before have been paid for."""
        wait_s = self.pay(nbytes)
        if wait_s > 0:
            await self._net.sleep(wait_s)

    def pay(self, nbytes: int) -> float:
        """Count what can't wait for its turn: what is asked for later waits the longer.

        Returns
        -------
        float
            How many seconds it should have waited.
        """
        now = self._net.uptime_s()
        due = max(self._paid_s, now - self._burst_s)
        self._paid_s = due + nbytes / self._rate
        return max(due - now, 0.0)
