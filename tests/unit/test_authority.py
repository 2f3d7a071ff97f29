"""A coordinator that is lost: started again from its state where it has one, and said where it has none."""

import asyncio

import pytest
from running import simulate

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.control.states import Mark
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.sync import connect
from faultset_ray.errors import ClusterError, CoordinatorUnavailable, InputError, StateInUse, UnknownSystem
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet

NODES = [("a", 52.5, 13.4, 20.0), ("b", 48.9, 2.4, 180.0), ("c", 1.0, 2.0, 5.0)]


def lose_coordinator(sim):
    """Its process is gone, with nothing closed but what the kernel closes."""
    hosted = sim._world.hosted.pop("coordinator").servant
    if hosted._ledger is not None and hosted._ledger.catalog.home is not None:
        hosted._ledger.catalog.home.close()


def simulated(scenario, faults=None):
    sim = SimBackend([Place(f"p{index}") for index in range(3)], seed=4, faults=faults)
    return simulate(sim, scenario(sim))


def test_a_lost_coordinator_goes_on_from_its_state(tmp_path):
    async def scenario(sim):
        driver = await AsyncDriver.start(sim, "s", durable=True, state_dir=tmp_path)
        await driver.register(NODES)
        await driver._authority.ask(Coordinator.mark, "default", ["a"], Mark.DRAIN, b"1")
        before = await driver._authority.ask(Coordinator.directory, "default")
        for epoch in (2, 3):
            lose_coordinator(sim)
            assert (await driver._authority.ask(Coordinator.about)).epoch == epoch
            after = await driver._authority.ask(Coordinator.directory, "default")
            assert (after.version, after.ranges, after.marks.tolist()) == (before.version, before.ranges, [1, 0, 0])
        again = await driver.register([*NODES[1:], ("d", 0.0, 0.0, 1.0)])
        assert again.handles.tolist() == [1, 2, 3]
        lose_coordinator(sim)
        assert set((await driver.survivors(threshold_ms=100.0)).ids) >= {"c", "d"}
        await driver.close()

    simulated(scenario)


def test_many_callers_start_it_once(tmp_path):
    async def scenario(sim):
        driver = await AsyncDriver.start(sim, "s", durable=True, state_dir=tmp_path)
        lose_coordinator(sim)
        abouts = await asyncio.gather(*(driver._authority.ask(Coordinator.about) for _ in range(9)))
        assert {about.epoch for about in abouts} == {2}
        await driver.close()

    simulated(scenario)


def test_another_driver_starts_it_too_and_from_the_same_state(tmp_path, monkeypatch):
    """The second knows the directory from the coordinator it found, whatever its own environment says."""

    async def scenario(sim):
        one = await AsyncDriver.start(sim, "s", durable=True, state_dir=tmp_path)
        await one.register(NODES)
        monkeypatch.setenv("FAULTSET_STATE_DIR", str(tmp_path / "elsewhere"))
        two = await AsyncDriver.start(sim, "s", durable=True)
        lose_coordinator(sim)
        assert await two._authority.ask(Coordinator.fleets) == ["default"]
        assert not (tmp_path / "elsewhere").exists()
        await one.close()

    simulated(scenario)


def test_state_in_memory_died_with_it():
    async def scenario(sim):
        driver = await AsyncDriver.start(sim, "s")
        await driver.register(NODES)
        lose_coordinator(sim)
        for _ in range(2):
            with pytest.raises(CoordinatorUnavailable, match="Its state was in memory and died with it"):
                await driver._authority.ask(Coordinator.fleets)
        await driver.close()

    simulated(scenario)


def test_changes_repeated_over_restarts_and_lost_messages_happen_once(tmp_path):
    async def scenario(sim):
        driver = await AsyncDriver.start(sim, "s", durable=True, state_dir=tmp_path)
        sim.set_faults(SimFaults(drop=0.15))
        registered = 0
        for number in range(30):
            request = sim.token(16)
            while True:
                if sim.token(1)[0] < 100 and "coordinator" in sim._world.hosted:
                    lose_coordinator(sim)
                try:
                    fleet = Fleet([f"n{number}"], [1.0], [1.0], [1.0])
                    cells = encode_many(fleet.lat, fleet.lon, 3)
                    done = await driver._authority.ask(
                        Coordinator.register, fleet, cells, 3, 2, sim.now_ms(), None, request
                    )
                except ClusterError:
                    continue
                break
            assert done.handles.tolist() == [registered]
            registered += 1
        sim.set_faults(SimFaults())
        directory = await driver._authority.ask(Coordinator.directory, "default")
        assert (directory.version, len(directory.fleet)) == (30, 30), "one version for each change"
        await driver.close()

    simulated(scenario)


