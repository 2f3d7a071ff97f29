"""A fleet's state is lost, and the fleet registered anew, while somebody watches: he is told, never led astray."""

from __future__ import annotations

import shutil

import pytest
from running import simulate
from sim.object_world import Client

import faultset_ray as fs
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.keeper import address
from faultset_ray.errors import OtherHistory
from faultset_ray.pipeline import faultset

SYSTEM = "births"
FAST, SLOW = 5.0, 900.0
NODES = [(f"n{number}", -40.0 + 2 * number, -150.0 + 7 * number, FAST + number) for number in range(40)]
POLICY = fs.Policy(threshold_ms=100.0, samples=(1, 1, 2))


@pytest.fixture(params=range(4))
def sim(request):
    faults = SimFaults(delay_ms=(1, 30))
    sim = SimBackend([Place(f"p{index}") for index in range(4)], seed=request.param, faults=faults)
    yield sim
    sim.dispose()


async def connected(sim, tmp_path):
    return await AsyncDriver.start(Client(sim), SYSTEM, durable=True, state_dir=tmp_path, region_actors=3)


async def some_change(driver, fleet):
    """Some nodes go; the versions before, and where a watch of it ends."""
    begun = (await driver.survivors(deadline_s=10.0)).versions
    await driver.observe(fleet.handles[:5], [SLOW] * 5)
    watch = driver.watch(begun, idle_s=3.0)
    assert [change.id async for change in watch] == fleet.ids[:5].tolist()
    return begun, watch


def test_a_position_holds_over_restarts_and_not_over_a_loss(sim, tmp_path):
    async def scenario():
        driver = await connected(sim, tmp_path)
        begun, watch = await some_change(driver, await driver.register(NODES, 2, policy=POLICY))
        await driver._authority.stop()
        assert len([change async for change in driver.watch(begun, idle_s=3.0)]) == 5
        await driver.shutdown()

        driver = await connected(sim, tmp_path)
        assert len([change async for change in driver.watch(begun, idle_s=3.0)]) == 5, "it goes on from its checkpoints"
        assert (await driver.survivors(deadline_s=10.0)).versions.birth == begun.birth
        await driver.shutdown()

        shutil.rmtree(tmp_path / SYSTEM)
        driver = await connected(sim, tmp_path)
        fleet = await driver.register(NODES, 2, policy=POLICY)
        await driver.observe(fleet.handles, [SLOW] * len(NODES))
        answer = await driver.survivors(deadline_s=10.0)
        assert set(answer.versions) == set(begun)
        for since in (begun, watch.versions):
            with pytest.raises(OtherHistory) as caught:
                await anext(driver.watch(since, idle_s=3.0))
            assert (caught.value.theirs, caught.value.ours) == (begun.birth, answer.versions.birth)
        await driver.shutdown()

    simulate(sim, scenario())


def test_a_steward_goes_on_where_a_fleet_is_gone(sim, tmp_path, monkeypatch):
    """Told of by a coordinator just before its state was lost."""

    async def scenario():
        driver = await connected(sim, tmp_path)
        fleet = await driver.register(NODES, 2, policy=POLICY)

        def fleets(_):
            return ["default", "gone"]

        with monkeypatch.context() as patched:
            patched.setattr(Coordinator, "fleets", fleets)
            await sim.sleep(5.0)
        await driver.observe(fleet.handles[:5], [SLOW] * 5)
        answer = await driver.survivors(deadline_s=10.0)
        await sim.sleep(5.0)
        saved = await driver._authority.ask(Coordinator.saved_versions, "default")
        assert saved == answer.versions
        await driver.shutdown()

    simulate(sim, scenario())


@pytest.mark.parametrize("regions_die", [False, True])
def test_regions_and_drivers_outlive_the_state_of_their_fleet(sim, tmp_path, regions_die):
    """What they know is of nodes whose handles are others' now."""

    async def scenario():
        old, new = await connected(sim, tmp_path), await connected(sim, tmp_path)
        begun, watch = await some_change(old, await old.register(NODES, 2, policy=POLICY))
        await old.survivors(deadline_s=10.0)
        for mark in ("drain", "pin", None) * 4:
            await old.mark(["n7"], mark)  # so that its directory has a higher version than the new one
        await sim.sleep(3.0)  # the steward of the old one looks after it
        ranges = (await old._keeper.directory("default")).ranges
        await old._authority.stop()
        shutil.rmtree(tmp_path / SYSTEM)
        if regions_die:
            for info in ranges:
                await sim.stop(address("default", info))

        fleet = await new.register(NODES[::-1], 2, policy=POLICY)
        expected = faultset(fleet, 100.0, precision=2)
        for driver in (new, old):
            answer = await driver.survivors(threshold_ms=100.0, deadline_s=10.0, partial=False)
            assert answer.ids.tolist() == expected
            for since in (begun, watch.versions):
                with pytest.raises(OtherHistory):
                    await anext(driver.watch(since, idle_s=3.0))
        with pytest.raises(OtherHistory):
            await anext(watch)
        assert not old._steward._task.done()
        for driver in (new, old):
            _, watch_of_now = await some_change(driver, fleet)
            await driver.observe(fleet.handles[:5], [FAST] * 5)
            assert sorted([change.id async for change in watch_of_now]) == sorted(fleet.ids[:5].tolist())
        await old.close()
        await new.shutdown()

    simulate(sim, scenario())
