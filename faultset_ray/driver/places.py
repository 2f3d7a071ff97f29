"""What a driver's data plane asks of the control plane: which places can be trusted now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from faultset_ray.backend.protocol import Backend
from faultset_ray.control.answer import Survivors
from faultset_ray.control.prober import PLACES
from faultset_ray.errors import ClusterError, UnknownFleet
from faultset_ray.limits import PLACES_SECONDS, PLACES_THRESHOLD_MS

_UNKNOWN_MS = 5_000
"""How long it is believed that nobody probes."""


class Places:
    """The survivors of the fleet ``"places"``, if anybody probes them."""

    def __init__(self, backend: Backend, ask: Callable[..., Awaitable[Survivors]]) -> None:
        self._backend = backend
        self._ask = ask
        self._unknown_until_ms = 0

    def probed(self) -> None:
        """Look again: this driver begins to probe."""
        self._unknown_until_ms = 0

    async def survivors(self) -> Survivors | None:
        """Ask; None where nobody probes, nothing answers in time, or nobody survives: then every place is as good."""
        now_ms = self._backend.now_ms()
        if now_ms < self._unknown_until_ms:
            return None
        try:
            answer = await self._ask(threshold_ms=PLACES_THRESHOLD_MS, fleet=PLACES, deadline_s=PLACES_SECONDS)
        except UnknownFleet:
            self._unknown_until_ms = now_ms + _UNKNOWN_MS
            return None
        except ClusterError:
            return None
        return answer if len(answer) else None
