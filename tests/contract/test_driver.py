"""One suite over every backend: what users may rely on, wherever their driver runs."""

from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest

import faultset_ray as fs
from contract.harnesses import LOCAL, RAY, SIM, Kept, harness_of
from faultset_ray.backend.protocol import Place
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import InputError, NotEnoughShards, UnknownFleet, UnknownNode
from faultset_ray.limits import KIB

REGIONS = ("north", "south", "west", "east")
LABELS = [{"faultset.io/region": name, "faultset.io/store": "true"} for name in REGIONS]
PLACES = [Place("home"), *(Place(f"p-{labels['faultset.io/region']}", labels) for labels in LABELS)]
SYSTEM = "contract"


@pytest.fixture(scope="module", params=[LOCAL, SIM, RAY])
def harness(request):
    # room for the ranges of all fleets on the places that are left at the end
    harness = harness_of(request.param, PLACES, LABELS, SYSTEM, cpus=4)
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def driver(harness):
    """One driver for the module; the tests at its end take places away from it."""
    driver = harness.run(AsyncDriver.start(harness.backend, SYSTEM, region_actors=3))
    yield driver
    harness.run(driver.close())


def nodes_of(seed: int, count: int = 400) -> list[fs.Node]:
    rng = np.random.default_rng(seed)
    columns = rng.uniform(-90, 90, count), rng.uniform(-180, 180, count), rng.uniform(0, 200, count).round()
    return [fs.Node(f"n{number}", *values) for number, values in enumerate(zip(*columns, strict=True))]


