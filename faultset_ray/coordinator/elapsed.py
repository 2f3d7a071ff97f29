"""The time of a catalog: it moves on with its coordinator's uptime, and with nothing else."""

from __future__ import annotations

from typing import Final

from faultset_ray.backend.protocol import Clock
from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.limits import ELAPSED_SECONDS

NOTE: Final = "elapsed"
"""The note that has the time that was kept last: i64 little-endian, milliseconds."""


class Elapsed:
    """Milliseconds that began as the epoch's on the coordinator's host, when the catalog was made.

    What is given up or dropped when it is due is due by this time. No driver's clock says anything about it, and
    where the host's clock is set it goes on as before. While no coordinator is up it stands, and a crash sets it back
    by at most what passed since it was kept: so what is due comes later, and never earlier.
    """

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        kept = catalog.kept(NOTE)
        self._start_ms = int.from_bytes(kept, "little", signed=True) if kept else clock.now_ms()
        self._start_s = clock.uptime_s()
        self._kept_ms: int | None = self._start_ms if kept else None

    def now_ms(self) -> int:
        """The time."""
        return self._start_ms + round(1000 * (self._clock.uptime_s() - self._start_s))

    def told(self, at_ms: int) -> int:
        """A time by the clock of the host, as users are told it: what it is now is what it is there."""
        return at_ms - self.now_ms() + self._clock.now_ms()

    def keep(self) -> None:
        """Inside a transaction: have the time on the disk, where it was not for a while."""
        if self.due:
            now_ms = self.now_ms()
            self._catalog.keep(NOTE, now_ms.to_bytes(8, "little", signed=True))
            self._kept_ms = now_ms

    @property
    def due(self) -> bool:
        """Whether it was not kept for a while, or ever."""
        return self._kept_ms is None or self.now_ms() - self._kept_ms >= 1000 * ELAPSED_SECONDS
