"""A clock that tests set by hand."""

from __future__ import annotations

from typing import TypeVar

from faultset_ray.backend.protocol import Servant

S = TypeVar("S", bound=Servant)


class HandClock:
    """Stands at ``ms``; ``ahead_ms`` is by how much its host's clock is wrong."""

    def __init__(self, ms: int = 0) -> None:
        self.ms = ms
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return self.ms + self.ahead_ms

    def uptime_s(self) -> float:
        return self.ms / 1000


def by_hand(servant: S, clock: HandClock | None = None) -> S:
    """A servant that has such a clock."""
    servant.clock = clock or HandClock()
    return servant


def at(servant: S, ms: int) -> S:
    """The servant at a time."""
    assert isinstance(servant.clock, HandClock)
    servant.clock.ms = ms
    return servant
