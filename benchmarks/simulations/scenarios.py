"""Weather for a fleet: what is measured of every node, round after round, and which nodes are truly bad.

A scenario is drawn from a seed and knows nothing of policies. Every node is measured each ``EVERY_S``, one part of
them after the other, as those who measure do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EVERY_S = 10
WAVES = 5
"""Parts of the nodes, which are measured one after the other within ``EVERY_S``."""
THRESHOLD_MS = 100.0
CITIES = 60


@dataclass(frozen=True)
class Round:
    """Columns of all nodes, each as it is when its turn comes."""

    at_ms: int
    """When the first of them are measured."""
    latency_ms: NDArray[np.float64]
    ok: NDArray[np.bool_]
    bad: NDArray[np.bool_] | None
    """The truth; None where there is none to be had."""


@dataclass(frozen=True)
class Wave:
    """Columns of the nodes that are measured at one moment."""

    at_ms: int
    nodes: NDArray[np.uint32]
    latency_ms: NDArray[np.float64]
    ok: NDArray[np.bool_]
    bad: NDArray[np.bool_] | None


@dataclass(frozen=True)
class World:
    """Where the nodes are."""

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    city: NDArray[np.int64]

    @classmethod
    def of(cls, nodes: int, seed: int) -> World:
        """Scatter nodes around cities of very different sizes."""
        dice = np.random.default_rng(seed)
        lat, lon = dice.uniform(-50, 65, CITIES), dice.uniform(-180, 180, CITIES)
        city = dice.choice(CITIES, nodes, p=dice.dirichlet(np.full(CITIES, 0.7)))
        east = (lon[city] + dice.normal(0, 0.8, nodes) + 180) % 360 - 180
        return cls(lat[city] + dice.normal(0, 0.5, nodes), east, city)

    def __len__(self) -> int:
        return len(self.lat)


Weather = Callable[[World, np.random.Generator, float], Iterator[Round]]


def waves(rounds: Iterable[Round], count: int) -> Iterator[Wave]:
    """Cut rounds into waves; the first round stays whole, so that no node begins as unknown."""
    for number, each in enumerate(rounds):
        parts = count if number else 1
        for part in range(parts):
            nodes = np.arange(part, len(each.ok), parts, dtype=np.uint32)
            bad = None if each.bad is None else each.bad[nodes]
            at_ms = each.at_ms + part * EVERY_S * 1000 // parts
            yield Wave(at_ms, nodes, each.latency_ms[nodes], each.ok[nodes], bad)


def _times(hours: float) -> Iterator[int]:
    return iter(range(0, round(hours * 3_600_000), EVERY_S * 1000))


def _calm(dice: np.random.Generator, usual_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    return usual_ms * dice.uniform(0.9, 1.1, len(usual_ms))


def _fails(
    world: World,
    dice: np.random.Generator,
    hours: float,
    down: Callable[[int], NDArray[np.bool_]],
    *,
    truth: bool = True,
) -> Iterator[Round]:
    """Nodes fail whenever they are down, and are fine otherwise."""
    usual_ms = dice.uniform(20, 70, len(world))
    for at_ms in _times(hours):
        out = down(at_ms)
        yield Round(at_ms, _calm(dice, usual_ms), ~out, out if truth else np.zeros_like(out))


def jitter(world: World, dice: np.random.Generator, hours: float) -> Iterator[Round]:
    """Every latency is drawn from ±10 % around the threshold: nobody can say which nodes are bad."""
    everyone = np.ones(len(world), np.bool_)
    for at_ms in _times(hours):
        yield Round(at_ms, THRESHOLD_MS * dice.uniform(0.9, 1.1, len(world)), everyone, None)


def daily_load(world: World, dice: np.random.Generator, hours: float) -> Iterator[Round]:
    """Every node is busy once, for half of the time: past the threshold and back, slowly, in jitter of ±10 %.

    Which nodes are bad nobody can say near the threshold; but all of them go, come back, and stay.
    """
    begin_ms, everyone = dice.uniform(0, 0.4 * 3_600_000 * hours, len(world)), np.ones(len(world), np.bool_)
    for at_ms in _times(hours):
        busy = np.clip((at_ms - begin_ms) / (0.5 * 3_600_000 * hours), 0, 1)
        level_ms = THRESHOLD_MS * (0.55 + 0.65 * np.sin(np.pi * busy) ** 2)
        yield Round(at_ms, _calm(dice, level_ms), everyone, None)


def gray_failure(world: World, dice: np.random.Generator, hours: float) -> Iterator[Round]:
    """One node in twenty works, but badly, for ten minutes: four times as slow, and three requests in ten fail.

    The last of them is well five minutes before the end, so that all can be back by then.
    """
    usual_ms = dice.uniform(30, 70, len(world))
    begin = dice.uniform(0, max(0.0, hours * 3600 - 900), len(world))
    chosen = dice.random(len(world)) < 0.05
    for at_ms in _times(hours):
        gray = chosen & (begin * 1000 <= at_ms) & (at_ms < (begin + 600) * 1000)
        latency_ms = _calm(dice, usual_ms) * np.where(gray, 4, 1)
        yield Round(at_ms, latency_ms, ~(gray & (dice.random(len(world)) < 0.3)), gray)


def regional_outage(world: World, dice: np.random.Generator, hours: float) -> Iterator[Round]:
    """The largest city is gone for the second quarter of the time."""
    lost = world.city == np.bincount(world.city).argmax()
    begin_ms, end_ms = round(hours * 900_000), round(hours * 1_800_000)
    return _fails(world, dice, hours, lambda at_ms: lost & (begin_ms <= at_ms < end_ms))


def observer_cut_off(world: World, dice: np.random.Generator, hours: float) -> Iterator[Round]:
    """For two minutes nothing answers the observer, whose own link is down: not one node is bad."""
    everyone, begin_ms = np.ones(len(world), np.bool_), round(hours * 1_800_000)
    return _fails(world, dice, hours, lambda at_ms: everyone & (begin_ms <= at_ms < begin_ms + 120_000), truth=False)


def rolling_restart(world: World, dice: np.random.Generator, hours: float) -> Iterator[Round]:
    """One group after the other restarts, one every 72 s, each for 40 s, so that in the end all have."""
    groups = max(2, round(hours * 50))
    group = dice.integers(0, groups, len(world))
    return _fails(world, dice, hours, lambda at_ms: (group == at_ms // 72_000) & (at_ms % 72_000 < 40_000))


def flapping_link(world: World, dice: np.random.Generator, hours: float) -> Iterator[Round]:
    """One node in thirty has a link that is good for 40 s and lossy for 40 s, in turn, for half of the time."""
    chosen, phase = dice.random(len(world)) < 1 / 30, dice.integers(0, 80, len(world)) * 1000
    usual_ms = dice.uniform(20, 70, len(world))
    begin_ms, end_ms = round(hours * 900_000), round(hours * 2_700_000)
    for at_ms in _times(hours):
        flapping = chosen & (begin_ms <= at_ms < end_ms)
        lossy = flapping & ((at_ms + phase) % 80_000 < 40_000)
        yield Round(at_ms, _calm(dice, usual_ms), ~lossy, flapping)


SCENARIOS: dict[str, Weather] = {
    "jitter": jitter,
    "daily load": daily_load,
    "gray failure": gray_failure,
    "regional outage": regional_outage,
    "observer cut off": observer_cut_off,
    "rolling restart": rolling_restart,
    "flapping link": flapping_link,
}
