"""Scenarios run: by a policy alone, or by a whole system in simulated time, judged by what its users saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.scenarios import SCENARIOS, WAVES, Wave, World, waves
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.control.answer import Survivors
from faultset_ray.control.ladder import Tier
from faultset_ray.control.replay import Replay
from faultset_ray.control.states import State
from faultset_ray.control.tally import Report, Tally
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.geohash import encode_many, group
from faultset_ray.policy import Policy

PRECISION = 3
PLACES = 4
SAMPLED = 20


@dataclass
class Seen:
    """What one run came to."""

    report: Report
    peak_out: NDArray[np.int64]
    """int64[g]: how many nodes of each region were out at once, at most."""
    sizes: NDArray[np.int64]
    """int64[g]: nodes of each region."""
    seconds: list[int] = field(default_factory=list)
    survivors: list[float] = field(default_factory=list)
    """Share of the nodes, wave after wave."""
    bad: list[float] = field(default_factory=list)
    short: list[int] = field(default_factory=list)
    """Regions below their need."""
    panic: list[int] = field(default_factory=list)
    frozen: list[bool] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    """Share of the short regions (the first :data:`SAMPLED`) with as many nodes as they need, all tiers counted."""


def weather(scenario: str, world: World, hours: float, seed: int, parts: int) -> Iterator[Wave]:
    """Draw a scenario of :data:`SCENARIOS`, with so many waves a round."""
    return waves(SCENARIOS[scenario](world, np.random.default_rng([seed, 1]), hours), parts)


def replayed(scenario: str, policy: Policy, *, nodes: int, hours: float, seed: int = 1, parts: int = WAVES) -> Seen:
    """Run a scenario through a policy's decisions: no system, and faster."""
    world = World.of(nodes, seed)
    run = Replay(policy, encode_many(world.lat, world.lon, PRECISION))
    for wave in weather(scenario, world, hours, seed, parts):
        run.feed(np.full(len(wave.nodes), wave.at_ms), wave.nodes, wave.latency_ms, wave.ok, wave.bad)
    return Seen(run.report(), run.peak_out, np.diff(run.health.groups.starts))


def simulate(
    scenario: str,
    policy: Policy,
    *,
    nodes: int,
    hours: float,
    seed: int = 1,
    ranges: int = 4,
    parts: int = WAVES,
) -> Seen:
    """Run a scenario of :data:`SCENARIOS` under a policy."""
    sim = SimBackend([Place(f"p{index}", cpus=2) for index in range(PLACES)], seed=seed)
    try:
        world = World.of(nodes, seed)
        return sim.execute(_run(sim, policy, world, weather(scenario, world, hours, seed, parts), ranges))
    finally:
        sim.dispose()


async def _run(sim: SimBackend, policy: Policy, world: World, measured: Iterator[Wave], ranges: int) -> Seen:
    nodes = len(world)
    columns = {"id": [f"n{index}" for index in range(nodes)], "lat": world.lat, "lon": world.lon}
    driver = await AsyncDriver.start(sim, "simulated", region_actors=ranges)
    fleet = await driver.register({**columns, "latency_ms": np.full(nodes, np.nan)}, PRECISION, policy=policy)
    assert fleet.handles is not None
    watcher = _Watcher(encode_many(world.lat, world.lon, PRECISION), policy)
    started_ms = sim.now_ms()
    for wave in measured:
        await sim.sleep(max(0.0, (started_ms + wave.at_ms - sim.now_ms()) / 1000))
        await driver.observe(fleet.handles[wave.nodes], wave.latency_ms, ok=wave.ok)
        watcher.take(wave, await driver.survivors(partial=False))
    await driver.close()
    return watcher.seen()


class _Watcher:
    """Tells from answers alone what became of each node."""

    def __init__(self, cells: NDArray[np.uint64], policy: Policy) -> None:
        groups = group(cells)
        self._sizes = np.diff(groups.starts)
        self._group = np.empty(len(cells), np.int64)
        self._group[groups.order] = np.repeat(np.arange(len(self._sizes)), self._sizes)
        self._need = policy.survivors_min
        self._tally = Tally(len(cells))
        self._state = np.full(len(cells), State.UNKNOWN, np.uint8)
        self._samples = 0
        self._at_ms = 0
        self._truly_bad = np.zeros(len(cells), np.bool_)
        self._seen = Seen(Report(*[0] * 7), np.zeros(len(self._sizes), np.int64), self._sizes)

    def take(self, wave: Wave, answer: Survivors) -> None:
        # who has not survived yet is not known well enough: that was never ejected, and doesn't come back
        state = np.where(self._state == State.UNKNOWN, State.UNKNOWN, State.EJECTED).astype(np.uint8)
        state[answer.handles[answer.tiers == Tier.OWN]] = State.HEALTHY
        self._tally.elapse(wave.at_ms - self._at_ms)
        self._at_ms = wave.at_ms
        self._samples += len(wave.nodes)
        if wave.bad is not None:
            self._truly_bad[wave.nodes] = wave.bad
        begun = self._tally.learn(np.full(len(wave.nodes), wave.at_ms), wave.nodes, wave.bad)
        changed = np.flatnonzero(state != self._state).astype(np.uint32)
        self._tally.move(changed, self._state[changed], state[changed])
        self._tally.detect(np.concatenate([changed, begun]), wave.at_ms)
        self._state = state
        self._record(answer)

    def _record(self, answer: Survivors) -> None:
        seen, out = self._seen, self._state == State.EJECTED
        np.maximum(seen.peak_out, np.bincount(self._group[out], minlength=len(self._sizes)), out=seen.peak_out)
        short = answer.short
        seen.seconds.append(self._at_ms // 1000)
        seen.survivors.append(1 - out.mean())
        seen.bad.append(self._truly_bad.mean())
        seen.short.append(len(short))
        seen.panic.append(len(answer.panic))
        seen.frozen.append(answer.frozen_until_ms is not None)
        looked_at = list(short)[:SAMPLED]
        served = sum(len(answer.by_region.get(region, ())) >= self._need for region in looked_at)
        seen.served.append(served / len(looked_at) if looked_at else 1.0)

    def seen(self) -> Seen:
        self._seen.report = self._tally.report(self._samples, float((self._seen.peak_out / self._sizes).max()))
        return self._seen
