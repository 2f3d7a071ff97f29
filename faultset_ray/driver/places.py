"""The fleet of a system's own places: what is found of them goes in, what reads and writes go by comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from faultset_ray.backend.protocol import Backend, Place
from faultset_ray.control.answer import Survivors
from faultset_ray.control.prober import PLACES, Finding, node_of
from faultset_ray.coordinator.directory import Directory
from faultset_ray.errors import ClusterError, UnknownFleet
from faultset_ray.limits import PLACES_PRECISION, PLACES_SECONDS
from faultset_ray.model import Fleet
from faultset_ray.policy import Policy

POLICY = Policy(threshold_ms=1_000.0, samples=(1, 1, 2), hold_s=(0.5, 8.0), ttl_s=15.0)
"""Of a new fleet of places. One bad sample is enough, since it is what several observers agree on; a place that comes
and goes stays out for longer each time; what nobody probes is unknown, and nothing goes by it."""
_TELL_SECONDS = 2.0
_LAST_MS = 5_000
_UNKNOWN_MS = 5_000
"""How long it is believed that nobody probes."""


class Verbs(Protocol):
    """What is needed of a driver."""

    async def register(
        self, nodes: Any, precision: int = 6, *, fleet: str = "default", policy: Policy | None = None
    ) -> Fleet:
        """Make nodes known."""
        ...

    async def remove(self, ids: Iterable[str], *, fleet: str = "default") -> int:
        """Let go of nodes."""
        ...

    async def mark(self, ids: Iterable[str], mark: Literal["drain", "pin"] | None, *, fleet: str = "default") -> int:
        """Decide by hand."""
        ...

    async def observe(self, handles: Any, latency_ms: Any, *, ok: Any = None, fleet: str = "default") -> int:
        """Tell what was measured."""
        ...

    async def survivors(self, *, fleet: str = "default", deadline_s: float = PLACES_SECONDS) -> Survivors:
        """Ask who survives."""
        ...


class Feed:
    """Keeps the fleet of places as it is found to be."""

    def __init__(self, verbs: Verbs, policy: Policy = POLICY) -> None:
        self._verbs = verbs
        self._policy = policy
        """Of the fleet, should it be new."""
        self._handles: dict[str, int] = {}
        """Of the places that this driver registered."""
        self._draining: set[str] = set()

    async def tell(self, found: Sequence[tuple[Place, Finding]]) -> None:
        """Report findings; a place that is new is registered with its first one.

        With it, and not before: what another driver of the system found of the place is not lost for a moment.

        Raises
        ------
        TimeoutError
            The regions did not take it in time; what is found next is told next.
        """
        new = [(place, finding) for place, finding in found if place.id not in self._handles]
        if new:
            await self._register(new)
        findings = {self._handles[place.id]: finding for place, finding in found}
        async with asyncio.timeout(_TELL_SECONDS):  # a lost message holds up the next ones no longer
            await self._verbs.observe(
                np.array(list(findings), np.uint32),
                np.array([finding.latency_ms for finding in findings.values()]),
                ok=np.array([finding.reached for finding in findings.values()]),
                fleet=PLACES,
            )

    async def drain(self, places: Iterable[Place]) -> None:
        """Mark the places that are about to leave, and take the mark from those that stay after all."""
        draining = {place.id for place in places if place.draining} & self._handles.keys()
        changes: list[tuple[set[str], Literal["drain"] | None]] = [
            (draining - self._draining, "drain"),
            ((self._draining - draining) & self._handles.keys(), None),
        ]
        for ids, mark in changes:
            if ids:
                await self._verbs.mark(sorted(ids), mark, fleet=PLACES)
        self._draining = draining

    async def remove(self, place: str) -> None:
        """Let go of a place that is gone."""
        self._draining.discard(place)
        if self._handles.pop(place, None) is not None:
            await self._verbs.remove([place], fleet=PLACES)

    async def _register(self, found: Sequence[tuple[Place, Finding]]) -> None:
        nodes = [node_of(place, finding.latency_ms) for place, finding in found]
        registered = await self._verbs.register(
            nodes, PLACES_PRECISION, fleet=PLACES, policy=self._policy if await self._is_new() else None
        )
        assert registered.handles is not None
        self._handles.update(zip(registered.ids, registered.handles.tolist(), strict=True))

    async def _is_new(self) -> bool:
        try:
            await self._verbs.survivors(fleet=PLACES, deadline_s=PLACES_SECONDS)
        except UnknownFleet:
            return True
        return False


class Places:
    """The survivors of the fleet of places, if anybody probes them."""

    def __init__(
        self,
        backend: Backend,
        ask: Callable[..., Awaitable[Survivors]],
        directory: Callable[[str, float], Awaitable[Directory]],
    ) -> None:
        self._backend = backend
        self._ask = ask
        self._directory = directory
        self._unknown_until_ms = 0
        self._last: Survivors | None = None

    def probed(self) -> None:
        """Look again: this driver begins to probe."""
        self._unknown_until_ms = 0

    async def survivors(self) -> Survivors | None:
        """Ask; None where nobody probes, or nobody survives: then every place is as good.

        Where there is no answer in time, or not the whole of it, the last one serves for some seconds more.
        """
        now_ms = self._backend.now_ms()
        if now_ms < self._unknown_until_ms:
            return None
        try:
            answer: Survivors | None = await self._ask(fleet=PLACES, deadline_s=PLACES_SECONDS)
        except UnknownFleet:
            self._unknown_until_ms = now_ms + _UNKNOWN_MS
            return None
        except ClusterError:
            answer = None
        if answer is not None and answer.whole:
            self._last = answer
        elif self._last is not None and self._last.at_ms < now_ms - _LAST_MS:
            self._last = None
        return self._last or None

    async def lost(self, survivors: Survivors | None) -> frozenset[str]:
        """The places that are probed and do not survive: no task is to start there."""
        if survivors is None:
            return frozenset()
        try:
            known = await self._directory(PLACES, PLACES_SECONDS)
        except ClusterError:
            return frozenset()
        return frozenset(known.fleet.ids[known.living].tolist()) - frozenset(survivors.ids.tolist())
