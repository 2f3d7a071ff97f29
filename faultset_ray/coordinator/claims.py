"""Which driver brings up the servant of a range's epoch: one alone, so that no two servants are of one epoch."""

from __future__ import annotations

from typing import NamedTuple


class _Claim(NamedTuple):
    epoch: int
    driver: str
    until_ms: int


class Claims:
    """Those of one fleet, in memory: where they are forgotten, an epoch may be skipped, and none is used twice."""

    def __init__(self) -> None:
        self._of: dict[int, _Claim] = {}

    def take(self, range_id: int, epoch: int, driver: str, now_ms: int, seconds: float) -> bool:
        """Claim the epoch of a range, or claim it for longer, or with 0 seconds let go of it.

        Returns
        -------
        bool
            Whether the driver has it; not, where another one does, or had this epoch before.
        """
        claim = self._of.get(range_id)
        if claim is not None and (claim.epoch > epoch or (claim.epoch == epoch and claim.driver != driver)):
            return False
        self._of[range_id] = _Claim(epoch, driver, now_ms + round(1000 * seconds))
        return True

    def is_busy(self, range_id: int, epoch: int, driver: str, now_ms: int) -> bool:
        """Whether another driver is bringing the servant of this epoch up."""
        claim = self._of.get(range_id)
        return claim is not None and claim.epoch == epoch and claim.driver != driver and now_ms < claim.until_ms
