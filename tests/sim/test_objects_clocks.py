"""Clocks that jump, and regions that are cut off: what was acknowledged stays, and nothing is told wrongly."""

from __future__ import annotations

import pytest
from sim.object_world import SYSTEM, Client, simulate
from sim.test_objects_crashes import once

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import ClusterError, CoordinatorUnavailable, ObjectNotFound
from faultset_ray.failpoints import arm

HOUR_MS = 3_600_000
YEAR_MS = 8_760 * HOUR_MS


@pytest.mark.parametrize("ahead_ms", [-YEAR_MS, -HOUR_MS, HOUR_MS, YEAR_MS])
@pytest.mark.parametrize("step", ["put.opened", "put.sealed", "put.recorded", "put.committed", "move.copied"])
def test_a_clock_that_jumps(step, ahead_ms):
    """Of the driver that is the steward too, in the middle of something, and back an hour later."""

    async def scenario(run):
        for number in range(4):
            await run.put(f"o{number}", run.sim.token(20_000 * number))
        new = run.sim.token(100_000)

        def jump():
            run.client.life["ahead_ms"] = ahead_ms

        act = once(jump)
        with arm(step, act):
            if step.startswith("move."):
                run.drain((await run.layout("o1"))[0])
            try:
                await run.put("o1", new)
            except ClusterError:
                assert await run.driver.get("o1") in {new, run.payloads["o1"]}
            for _ in range(10):
                await run.sim.sleep(30)
                await run.check_objects()
        assert not act.left
        generation = (await run.driver.stat("o1")).generation
        run.client.life["ahead_ms"] = 0
        for _ in range(10):
            await run.put("o2", run.sim.token(5_000))
            await run.check_objects()
            await run.sim.sleep(60)
        await run.put("o1", new[::-1])
        assert (await run.driver.stat("o1")).generation > generation, "generations don't hang on clocks"
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


def test_a_region_that_is_cut_off_and_joined_again():
    async def scenario(run):
        for number in range(4):
            await run.put(f"o{number}", run.sim.token(20_000 * number))
        region = ["p00", "p05"]
        for place in region:
            run.sim.cut(place)
        await run.check_objects()
        for number in range(4):
            await run.put(f"o{number}", run.sim.token(30_000 * number))
        await run.check_objects()
        await run.driver.delete("o3")
        del run.payloads["o3"]
        for place in region:
            run.sim.heal(place)
        await run.driver.scrub()
        await run.settle(run.quiet)
        await run.check_objects()
        await run.check_shards()

    simulate(10, scenario, regions=5)


def test_the_head_is_cut_off_and_joined_again():
    """Its coordinator lives on; nothing is written meanwhile, and no second one is made."""

    async def scenario(run):
        for number in range(4):
            await run.put(f"o{number}", run.sim.token(20_000 * number))
        epoch = (await run.driver._authority.ask(Coordinator.fence)).epoch
        run.sim.cut("head")
        await run.check_objects()
        with pytest.raises(CoordinatorUnavailable):
            await run.driver.put("o1", b"new")
        run.sim.heal("head")
        await run.put("o2", b"newer")
        await run.check_objects()
        assert (await run.driver._authority.ask(Coordinator.fence)).epoch == epoch
        await run.settle(run.quiet)
        assert await run.driver.get("o1") == run.payloads["o1"]
        await run.check_shards()

    simulate(9, scenario)


def test_the_stewards_clock_ends_nobody_elses_writes():
    """It is two minutes ahead, for as long as another driver with a right one writes slowly."""

    async def scenario(run):
        run.client.life["ahead_ms"] = 120_000
        other = await AsyncDriver.start(Client(run.sim), SYSTEM, durable=True, state_dir=run.root / "state")
        payload = run.sim.token(20_000)

        async def slowly():
            for _ in range(20):
                await run.sim.sleep(5.0)
                yield payload

        await other.put("o", slowly(), code="rs:4+2", stripe_bytes=32_768)
        assert await run.driver.get("o") == 20 * payload
        await other.close()

    simulate(9, scenario)


@pytest.mark.parametrize("whose", ["driver", "host"])
@pytest.mark.parametrize("stopped", [False, True])
def test_nothing_is_deleted_for_good_by_a_clock(whose, stopped):
    """A day and an hour ahead, of the steward or of the coordinator's own host, also where it is started again."""

    async def scenario(run):
        await run.driver.put("o", b"precious")
        deleted = await run.driver.delete("o", grace_s=1_800)
        assert abs(deleted.until_ms - run.sim.now_ms() - 1_800_000) < 60_000
        if whose == "driver":
            run.client.life["ahead_ms"] = 25 * HOUR_MS
        else:
            world = run.sim._world
            right = world.now_ms
            world.now_ms = lambda: right() + 25 * HOUR_MS
        if stopped:
            run.kill_coordinator()
        await run.sim.sleep(300)
        assert (await run.driver.undelete("o")).size == 8
        assert await run.driver.get("o") == b"precious"
        await run.driver.delete("o", grace_s=60)
        run.client.life["ahead_ms"] = -25 * HOUR_MS
        await run.sim.sleep(180)
        with pytest.raises(ObjectNotFound):
            await run.driver.undelete("o")

    simulate(9, scenario)
