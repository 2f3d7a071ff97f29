"""Nodes that leave a range, and what is told of regions: each thing once, begun and ended, also over crashes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from running import simulate

import faultset_ray as fs
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.control.ladder import Tier
from faultset_ray.control.region import Region
from faultset_ray.control.states import Rule, State
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.keeper import address
from faultset_ray.driver.watch import Change, RegionChange

WEST, EAST = (10.0, -150.0), (10.0, 150.0)
FAST, SLOW = 5.0, 900.0
HOLDING = fs.Policy(threshold_ms=100.0, samples=(1, 1, 2), hold_s=(600.0, 600.0))


@pytest.fixture
def sim():
    sim = SimBackend([Place(f"p{index}") for index in range(4)], seed=5)
    yield sim
    sim.dispose()


def fleet_of(**places):
    return [(name, *at, FAST) for name, at in places.items()]


async def changes_of(driver, versions, idle_s=5.0):
    return [change async for change in driver.watch(versions, idle_s=idle_s)]


def chain(changes, node):
    return [(c.before, c.after, c.rule, c.region) for c in changes if isinstance(c, Change) and c.id == node]


def regions_told(changes):
    return [(c.region, c.rule) for c in changes if isinstance(c, RegionChange)]


def test_a_node_keeps_its_health_in_another_range(sim):
    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        fleet = await driver.register(fleet_of(a=WEST, b=WEST, c=EAST, d=EAST), 2, policy=HOLDING)
        begun = await driver.survivors()
        assert len(begun.versions) == 2
        await driver.observe(fleet.handles, [SLOW, FAST, SLOW, FAST])
        before = {node: await driver.why(node) for node in "ac"}
        await sim.sleep(3.0)
        await driver.register(fleet_of(a=EAST, c=WEST), 2)  # they change places
        for node in "ac":
            now = await driver.why(node)
            assert (now.state, now.since_ms, now.until_ms) == (
                State.EJECTED,
                before[node].since_ms,
                before[node].until_ms,
            )
        assert sorted((await driver.survivors()).ids.tolist()) == ["b", "d"]
        changes = await changes_of(driver, begun.versions)
        west, east = before["a"].region, before["c"].region
        assert chain(changes, "a") == [
            (State.HEALTHY, State.EJECTED, Rule.OVER_THRESHOLD, west),
            (State.EJECTED, State.EJECTED, Rule.MOVED, east),
        ]
        assert chain(changes, "c") == [
            (State.HEALTHY, State.EJECTED, Rule.OVER_THRESHOLD, east),
            (State.EJECTED, State.EJECTED, Rule.MOVED, west),
        ]
        directory = await driver._keeper.directory("default")
        for info in directory.ranges:
            assert len(await sim.call(address("default", info), Region.parked, info.epoch)) == 0
        await driver.close()

    simulate(sim, scenario())


@pytest.mark.parametrize("lost", ["source", "target"])
def test_a_row_on_its_way_outlives_a_crash(sim, lost):
    """The steward carries on where a range is gone while a node moves into it or out of it."""

    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        fleet = await driver.register(fleet_of(a=WEST, b=WEST, c=EAST, d=EAST), 2, policy=HOLDING)
        begun = await driver.survivors()
        await driver.observe(fleet.handles, [SLOW, FAST, FAST, FAST])
        before = await driver.why("a")
        await sim.sleep(3.0)
        directory = await driver._keeper.directory("default")
        info = directory.ranges[lost == "target"]
        sim.kill(sim._world.hosted[address("default", info).name].place)
        await driver.register(fleet_of(a=EAST), 2)
        await sim.sleep(60.0)
        verdict = await driver.why("a")
        assert (verdict.state, verdict.since_ms, verdict.until_ms) == (State.EJECTED, before.since_ms, before.until_ms)
        states = {}
        for change in await changes_of(driver, begun.versions):
            told = states.get(change.id, change.before)
            assert change.before in {told, State.UNKNOWN}, "its row may be late, and then is told as a change"
            states[change.id] = change.after
        assert states["a"] == State.EJECTED
        await driver.close()

    simulate(sim, scenario())


def test_a_removal_is_told(sim):
    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        await driver.register(fleet_of(a=WEST, b=WEST, c=EAST), 2)
        begun = await driver.survivors()
        await driver.mark(["a"], "pin")
        await driver.remove(["a", "c"])
        changes = await changes_of(driver, begun.versions)
        told = [(c.id, c.before, c.after, c.rule, c.survived, c.survives) for c in changes if c.rule != Rule.PINNED]
        assert sorted(told) == [
            ("a", State.HEALTHY, State.REMOVED, Rule.REMOVED, True, False),
            ("c", State.HEALTHY, State.REMOVED, Rule.REMOVED, True, False),
        ]
        place = next(each.place for name, each in sim._world.hosted.items() if name.startswith("region/"))
        sim.kill(place)
        await sim.sleep(30.0)
        assert await changes_of(driver, begun.versions) == changes, "nothing is told anew over a crash"
        await driver.close()

    simulate(sim, scenario())


def test_shortage_and_panic_begin_and_end(sim):
    policy = fs.Policy(threshold_ms=100.0, survivors_min=2, fallback="none", panic="all")

    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        fleet = await driver.register(fleet_of(a=WEST, b=WEST, c=WEST, d=EAST, e=EAST, f=EAST), 2, policy=policy)
        begun = await driver.survivors()
        west = (await driver.why("a")).region
        await driver.observe(fleet.handles[:2], [SLOW, SLOW])
        await sim.sleep(5.0)
        for place in {each.place for name, each in sim._world.hosted.items() if name.startswith("region/")}:
            sim.kill(place)
        await sim.sleep(60.0)
        await driver.observe(fleet.handles[:2], [FAST, FAST])
        changes = await changes_of(driver, begun.versions)
        assert regions_told(changes) == [
            (west, Rule.SHORT),
            (west, Rule.PANIC),
            (west, Rule.CALM),
            (west, Rule.ENOUGH),
        ]
        short, *_, enough = [change for change in changes if isinstance(change, RegionChange)]
        assert (short.value, short.threshold, enough.value) == (1.0, 2.0, 3.0)
        assert short.to_dict()["rule"] == "short"
        await driver.close()

    simulate(sim, scenario())


@pytest.mark.parametrize("crash", [False, True])
def test_a_region_of_as_many_nodes_as_it_needs_is_short_until_it_was_full_for_a_while(sim, crash):
    policy = fs.Policy(threshold_ms=100.0, survivors_min=3, fallback="everywhere", half_life_s=30.0)

    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        fleet = await driver.register(fleet_of(a=WEST, b=WEST, c=WEST, d=EAST, e=EAST, f=EAST), 2, policy=policy)
        begun = await driver.survivors()
        west = (await driver.why("a")).region
        assert begun.short == {}
        for latency in (SLOW, FAST) * 4:
            await driver.observe(fleet.handles[:1], [latency])
            await sim.sleep(1.0)
            answer = await driver.survivors()
            assert answer.short == {west: (3 if latency == FAST else 2, 3)}
            assert len(answer.by_region[west]) == 3 + (latency == FAST), "it borrows at least one"
            assert (await driver.plan(policy)).planned.short == answer.short
        await sim.sleep(15.0)
        if crash:
            for place in {each.place for name, each in sim._world.hosted.items() if name.startswith("region/")}:
                sim.kill(place)
        while west in (answer := await driver.survivors()).short or not answer.whole:
            await sim.sleep(0.5)
        [short, enough] = [
            change for change in await changes_of(driver, begun.versions) if isinstance(change, RegionChange)
        ]
        assert (short.rule, enough.rule, enough.value) == (Rule.SHORT, Rule.ENOUGH, 3.0)
        took_s = (enough.at_ms - short.at_ms) / 1000 - 7.0
        assert 30.0 <= took_s <= 32.0, "since it was full, also over a crash"
        await driver.close()

    simulate(sim, scenario())


def test_a_missing_region_borrows(sim, monkeypatch):
    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        policy = fs.Policy(threshold_ms=100.0, survivors_min=1, fallback="everywhere")
        await driver.register(fleet_of(a=WEST, b=WEST, c=EAST), 2, policy=policy)
        west, east = (await driver.why("a")).region, (await driver.why("c")).region
        directory = await driver._keeper.directory("default")
        monkeypatch.setattr(driver._keeper, "restore", lambda *_, **__: None)  # it stays missing
        sim.kill(sim._world.hosted[address("default", directory.ranges[0]).name].place)
        answer = await driver.survivors(deadline_s=1.0)
        assert answer.missing_regions == [west]
        assert {region: ids.tolist() for region, ids in answer.by_region.items()} == {east: ["c"], west: ["c"]}
        assert answer.tiers_of(west).tolist() == [Tier.NEAREST]
        assert (answer.ids.tolist(), list(answer.short)) == (["c"], [])
        plan = await driver.plan(fs.Policy(threshold_ms=99.0), deadline_s=1.0)
        assert repr(plan).endswith("; 1 regions did not answer)")
        await driver.set_policy(fs.Policy(threshold_ms=100.0, survivors_min=1, fallback="none"))
        answer = await driver.survivors(deadline_s=1.0)
        assert (answer.missing_regions, list(answer.by_region)) == ([west], [east])
        await driver.close()

    simulate(sim, scenario())


def test_no_panic_while_who_might_lend_does_not_answer(sim, monkeypatch):
    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        policy = fs.Policy(threshold_ms=100.0, survivors_min=2, fallback="everywhere", panic="all")
        fleet = await driver.register(fleet_of(a=WEST, b=WEST, c=EAST, d=EAST), 2, policy=policy)
        await driver.observe(fleet.handles[:1], [SLOW])
        west, east = (await driver.why("a")).region, (await driver.why("c")).region
        answer = await driver.survivors()
        assert (list(answer.short), answer.by_region[west].tolist()) == ([west], ["b", "c"])
        directory = await driver._keeper.directory("default")
        monkeypatch.setattr(driver._keeper, "restore", lambda *_, **__: None)  # it stays missing
        sim.kill(sim._world.hosted[address("default", directory.ranges[1]).name].place)
        for answer in (
            await driver.survivors(deadline_s=1.0),
            (await driver.plan(replace(policy, threshold_ms=99.0), deadline_s=1.0)).planned,
        ):
            assert (answer.missing_regions, answer.panic, answer.ids.tolist()) == ([east], {}, ["b"])
            reason = "1 of the 2 needed survive, fallback 'everywhere' adds 0, and 1 region within reach did not answer"
            assert answer.panic_withheld == {west: reason}
            assert (answer.by_region[west].tolist(), answer.tiers.tolist()) == (["b"], [Tier.OWN])
        await driver.set_policy(replace(policy, fallback="neighbours"))
        answer = await driver.survivors(deadline_s=1.0)
        assert (list(answer.panic), answer.panic_withheld, answer.ids.tolist()) == ([west], {}, ["b", "a"])
        await driver.close()

    simulate(sim, scenario())


def test_a_freeze_begins_and_ends(sim):
    policy = fs.Policy(threshold_ms=100.0, freeze_at=0.5)

    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=2)
        fleet = await driver.register(fleet_of(a=WEST, b=WEST, c=EAST, d=EAST), 2, policy=policy)
        begun = await driver.survivors()
        await driver.observe(fleet.handles, np.full(4, SLOW))
        await sim.sleep(3.0)
        assert (await driver.survivors()).frozen_until_ms is not None
        assert len((await driver.plan(fs.Policy(threshold_ms=99.0))).planned.ids) == 0, "it knows no freeze"
        await driver.set_policy(fs.Policy(threshold_ms=100.0))
        assert (await driver.survivors()).frozen_until_ms is None, "nor does this one"
        changes = await changes_of(driver, begun.versions)
        assert regions_told(changes) == [(None, Rule.FROZEN)] * 2 + [(None, Rule.THAWED)] * 2
        await driver.close()

    simulate(sim, scenario())


def test_samples_are_judged_anew_where_the_policy_changed_while_nobody_served(sim):
    async def scenario():
        driver = await AsyncDriver.start(sim, "passage", region_actors=1)
        fleet = await driver.register(fleet_of(a=WEST, b=WEST), 2, policy=fs.Policy(threshold_ms=100.0))
        await driver.observe(fleet.handles, [50.0, 5.0])
        await sim.sleep(30.0)
        [hosted] = [each for name, each in sim._world.hosted.items() if name.startswith("region/")]
        sim.kill(hosted.place)
        await driver.set_policy(fs.Policy(threshold_ms=20.0))
        async with asyncio.timeout(60.0):
            while not (answer := await driver.survivors()).whole:
                pass
        assert answer.ids.tolist() == ["b"]
        await driver.close()

    simulate(sim, scenario())
