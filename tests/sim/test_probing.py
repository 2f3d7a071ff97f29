"""Probing in virtual time: what is lost is seen in time and nothing else is; reads and writes go by it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from told import told

from faultset_ray.backend.protocol import Addr, Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.control.prober import PLACES, Prober
from faultset_ray.control.states import State
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.places import POLICY
from faultset_ray.driver.prober import Pace, Probing
from faultset_ray.errors import BackendClosed, CallTimeout, InputError, NotEnoughShards

LOST_SECONDS = 0.5
"""A place whose processes are gone: its next ping says so."""
SILENT_SECONDS = 3.0
"""A place that does not answer: two timeouts, the driver's and its witnesses'."""
CELLS = ("u33d", "gcpv", "u09t")
PLACES_OF = [
    Place("home"),
    *(Place(f"p{at}", {"faultset.io/cell": CELLS[at % 3], "faultset.io/store": "true"}, host="") for at in range(6)),
]


def simulate(scenario, seed=1, **faults):
    """Run ``scenario(sim, driver)``."""
    sim = SimBackend(PLACES_OF, seed=seed, faults=SimFaults(**faults))

    async def run():
        driver = await AsyncDriver.start(sim, "probing", region_actors=3)
        try:
            return await scenario(sim, driver)
        finally:
            await driver.close()

    try:
        return sim.execute(run()), sim.trace_digest()
    finally:
        sim.dispose()


async def survive(driver):
    """The places that survive; a range that loads its roster just now is waited for."""
    while not (answer := await driver.survivors(fleet=PLACES)).whole:
        pass
    return set(answer.ids)


async def until_known(sim, driver, place, *, survives):
    """Virtual seconds until the answer about places says so."""
    begun = sim.uptime_s()
    while (place in await survive(driver)) != survives:
        assert sim.uptime_s() - begun < 60
        await sim.sleep(0.01)
    return sim.uptime_s() - begun


@pytest.mark.parametrize("seed", range(10))
def test_lost_and_silent_places_are_seen_in_time(seed):
    async def scenario(sim, driver):
        async with await driver.probe() as probing:
            assert (await probing.measured()).keys() == {place.id for place in PLACES_OF}
            await sim.sleep(2.0)
            sim.kill("p1")
            assert await until_known(sim, driver, "p1", survives=False) < LOST_SECONDS
            sim.cut("p4")
            assert await until_known(sim, driver, "p4", survives=False) < SILENT_SECONDS
            assert await survive(driver) == {"home", "p0", "p2", "p3", "p5"}
            sim.heal("p4")
            assert await until_known(sim, driver, "p4", survives=True) < 1.0
            sim.revive("p1")
            assert await until_known(sim, driver, "p1", survives=True) < 5.0
            assert all(finding.reached for finding in probing.findings.values())

    _, digest = simulate(scenario, seed)
    if seed == 0:
        assert simulate(scenario, seed)[1] == digest, "it replays"


def test_lost_messages_are_no_lost_places():
    async def scenario(sim, driver):
        await driver.probe()
        await sim.sleep(5.0)
        sim.set_faults(SimFaults(drop=0.01, delay_ms=(1.0, 80.0)))
        probing = driver._probings[0]
        wrong = []
        for _ in range(600):
            await sim.sleep(0.2)
            wrong += [place for place, finding in probing.findings.items() if not finding.reached]
        return wrong, probing.findings

    (wrong, findings), _ = simulate(scenario)
    assert wrong == []
    assert all(1.0 < finding.latency_ms < 170.0 for finding in findings.values())


class Deaf:
    """A backend whose own calls do not reach some servants; those of its tasks do."""

    def __init__(self, sim, names):
        self._sim, self._names = sim, names

    def __getattr__(self, name):
        return getattr(self._sim, name)

    def within(self, seconds):
        return Deaf(self._sim.within(seconds), self._names)

    async def call(self, to: Addr, method, *args):
        if to.name in self._names:
            await self.sleep(0.5)
            raise CallTimeout(to.name, method.__name__, 0.5)
        return await self._sim.call(to, method, *args)


def test_a_fault_on_the_drivers_own_way_is_not_the_places():
    async def scenario(sim, driver):
        names = set()
        probing = await Probing(Deaf(sim, names), driver, Pace(), None).start()
        await probing.measured()
        names.add("prober/p2")
        await sim.sleep(10.0)
        seen = probing.round_trips()
        assert seen["", "p2"] is None
        assert any(trip for (source, target), trip in seen.items() if target == "p2")
        assert "p2" in await survive(driver)
        sim.cut("p2")
        assert await until_known(sim, driver, "p2", survives=False) < 6.0, "now it is gone for all"
        await probing.stop()

    simulate(scenario)


def test_the_rate_is_kept():
    async def scenario(sim, driver):
        async with await driver.probe(rate=20.0):
            await sim.sleep(10.0)
            before = len(sim.trace)
            await sim.sleep(60.0)
            return sum("-> prober/" in line and line.endswith(".ping") for line in sim.trace[before:])

    pings, _ = simulate(scenario)
    assert 0.7 * 20 * 60 < pings < 1.1 * 20 * 60


def test_only_places_with_the_labels():
    async def scenario(sim, driver):
        async with await driver.probe(labels={"faultset.io/store": "true"}) as probing:
            assert "home" not in await probing.measured()
            assert await survive(driver) == {f"p{at}" for at in range(6)}

    simulate(scenario)


def test_places_that_come_and_go_are_not_held():
    async def scenario(sim, driver):
        known = sim._world.all_places
        for at, labels in (("p1", {}), ("p2", {"faultset.io/store": "true"})):
            known[at] = replace(known[at], labels={"faultset.io/elastic": "true", **labels})
        async with await driver.probe() as probing:
            assert set(await probing.measured()) == {place.id for place in PLACES_OF} - {"p1"}
            assert await driver._places.lost(await driver._places.survivors()) == set()
        async with await driver.probe(labels={"faultset.io/elastic": "true"}) as probing:
            assert set(await probing.measured()) == {"p1", "p2"}

    simulate(scenario)


def test_after_its_end_nothing_is_probed_and_the_driver_ends_it_too():
    async def scenario(sim, driver):
        probing = await driver.probe()
        await probing.measured()
        await probing.stop()
        before = len(sim.trace)
        await sim.sleep(30.0)
        assert not [line for line in sim.trace[before:] if "prober/" in line]
        probing._watched["p0"].is_told = False
        with pytest.raises(BackendClosed):
            await probing.measured()
        await driver.probe()
        await driver.shutdown()
        assert not any(name.startswith("prober/") for name in sim._world.hosted)
        assert len(asyncio.all_tasks()) == 1

    simulate(scenario)


def test_writes_avoid_a_silent_place_and_reads_do_not_wait_for_it():
    async def scenario(sim, driver):
        payload = sim.token(50_000)
        await driver.stores()
        before = await driver.encode(payload, "rs:3+2", stripe_bytes=30_000)
        cut = {before.shards[index].place for index in (0, 1)}
        async with await driver.probe() as probing:
            await probing.measured()
            for place in sorted(cut):
                sim.cut(place)
                await until_known(sim, driver, place, survives=False)
            begun = sim.uptime_s()
            assert await driver.decode(before) == payload
            read_s = sim.uptime_s() - begun
            begun = sim.uptime_s()
            after = await driver.encode(payload, "rs:2+2", stripe_bytes=30_000)
            write_s = sim.uptime_s() - begun
            assert not cut & {held.place for held in after.shards.values()}
            for place in sorted({held.place for held in before.shards.values()} - cut)[:1]:
                sim.cut(place)  # not yet seen, or seen: now too few are left for anybody
                with pytest.raises(NotEnoughShards):
                    await driver.decode(before)
        return read_s, write_s

    (read_s, write_s), _ = simulate(scenario)
    assert read_s < 1.0
    assert write_s < 1.0


class Scripted(Prober):
    """Measures no network: servers answer in 5 ms, but for those that are down."""

    down: ClassVar[set] = set()
    asked: ClassVar[list] = []

    def reach(self, targets, timeout_s, concurrent):
        self.asked.append((sorted(targets), timeout_s, concurrent))
        return {name: 5.0 for name in targets if name not in self.down}


def test_servers_of_a_fleet_are_observed():
    Scripted.down, Scripted.asked = {"s1"}, []

    async def scenario(sim, driver):
        nodes = [(f"s{at}", 50.0 + at, 10.0, float("nan")) for at in range(5)]
        fleet = await driver.register(nodes, 3, fleet="servers")
        targets = {f"s{at}": f"http://10.0.0.{at}/" for at in range(4)}
        probing = Probing(sim, driver, Pace(timeout_s=0.7, concurrent=3), None, fleet, targets, role=Scripted)
        async with await probing.start():
            await sim.sleep(10.0)
            answer = await driver.survivors(threshold_ms=10.0, fleet="servers")
            assert set(answer.ids) == {"s0", "s2", "s3"}, "s1 is down, s4 no target"
            Scripted.down = set()
            await sim.sleep(5.0)
            assert "s1" in (await driver.survivors(threshold_ms=10.0, fleet="servers")).ids
        return fleet

    simulate(scenario)
    assert {(timeout, most) for _, timeout, most in Scripted.asked} == {(0.7, 3)}
    assert sum(names == ["s1"] for names, *_ in Scripted.asked) >= 5, "asked of a second place"


@pytest.mark.parametrize("servers", [100, 5_000])
def test_the_rate_is_kept_where_servers_and_places_are_down_and_losses_are_seen_as_soon(servers):
    """Second attempts, repeated pings and witnesses count too; what watches places goes before what measures servers."""
    Scripted.down, Scripted.asked = {f"s{at}" for at in range(servers)}, []
    rate = 80.0

    async def scenario(sim, driver):
        names = [f"s{at}" for at in range(servers)]
        fleet = await driver.register([(name, 50.0, 10.0, float("nan")) for name in names], 3, fleet="servers")
        targets = {name: f"http://10.0.{at // 256}.{at % 256}/" for at, name in enumerate(names)}

        def probes(before):
            pings = sum("-> prober/" in line and line.endswith(".ping") for line in sim.trace[before:])
            return pings + sum(len(names) for names, *_ in Scripted.asked)

        async with await Probing(sim, driver, Pace(rate=rate), None, fleet, targets, role=Scripted).start() as probing:
            await probing.measured()
            await sim.sleep(10.0)
            before = len(sim.trace)
            Scripted.asked.clear()
            begun_s = sim.uptime_s()
            sim.kill("p1")
            assert await until_known(sim, driver, "p1", survives=False) < LOST_SECONDS
            sim.cut("p4")
            assert await until_known(sim, driver, "p4", survives=False) < SILENT_SECONDS
            await sim.sleep(30.0)
            seconds = sim.uptime_s() - begun_s
            return probes(before) / seconds, {names[0] for names, *_ in Scripted.asked}

    (measured, _), _ = simulate(scenario)
    assert 0.7 * rate < measured < 1.05 * rate


class Mute(Scripted):
    """Says nothing as long as ``mute``."""

    mute: ClassVar[bool] = True

    def reach(self, targets, timeout_s, concurrent):
        if self.mute:
            raise OSError(24, "Too many open files")
        return super().reach(targets, timeout_s, concurrent)


def test_a_place_that_does_not_say_how_servers_are_is_logged_once(caplog):
    caplog.set_level(logging.INFO, logger="faultset_ray.events")
    Scripted.down, Scripted.asked, Mute.mute = set(), [], True

    async def scenario(sim, driver):
        fleet = await driver.register([("s", 50.0, 10.0, float("nan"))], 3, fleet="servers")
        probing = Probing(sim, driver, Pace(), None, fleet, {"s": "http://10.0.0.1/"}, role=Mute)
        async with await probing.start():
            await sim.sleep(10.0)
            assert (await driver.why("s", fleet="servers")).state == State.UNKNOWN, "nobody says it is down"
            Mute.mute = False
            await sim.sleep(5.0)
            assert (await driver.why("s", fleet="servers")).state == State.HEALTHY

    simulate(scenario)
    warned = [each["servers"] for each in told(caplog, "servers_unknown")]
    assert warned in ([1], [1, 1]), "of each place that was asked, once"
    assert len(told(caplog, "servers_known")) == 1


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"every_s": 0}, "every_s is 0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"rate": True}, "rate is True"),
        ({"concurrent": 0}, "concurrent is 0"),
        ({"targets": {"a": "tcp://a:1"}}, "need the fleet"),
        ({"targets": {"a": "gopher://a"}}, "gopher"),
    ],
)
def test_bad_arguments(wrong, match):
    async def scenario(sim, driver):
        with pytest.raises(InputError, match=match):
            await driver.probe(**wrong)
        fleet = await driver.register([("a", 0.0, 0.0, np.nan)], fleet="x")
        with pytest.raises(InputError, match="'b' is no node of fleet 'x'"):
            await driver.probe(fleet=fleet, targets={"b": "tcp://b:1"})

    simulate(scenario)


def test_a_place_that_drains_is_used_no_more_and_one_that_stays_is_again():
    async def scenario(sim, driver):
        async with await driver.probe() as probing:
            await probing.measured()
            known = sim._world.all_places
            known["p3"] = replace(known["p3"], draining=True)
            assert await until_known(sim, driver, "p3", survives=False) < 2.0
            assert probing.findings["p3"].reached
            known["p3"] = replace(known["p3"], draining=False)
            assert await until_known(sim, driver, "p3", survives=True) < 2.0

    simulate(scenario)


def test_a_second_driver_that_probes_does_not_disturb_the_answer():
    async def scenario(sim, driver):
        first = await driver.probe()
        await first.measured()
        await sim.sleep(2.0)
        second = await AsyncDriver.start(sim, "probing", region_actors=3)
        probing = asyncio.ensure_future(second.probe())
        for _ in range(300):
            assert len(await survive(driver)) == len(PLACES_OF)
            await sim.sleep(0.01)
        other = await probing
        await first.stop()
        sim.kill("p1")
        assert await until_known(sim, second, "p1", survives=False) < LOST_SECONDS
        await other.stop()
        await second.close()

    simulate(scenario)


def test_what_nobody_probes_any_more_is_unknown_and_nothing_goes_by_it():
    async def scenario(sim, driver):
        async with await driver.probe() as probing:
            await probing.measured()
        assert len(await survive(driver)) == len(PLACES_OF)
        assert set((await driver._places.survivors()).ids) == {place.id for place in PLACES_OF}
        await sim.sleep(POLICY.ttl_s + 6.0)
        assert await survive(driver) == set()
        assert await driver._places.survivors() is None

    simulate(scenario)


def test_a_place_that_comes_and_goes_stays_out_for_longer():
    async def scenario(sim, driver):
        async with await driver.probe() as probing:
            await probing.measured()
            out = []
            for _ in range(5):
                sim.cut("p2")
                await until_known(sim, driver, "p2", survives=False)
                sim.heal("p2")
                out.append(await until_known(sim, driver, "p2", survives=True))
            return out

    out, _ = simulate(scenario)
    assert out[0] < 1.5
    assert out[-1] > 6.0
