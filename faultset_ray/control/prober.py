"""Whether a place can be reached, and how far it is: the servant that measures, and the vote on what was measured.

The driver asks the prober of each place whether it is there, and the probers measure the round trips between
each other. Where the driver gets no answer, others are asked for the place (Das, Gupta, Motivala: "SWIM:
scalable weakly-consistent infection-style process group membership protocol", DSN 2002): a fault on the
driver's own way is not the place's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from heapq import nsmallest
from statistics import median
from typing import ClassVar, Final, NamedTuple

from faultset_ray.backend.protocol import Addr, Net, Place, Servant
from faultset_ray.backend.wire import Echo, EchoAddress, Target, reach, round_trips
from faultset_ray.errors import ClusterError, InputError
from faultset_ray.geohash import centers, strings_to_cells
from faultset_ray.model import Node
from faultset_ray.telemetry import events

PLACES: Final = "places"
"""The fleet of a system's own places; ids are place ids."""
LATENCY_SECONDS: Final = 60.0
"""How long a round trip counts as a latency, if not as evidence."""
HERE: Final = ""
"""The driver, among those that measure."""


NOWHERE: Final = (0.0, 0.0)
"""Latitude and longitude of a place without a cell label."""


class Prober(Servant):
    """Answers for its place, and measures others from there.

    Parameters
    ----------
    host : str
        The address at which other places reach this one. Empty where all places are in one process: then
        there is no echo, and round trips are those of calls.
    """

    concurrency: ClassVar[int] = 8

    def __init__(self, host: str = "") -> None:
        self._echo = Echo(host) if host else None

    def ping(self) -> None:
        """Answer."""

    def address(self) -> EchoAddress | None:
        """Where its echo listens."""
        return self._echo.address if self._echo else None

    def survey(self, peers: Mapping[str, EchoAddress], timeout_s: float) -> dict[str, float]:
        """Round trips in ms to the echoes that answered; see :func:`~faultset_ray.backend.wire.round_trips`."""
        return round_trips(peers, timeout_s)

    def reach(self, targets: Mapping[str, Target], timeout_s: float, concurrent: int) -> dict[str, float]:
        """How long servers take, in ms, of those that answered; see :func:`~faultset_ray.backend.wire.reach`."""
        return reach(targets, timeout_s, concurrent)

    def close(self) -> None:
        """End the echo."""
        if self._echo:
            self._echo.close()


def prober_of(place: str) -> Addr[Prober]:
    """The prober of a place."""
    return Addr(f"prober/{place}")


async def survey_by_calls(net: Net, peers: Sequence[str], timeout_s: float) -> dict[str, float]:
    """Round trips in ms of calls to the probers of ``peers``: the task that surveys where there is no echo."""
    near = net.within(timeout_s)

    async def one(peer: str) -> float | None:
        begun = net.uptime_s()
        try:
            await near.call(prober_of(peer), Prober.ping)
        except ClusterError:
            return None
        return (net.uptime_s() - begun) * 1000

    trips = await asyncio.gather(*map(one, peers))
    return {peer: trip for peer, trip in zip(peers, trips, strict=True) if trip is not None}


class Trip(NamedTuple):
    """What one place measured of another."""

    begun_s: float
    """By the driver's :meth:`~faultset_ray.backend.protocol.Net.uptime_s`."""
    rtt_ms: float | None
    """None where there was no answer."""


class Finding(NamedTuple):
    """What is said of a place."""

    reached: bool
    latency_ms: float
    """The median round trip from the places that reached it; NaN if it is not reached."""


class Votes:
    """The latest round trip of each ordered pair of places, and what they say of each; without clock or chance."""

    def __init__(self) -> None:
        self._trips: dict[str, dict[str, Trip]] = {}
        """By target, then by source."""
        self._reached_s: dict[str, float] = {}
        """When each source reached somebody last."""

    def add(self, source: str, target: str, trip: Trip) -> None:
        """Take a measurement; it replaces the one before."""
        self._trips.setdefault(target, {})[source] = trip
        if trip.rtt_ms is not None:
            self._reached_s[source] = max(trip.begun_s, self._reached_s.get(source, trip.begun_s))

    def forget(self, place: str) -> None:
        """Drop what a place measured, and what was measured of it."""
        self._trips.pop(place, None)
        self._reached_s.pop(place, None)
        for trips in self._trips.values():
            trips.pop(place, None)

    def judge(self, target: str, since_s: float, now_s: float, window_s: float) -> Finding | None:
        """Let those who measured a place since a moment decide about it by majority.

        A source that reached nobody within the window has a fault of its own, and no vote. When the votes are
        equal, the place is there: some did reach it.

        Returns
        -------
        Finding or None
            None if nobody has a vote.
        """
        trips = self._trips.get(target, {})
        begin_s = now_s - window_s
        voters = {
            source: trip.rtt_ms is not None
            for source, trip in trips.items()
            if trip.begun_s >= max(since_s, begin_s) and self._reached_s.get(source, -1.0) >= begin_s
        }
        if not voters:
            return None
        if 2 * sum(voters.values()) < len(voters):
            return Finding(reached=False, latency_ms=float("nan"))
        known = {
            source: trip.rtt_ms
            for source, trip in trips.items()
            if trip.rtt_ms is not None and trip.begun_s >= now_s - max(window_s, LATENCY_SECONDS)
        }
        peers = [rtt for source, rtt in known.items() if source != HERE] or list(known.values())
        return Finding(reached=True, latency_ms=median(peers))

    def of(self, source: str) -> dict[str, Trip]:
        """What a place measured last, by target."""
        return {target: trips[source] for target, trips in self._trips.items() if source in trips}

    def table(self) -> list[tuple[str, str, Trip]]:
        """``(source, target, trip)`` of every pair, in order of the names."""
        return [
            (source, target, trip)
            for target, trips in sorted(self._trips.items())
            for source, trip in sorted(trips.items())
        ]


def peers_of(place: str, places: Sequence[str], turn: int, most: int) -> list[str]:
    """The peers that a place surveys in a turn: in ``len(places)`` turns each pair comes as often as any other."""
    if place not in places:
        return list(places[:most])
    ring = [*places[places.index(place) + 1 :], *places[: places.index(place)]]
    at = turn * most % len(ring) if ring else 0
    return [*ring[at:], *ring[:at]][:most]


def observers_of(target: str, places: Sequence[str], most: int) -> list[str]:
    """The places that measure a target: the same ones as long as they are there (rendezvous hashing)."""
    return nsmallest(most, places, key=lambda place: blake2b(f"{place}/{target}".encode(), digest_size=8).digest())


def stretched(every_s: float, rate: float, demand: float) -> float:
    """The time between two rounds: longer where it would make for ``demand`` probes a second, above ``rate``."""
    return every_s * max(1.0, demand / rate)


def node_of(place: Place, latency_ms: float) -> Node:
    """A place as a node of the fleet of places: where its cell label says, else at :data:`NOWHERE`."""
    lat, lon = NOWHERE
    if place.cell:
        try:
            [lat], [lon] = centers(strings_to_cells([place.cell]))
        except InputError as error:
            events.PLACE_UNPLACED.tell(place=place.id, error=error, cell=NOWHERE)
    return Node(place.id, float(lat), float(lon), latency_ms)
