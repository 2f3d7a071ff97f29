"""The simulator itself: it replays byte for byte, and its faults are what they are said to be."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest
from contract.backend_servants import Counter, add_through

from faultset_ray.backend.protocol import Addr, At, Place
from faultset_ray.backend.sim import SimBackend, SimDeadlock, SimFaults
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import CallTimeout, PlaceUnreachable

PLACES = [Place(f"p{index}") for index in range(3)]


@pytest.fixture
def make():
    made = []

    def make_sim(seed=1, **faults):
        made.append(SimBackend(PLACES, seed=seed, faults=SimFaults(**faults)))
        return made[-1]

    yield make_sim
    for sim in made:
        sim.dispose()


async def _chatter(sim):
    """Calls that race each other, some of which are lost."""
    faulty, calm = sim.faults, SimFaults()
    sim.set_faults(calm)
    addrs = [await sim.spawn(Counter, f"c{index}", at=At(place=f"p{index}")) for index in range(3)]
    sim.set_faults(faulty)
    net = sim.within(0.5)
    results = await asyncio.gather(
        *(net.call(addrs[turn % 3], Counter.add, turn) for turn in range(30)), return_exceptions=True
    )
    sim.kill("p1")
    results += await asyncio.gather(*(net.call(addr, Counter.add, 1) for addr in addrs), return_exceptions=True)
    sim.revive("p1")
    sim.set_faults(calm)
    await sim.spawn(Counter, "again", at=At(place="p1"))
    return [repr(result) for result in results], sim.token(8)


def test_the_same_seed_replays_byte_for_byte(make):
    runs = []
    for _ in range(2):
        sim = make(7, drop=0.1, delay_ms=(1, 40))
        runs.append((sim.execute(_chatter(sim)), sim.trace_digest(), list(sim.trace)))
    assert runs[0] == runs[1]
    assert any(" drop " in line for line in runs[0][2]), "the schedule must hold faults to be worth replaying"


def test_another_seed_is_another_schedule(make):
    digests = set()
    for seed in range(5):
        sim = make(seed, drop=0.1, delay_ms=(1, 40))
        sim.execute(_chatter(sim))
        digests.add(sim.trace_digest())
    assert len(digests) == 5


def test_a_lost_message_is_a_timeout_at_the_deadline(make):
    sim = make()

    async def scenario():
        addr = await sim.spawn(Counter, "c")
        sim.set_faults(SimFaults(drop=1.0))
        began = sim.now_ms()
        with pytest.raises(CallTimeout):
            await sim.within(2.5).call(addr, Counter.add, 1)
        return sim.now_ms() - began

    assert sim.execute(scenario()) == pytest.approx(2500, abs=2)


async def _count_until_lost(sim, addr):
    answered = 0
    while True:
        try:
            await sim.within(0.1).call(addr, Counter.add, 1)
        except CallTimeout:
            return answered
        answered += 1


def test_a_lost_reply_may_have_taken_effect(make):
    """Over many seeds some timed-out calls were carried out and some were not."""
    effects = set()
    for seed in range(40):
        sim = make(seed)

        async def scenario(sim=sim):
            addr = await sim.spawn(Counter, "c")
            sim.set_faults(SimFaults(drop=0.5))
            answered = await _count_until_lost(sim, addr)
            sim.set_faults(SimFaults())
            return await sim.call(addr, Counter.add, 0) - answered

        effects.add(sim.execute(scenario()))
    assert effects == {0, 1}


def test_messages_take_their_delay(make):
    sim = make(delay_ms=(100, 100))

    async def scenario():
        addr = await sim.spawn(Counter, "c")
        began = sim.now_ms()
        await sim.call(addr, Counter.add, 1)
        return sim.now_ms() - began

    assert sim.execute(scenario()) == pytest.approx(200, abs=2)


def test_a_call_under_way_when_its_place_crashes_fails(make):
    sim = make(delay_ms=(100, 100))

    async def scenario():
        addr = await sim.spawn(Counter, "c", at=At(place="p2"))
        call = asyncio.ensure_future(sim.call(addr, Counter.add, 1))
        await sim.sleep(0.05)
        sim.kill("p2")
        with pytest.raises(PlaceUnreachable):
            await call
        sim.revive("p2")
        assert await sim.find(Counter, "c") is None, "a revived place is empty"
        return [place.id for place in await sim.places()]

    assert sim.execute(scenario()) == ["p0", "p1", "p2"]


def test_an_hour_costs_nothing(make):
    sim = make()
    began = time.perf_counter()
    before = sim.now_ms()
    sim.execute(sim.sleep(3600))
    assert sim.now_ms() - before == pytest.approx(3_600_000, abs=2)
    assert time.perf_counter() - began < 1.0


def test_waiting_for_nothing_is_told(make):
    sim = make()

    async def forever():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimDeadlock):
        sim.execute(forever())


def test_unknown_servants_are_gone_after_the_messages_delay(make):
    sim = make()
    with pytest.raises(PlaceUnreachable):
        sim.execute(sim.call(Addr("nobody"), Counter.add, 1))


def test_a_place_that_is_cut_off_is_silent_and_goes_on_when_healed(make):
    sim = make()

    async def scenario():
        cut, other = [await sim.spawn(Counter, name, at=At(place=place)) for name, place in (("c", "p1"), ("o", "p2"))]
        sim.cut("p1")
        near = sim.within(0.5)
        with pytest.raises(CallTimeout):
            await near.call(cut, Counter.add, 1)
        with pytest.raises(CallTimeout):
            await sim.run(add_through, At(place="p1"), other, 1)
        with pytest.raises(CallTimeout):
            await sim.spawn(Counter, "new", at=At(place="p1"))
        assert await near.call(other, Counter.add, 1) == 1, "the others hear each other"
        assert [place.id for place in await sim.places()] == ["p0", "p1", "p2"], "it lives"
        sim.heal("p1")
        assert await near.call(cut, Counter.add, 5) == 5, "nothing of what was lost arrives, nothing was forgotten"
        answer = asyncio.ensure_future(near.call(cut, Counter.later, 7.0))
        sim.cut("p1")
        with pytest.raises(CallTimeout):
            await answer

    sim.execute(scenario())


@pytest.mark.filterwarnings("error")
def test_a_driver_that_nobody_closed_ends_with_its_simulation(caplog):
    sim = SimBackend(PLACES, seed=1)

    async def scenario():
        driver = await AsyncDriver.start(sim, "open", region_actors=2)
        await driver.register([("a", 0.0, 0.0, 5.0), ("b", 9.0, 90.0, 5.0)], 3)

    sim.execute(scenario())
    sim.dispose()
    gc.collect()
    assert not [record for record in caplog.records if "destroyed" in record.message]
