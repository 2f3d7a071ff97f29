"""Servers that are nodes of a fleet, measured from the places."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Backend
from faultset_ray.backend.wire import Target
from faultset_ray.control.prober import Prober, observers_of, prober_of
from faultset_ray.errors import BackendClosed, ClusterError, InputError
from faultset_ray.errors.base import shown
from faultset_ray.model import Fleet
from faultset_ray.objects.bucket import Bucket
from faultset_ray.telemetry import events

_ATTEMPTS = 2
"""A server that did not answer to so many places has failed."""
_GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was found of the servers in one round: an observation of their fleet."""

    fleet: str
    handles: NDArray[np.uint32]
    latency_ms: NDArray[np.float64]
    reached: NDArray[np.bool_]


class Targets:
    """Servers to measure.

    Parameters
    ----------
    fleet
        As ``register`` returned it; None is enough where there are no targets.
    targets
        The server of each node, by id; see :meth:`Target.parse <faultset_ray.backend.wire.Target.parse>`.
    timeout_s : float
        For each server.
    concurrent : int
        How many are measured at once from one place.
    bucket : Bucket
        Where each attempt waits for its turn.

    Raises
    ------
    InputError
        A target is no node of the fleet, or no server.
    """

    def __init__(
        self,
        backend: Backend,
        fleet: Fleet | None,
        targets: Mapping[str, str] | None,
        timeout_s: float,
        concurrent: int,
        bucket: Bucket,
    ) -> None:
        targets = {} if targets is None else check_texts("targets", targets)
        if fleet is not None and not isinstance(fleet, Fleet):
            raise InputError(f"fleet is {shown(fleet)}; expected the Fleet that register() returned")
        self._backend = backend
        self._timeout_s = timeout_s
        self._concurrent = concurrent
        self._bucket = bucket
        self._targets = {node: Target.parse(url) for node, url in targets.items()}
        self._fleet = fleet.name if fleet else ""
        self._handle_of = _handles(fleet, targets)
        self._silent: set[str] = set()
        """Places that did not say what they found when they were last asked."""

    def __len__(self) -> int:
        return len(self._targets)

    async def measure(self, places: Sequence[str]) -> Measured | None:
        """Measure all from some places, each from the same one as long as that is there.

        One that did not answer is tried from another place; it is passed over where no place could tell.
        """
        found: dict[str, float] = {}
        asked: set[str] = set()
        for attempt in range(_ATTEMPTS):
            by_place: defaultdict[str, list[str]] = defaultdict(list)
            for target in [name for name in self._targets if name not in found]:
                observers = observers_of(target, places, attempt + 1)
                if len(observers) > attempt:
                    by_place[observers[attempt]].append(target)
            answers = await asyncio.gather(*(self._measure_from(place, names) for place, names in by_place.items()))
            for names, answer in zip(by_place.values(), answers, strict=True):
                if answer is not None:
                    asked.update(names)
                    found.update(answer)
        if not asked:
            return None
        told = sorted(asked)
        return Measured(
            self._fleet,
            np.array([self._handle_of[target] for target in told], np.uint32),
            np.array([found.get(target, np.nan) for target in told]),
            np.array([target in found for target in told]),
        )

    async def _measure_from(self, place: str, names: Sequence[str]) -> dict[str, float] | None:
        """What a place found; None if it did not say."""
        targets = {name: self._targets[name] for name in sorted(names)}
        await self._bucket.take(len(names))
        turns = -(-len(names) // self._concurrent)
        net = self._backend.within(self._timeout_s * turns + _GRACE_SECONDS)
        try:
            found = await net.call(prober_of(place), Prober.reach, targets, self._timeout_s, self._concurrent)
        except BackendClosed:
            raise
        except ClusterError as error:
            if place not in self._silent:
                self._silent.add(place)
                events.SERVERS_UNKNOWN.tell(place=place, servers=len(names), error=error)
            return None
        if place in self._silent:
            self._silent.remove(place)
            events.SERVERS_KNOWN.tell(place=place)
        return found


def check_texts(name: str, given: Any) -> dict[str, str]:
    """A mapping of texts to texts, copied."""
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for item in given.items() for each in item):
        raise InputError(f"{name} is {shown(given)}; expected a mapping of str to str")
    return dict(given)


def _handles(fleet: Fleet | None, targets: Mapping[str, str]) -> dict[str, int]:
    """The handle of each node that is a target."""
    if not targets:
        return {}
    if fleet is None or fleet.handles is None:
        raise InputError("targets need the fleet that register() returned, which they are nodes of")
    known = dict(zip(fleet.ids.tolist(), fleet.handles.tolist(), strict=True))
    unknown = next((node for node in targets if node not in known), None)
    if unknown is not None:
        raise InputError(f"target {unknown!r} is no node of fleet {fleet.name!r}")
    return {node: known[node] for node in targets}
