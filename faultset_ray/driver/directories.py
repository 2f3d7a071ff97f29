"""The directories of a system's fleets, asked for anew each time; what a driver knows of them serves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from faultset_ray import columns
from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.directory import Directory, Update
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.deadline import wait_within
from faultset_ray.errors import CoordinatorUnavailable
from faultset_ray.limits import AWAY_SECONDS, CALL_SECONDS, KNOWN_SECONDS

_KNOWN_SHARE = 0.25
_LATE_MAX = 4


@dataclass(frozen=True, slots=True)
class Known:
    """A directory, and how well it is known."""

    directory: Directory
    age_ms: int = 0
    """How long ago the coordinator last said that it is so; 0 where it just did."""
    error: CoordinatorUnavailable | None = None
    """Why it was not asked just now, or did not answer."""


class Directories:
    """What one driver knows of the fleets of a system.

    Parameters
    ----------
    backend, authority
    learned
        Called whenever a directory arrives.
    """

    def __init__(self, backend: Backend, authority: Authority, learned: Callable[[], None]) -> None:
        self._backend = backend
        self._authority = authority
        self._learned = learned
        self._known: dict[str, Directory] = {}
        self._confirmed_s: dict[str, float] = {}
        """When the coordinator was last asked a question whose answer is known."""
        self._away_until_s = 0.0
        self._late: set[asyncio.Task[Directory]] = set()
        """Questions that nobody waits for any more; what they bring is learned."""

    def has(self, fleet: str) -> bool:
        """Whether something is known of a fleet."""
        return fleet in self._known

    def learn(self, directory: Directory, asked_s: float | None = None) -> Directory:
        """Take a directory that the coordinator gave, unless it comes later than a newer one."""
        self._learned()
        fleet = directory.fleet.name
        known = self._known.get(fleet)
        if known is None or known.birth != directory.birth or known.version < directory.version:
            self._known[fleet] = known = directory
        if asked_s is not None:
            self._confirmed_s[fleet] = max(asked_s, self._confirmed_s.get(fleet, asked_s))
        return known

    async def ask(self, fleet: str, deadline_s: float = CALL_SECONDS) -> Directory:
        """The fleet's directory as the coordinator has it now.

        Raises
        ------
        CoordinatorUnavailable
        UnknownFleet
        """
        known = self._known.get(columns.check_name("fleet", fleet))
        has, asked_s = (known.version, known.birth) if known else (0, ""), self._backend.uptime_s()
        fresh = await self._authority.ask_within(deadline_s, Coordinator.directory, fleet, *has)
        self._away_until_s = 0.0
        if known is not None and isinstance(fresh, Update):
            fresh = await self._backend.compute(known.updated, fresh)
        assert not isinstance(fresh, Update)
        return self.learn(self._known[fleet] if fresh is None else fresh, asked_s)

    async def known(self, fleet: str, deadline_s: float) -> Known:
        """The fleet's directory as the coordinator has it now, or as it was where it does not say so soon.

        Soon is a quarter of the deadline, at most ``KNOWN_SECONDS``; and while the coordinator is away, it is asked
        only now and then. That the directory may be old is safe: a range that was replaced or split since refuses the
        epoch, or is not there, and one that has a newer policy keeps it.

        Raises
        ------
        CoordinatorUnavailable
            It does not answer within the deadline, and nothing is known of the fleet.
        UnknownFleet
        """
        if columns.check_name("fleet", fleet) not in self._known:
            return Known(await self.ask(fleet, deadline_s))
        patience_s = min(_KNOWN_SHARE * deadline_s, KNOWN_SECONDS)
        error = CoordinatorUnavailable(self._authority.system, f"it did not answer within {patience_s:g} s")
        if self._backend.uptime_s() >= self._away_until_s and len(self._late) < _LATE_MAX:
            asking = asyncio.ensure_future(self.ask(fleet))
            await wait_within(patience_s, [asking])
            if asking.done():
                try:
                    return Known(asking.result())
                except CoordinatorUnavailable as told:
                    error = told
            else:
                self._late.add(asking)
                asking.add_done_callback(self._came_late)
            self._away_until_s = self._backend.uptime_s() + AWAY_SECONDS
        age_s = self._backend.uptime_s() - self._confirmed_s.get(fleet, 0.0)
        return Known(self._known[fleet], max(round(1000 * age_s), 1), error)

    async def close(self) -> None:
        """Give up the questions under way."""
        for asking in self._late:
            asking.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    def _came_late(self, asking: asyncio.Task[Directory]) -> None:
        """Nobody waits for an error of it: who asks next meets it."""
        self._late.discard(asking)
        if not asking.cancelled():
            asking.exception()