def test_a_state_that_is_served_elsewhere_is_waited_for_then_refused(tmp_path):
    other = Coordinator("s", True, str(tmp_path))
    other.about()

    async def scenario(sim):
        begun_ms = sim.now_ms()
        with pytest.raises(StateInUse):
            await AsyncDriver.start(sim, "s", durable=True, state_dir=tmp_path)
        assert 5_000 <= sim.now_ms() - begun_ms < 7_000

    simulated(scenario)

    async def then_let_go(sim):
        async def let_go():
            await sim.sleep(2)
            other.close()

        _, driver = await asyncio.gather(let_go(), AsyncDriver.start(sim, "s", durable=True, state_dir=tmp_path))
        await driver.close()

    simulated(then_let_go)


def test_a_private_system_keeps_no_state(tmp_path):
    with pytest.raises(InputError, match="a private system dies with its driver: name a system"):
        connect(backend="local", state_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_named_system_on_a_backend_of_ones_own(tmp_path):
    for expected in ([0, 1, 2], [2, 3]):
        with connect(backend=LocalBackend(), system="mine", state_dir=tmp_path) as driver:
            assert (
                driver.register(NODES if len(expected) == 3 else [NODES[2], ("d", 1.0, 1.0, 1.0)]).handles.tolist()
                == expected
            )
            driver.shutdown()


def test_a_system_that_comes_back_goes_on_in_new_epochs(tmp_path):
    """Its servants went with what they knew: none is started anew in an epoch that gave out versions."""
    before = {}
    for life in range(3):
        with connect(backend=LocalBackend(), system="mine", state_dir=tmp_path, region_actors=3) as driver:
            fleet = driver.register(
                [*NODES, (f"new{life}", 1.0, 2.0, 9.0)] if life == 0 else [(f"new{life}", 1.0, 2.0, 9.0)]
            )
            driver.observe(fleet.handles[-1:], [20.0 + life])
            while not (answer := driver.survivors(threshold_ms=100.0)).whole:
                pass
            assert all(answer.versions[range_id] > version for range_id, version in before.items())
            assert set(answer.ids) == {"a", "c", *(f"new{number}" for number in range(life + 1))}
            before = answer.versions
            driver.shutdown()


def test_a_registration_finds_a_range_lost():
    async def scenario(sim):
        driver = await AsyncDriver.start(sim, "s", region_actors=2)
        fleet = await driver.register(NODES)
        await driver.observe(fleet.handles[:1], [500.0])
        before = (await driver.survivors(threshold_ms=100.0)).versions
        for name in [name for name in sim._world.hosted if name.startswith("region/")]:
            del sim._world.hosted[name]
        await driver.register([("d", 52.5, 13.4, 1.0), ("e", 1.0, 2.0, 1.0)])
        answer = await driver.survivors(threshold_ms=100.0)
        assert answer.whole, "it was replaced before the registration returned"
        assert all(answer.versions[range_id] > version for range_id, version in before.items())
        await driver.close()

    simulated(scenario)


def test_a_system_that_is_not_to_be_made_is_an_error_that_names_those_there_are(tmp_path):
    def attached(system, backend=None, create=False):
        own = backend or LocalBackend([Place("p0")])
        return connect(backend=own, system=system, state_dir=tmp_path, create=create)

    for name in ("prod", "staging"):
        with attached(name, create=True) as driver:
            driver.register(NODES)
    with pytest.raises(UnknownSystem) as caught:
        attached("pord")
    assert (caught.value.system, caught.value.known) == ("pord", ["prod", "staging"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prod", "staging"], "nothing was made"

    async def attach_twice():
        backend = LocalBackend([Place("p0")])
        for _ in range(2):  # from its state, then where it runs
            driver = await AsyncDriver.start(backend, "prod", durable=True, state_dir=tmp_path, create=False)
            assert len(await driver.fleet()) == len(NODES)
        await driver.close()

    asyncio.run(attach_twice())