def payload(nbytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(nbytes)


def test_survivors_are_those_of_faultset(harness, driver):
    nodes = nodes_of(1)

    async def scenario():
        fleet = await driver.register(nodes, 2)
        assert fleet.handles.tolist() == list(range(len(nodes)))
        return [await driver.survivors(threshold_ms=threshold, partial=False) for threshold in (5.0, 60.0, np.inf)]

    for answer in harness.run(scenario()):
        assert answer.ids.tolist() == fs.faultset(nodes, answer.threshold_ms, 2)
        assert answer.whole
        assert len(answer.versions) == 3
        listed = [node for ids in answer.by_region.values() for node in ids.tolist()]
        assert listed == answer.ids.tolist()
        again = pickle.loads(pickle.dumps(answer))
        assert again.ids.tolist() == answer.ids.tolist()


def test_registering_again(harness, driver):
    async def scenario():
        first = await driver.register([("a", 1.0, 1.0, 5.0), ("b", -1.0, 90.0, 5.0)], 4, fleet="again")
        second = await driver.register([("c", 1.0, 1.0, 1.0), ("b", 1.0, 1.0, 9.0)], 4, fleet="again")
        assert (first.handles.tolist(), second.handles.tolist()) == ([0, 1], [2, 1])
        return (await driver.survivors(threshold_ms=9.0, fleet="again")).by_region

    [(region, ids)] = harness.run(scenario()).items()
    assert region == fs.geohash.encode(1.0, 1.0, 4)
    assert ids.tolist() == ["c", "a", "b"]


def test_observations_count_while_they_are_new(harness, driver):
    async def scenario():
        fleet = await driver.register([("a", 0.0, 0.0, 5.0), ("b", 0.0, 9.0, 5.0)], 3, fleet="seen")
        now = (await driver.survivors(threshold_ms=9.0, fleet="seen")).at_ms + 10

        async def alive():
            return (await driver.survivors(threshold_ms=9.0, fleet="seen")).ids.tolist()

        assert await driver.observe(fleet.handles, [1.0, 10.0], at_ms=now, fleet="seen") == 2
        assert await alive() == ["a"]
        assert await driver.observe(fleet.handles, [10.0, 1.0], at_ms=now - 1, fleet="seen") == 0
        assert await driver.observe(fleet.handles, [np.nan, 1.0], ok=[True, True], at_ms=now + 1, fleet="seen") == 2
        assert await alive() == ["b"]
        assert await driver.observe([1], [1.0], ok=[False], at_ms=now + 2, fleet="seen") == 1
        assert await alive() == []
        with pytest.raises(InputError):
            await driver.observe([2], [1.0], fleet="seen")
        with pytest.raises(UnknownFleet):
            await driver.survivors(threshold_ms=1.0, fleet="unseen")

    harness.run(scenario())


def test_a_policy_decides_and_explains(harness, driver):
    nodes = [("a", 0.0, 0.0, 5.0), ("b", 0.0, 0.0, 6.0), ("c", 0.0, 90.0, 7.0)]
    policy = fs.Policy(threshold_ms=50.0, samples=(2, 3, 1))

    async def scenario():
        fleet = await driver.register(nodes, 3, fleet="ruled", policy=policy)
        now = (await driver.survivors(fleet="ruled")).at_ms + 10

        async def alive():
            return (await driver.survivors(fleet="ruled", partial=False)).ids.tolist()

        assert await alive() == ["a", "b", "c"]
        await driver.observe(fleet.handles[:1], [90.0], at_ms=now, fleet="ruled")
        assert await alive() == ["b", "a", "c"], "one bad sample makes a suspect, which survives"
        verdict = await driver.why("a", fleet="ruled")
        assert (verdict.state.label, verdict.rule.label, verdict.value, verdict.threshold) == (
            "suspect",
            "some_bad",
            1,
            2,
        )
        await driver.observe(fleet.handles, [90.0, 8.0, 8.0], at_ms=np.full(3, now + 1), fleet="ruled")
        assert await alive() == ["b", "c"]
        verdict = await driver.why("a", fleet="ruled")
        assert (verdict.state.label, verdict.rule.label, verdict.value) == ("ejected", "over_threshold", 90.0)

        plan = await driver.plan(fs.Policy(threshold_ms=7.5), fleet="ruled")
        assert (plan.joins, sorted(plan.leaves)) == ([], ["b", "c"])
        assert plan.live.ids.tolist() == ["b", "c"]
        assert await alive() == ["b", "c"], "a plan changes nothing"
        await driver.set_policy(fs.Policy(threshold_ms=7.5), fleet="ruled")
        answer = await driver.survivors(fleet="ruled", partial=False)
        assert answer.ids.tolist() == plan.planned.ids.tolist() == []
        assert answer.policy.threshold_ms == 7.5
        with pytest.raises(InputError):
            await driver.set_policy("strict", fleet="ruled")
        with pytest.raises(UnknownNode):
            await driver.why("z", fleet="ruled")

    harness.run(scenario())


def test_marks_and_removals_bypass_measurements(harness, driver):
    async def scenario():
        nodes = [("a", 0.0, 0.0, 5.0), ("b", 0.0, 9.0, 500.0), ("c", 40.0, 9.0, 6.0)]
        fleet = await driver.register(nodes, 3, fleet="marked")

        async def alive():
            by_state = (await driver.survivors(fleet="marked", partial=False)).ids.tolist()
            assert (await driver.survivors(threshold_ms=100.0, fleet="marked")).ids.tolist() == by_state
            return by_state

        assert await driver.mark(["a"], "drain", fleet="marked") == 1
        assert await driver.mark("b", "pin", fleet="marked") == 1
        assert await alive() == ["b", "c"]
        assert (await driver.why("a", fleet="marked")).rule.label == "drained"
        with pytest.raises(UnknownNode):
            await driver.mark(["a", "z"], None, fleet="marked")
        with pytest.raises(InputError):
            await driver.mark(["a"], "keep", fleet="marked")
        assert await driver.mark(["a", "b"], None, fleet="marked") == 2
        assert await alive() == ["a", "c"]
        assert await driver.remove(["c", "z"], fleet="marked") == 1
        assert await alive() == ["a"]
        again = await driver.register([("c", 40.0, 9.0, 7.0)], 3, fleet="marked")
        assert again.handles.tolist() == [3], "a handle is never given again"
        assert await alive() == ["a", "c"]
        assert await driver.observe(fleet.handles[2:], [1.0], fleet="marked") == 0

    harness.run(scenario())


def test_a_watch_tells_each_change_once(harness, driver):
    async def scenario():
        fleet = await driver.register([("a", 0.0, 0.0, 5.0), ("b", 0.0, 90.0, 6.0)], 3, fleet="watched")
        begun = await driver.survivors(fleet="watched")
        watch = driver.watch(begun.versions, fleet="watched", idle_s=3.0)
        for latencies in ([200.0, 6.0], [200.0, 300.0], [1.0, 300.0]):
            await driver.observe(fleet.handles, latencies, fleet="watched")
            await driver.survivors(fleet="watched")
        first = await anext(watch)
        versions = watch.versions
        changes = [first, *[change async for change in watch]]
        told = sorted(
            (change.id, change.range, change.version, change.before.label, change.after.label) for change in changes
        )
        assert [(node, before, after) for node, _, _, before, after in told] == [
            ("a", "healthy", "ejected"),
            ("a", "ejected", "healthy"),
            ("b", "healthy", "ejected"),
        ]
        assert {change.to_dict()["rule"] for change in changes} == {"over_threshold", "recovered"}
        resumed = driver.watch(versions, fleet="watched", idle_s=0.5)
        assert [change async for change in resumed] == changes[1:]
        assert resumed.versions == watch.versions
        assert [change async for change in driver.watch(fleet="watched", idle_s=0.5)] == [], "from now on"

    harness.run(scenario())


@pytest.mark.parametrize("nbytes", [0, 1, 64 * KIB, 3 * 64 * KIB + 5])
def test_objects_come_back(harness, driver, nbytes):
    data = payload(nbytes)

    async def scenario():
        shards = await driver.encode(data, "rs:2+2", stripe_bytes=64 * KIB)
        assert (shards.size, shards.survivable) == (nbytes, 2)
        assert {region for _, region in shards.locations.values()} == set(REGIONS)
        assert await driver.decode(pickle.loads(pickle.dumps(shards))) == data
        buffer = np.zeros(nbytes, np.uint8)
        assert await driver.decode(shards, buffer) is None
        assert buffer.tobytes() == data
        await shards.free()
        if nbytes:
            with pytest.raises(NotEnoughShards):
                await driver.decode(shards)

    harness.run(scenario())


def test_files_come_back(harness, driver, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.write_bytes(payload(100_003))

    async def scenario():
        shards = await driver.encode(source, "rs:3+1", stripe_bytes=32 * KIB)
        await driver.decode(shards, out)
        await driver.free(shards)

    harness.run(scenario())
    assert out.read_bytes() == source.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_drivers_of_a_system_share_it(harness, driver):
    async def scenario():
        async with await AsyncDriver.start(Kept(harness.backend), SYSTEM) as other:
            await driver.register([("a", 0.0, 0.0, 5.0)], fleet="shared")
            assert (await other.survivors(threshold_ms=9.0, fleet="shared")).ids.tolist() == ["a"]
            await other.register([("b", 0.0, 0.0, 4.0)], fleet="shared")
            assert (await driver.survivors(threshold_ms=9.0, fleet="shared")).ids.tolist() == ["b", "a"]
            shards = await other.encode(b"shared", "rs:1+1")
            assert await driver.decode(shards) == b"shared"
            assert [store.uuid for store in await other.stores()] == [store.uuid for store in await driver.stores()]

    harness.run(scenario())


def test_lost_places(harness, driver):
    """Last: half of the places with stores are lost, then one more."""
    data, nodes = payload(200_000), nodes_of(1)

    async def before():
        return await driver.encode(data, "rs:2+2", stripe_bytes=64 * KIB)

    shards = harness.run(before())
    place_of = {region: place for place, region in shards.locations.values()}
    harness.kill(place_of["north"])
    harness.kill(place_of["west"])

    async def after():
        assert await driver.decode(shards) == data
        async with asyncio.timeout(60):
            while not (answer := await driver.survivors(threshold_ms=60.0, deadline_s=5.0)).whole:
                assert set(answer.missing_regions) <= set(fs.geohash.geohash_cluster(nodes, 2))
        assert answer.ids.tolist() == fs.faultset(nodes, 60.0, 2)
        fewer = await driver.encode(data, "rs:2+2")
        assert {region for _, region in fewer.locations.values()} == {"south", "east"}
        assert fewer.survivable == 1
        assert await driver.decode(fewer) == data

    harness.run(after())
    harness.kill(place_of["south"])

    async def too_few():
        with pytest.raises(NotEnoughShards) as caught:
            await driver.decode(shards)
        assert (caught.value.have, caught.value.need) == (1, 2)
        gone = {index for index, (_, region) in shards.locations.items() if region != "east"}
        assert set(caught.value.missing) == gone

    harness.run(too_few())
