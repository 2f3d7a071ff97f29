"""One suite over every backend: what the driver may rely on."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest

from contract.backend_servants import (
    Broken,
    Counter,
    Hanging,
    Skewed,
    add_through,
    fail_in_task,
    make_ones,
    report_cpus,
    sum_all,
    sum_here,
)
from contract.harnesses import LOCAL, RAY, SIM, RayHarness, harness_of
from faultset_ray.backend.protocol import Addr, At, Place, Servant
from faultset_ray.errors import (
    BackendClosed,
    CallTimeout,
    NotEnoughShards,
    PlaceUnreachable,
    RemoteFailure,
    VersionSkew,
)

LABELS = [{"faultset.io/region": name, "faultset.io/store": "true"} for name in ("north", "south", "west")]
PLACES = [Place(f"p{i}", labels, 1.0) for i, labels in enumerate(LABELS)]


# a servant of the simulator can't hang, since computing takes no virtual time: see tests/sim for lost messages
real_time = pytest.mark.parametrize("harness", [LOCAL, RAY], indirect=True)


@pytest.fixture(scope="module", params=[LOCAL, SIM, RAY])
def harness(request):
    with pytest.MonkeyPatch.context() as patch:
        # the workers' interpreters must find this suite's servants
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        harness = harness_of(request.param, PLACES, LABELS, "contract")
        yield harness
        harness.close()


@pytest.fixture
def backend(harness):
    return harness.backend


def workers(harness):
    places = harness.run(harness.backend.places())
    return [place for place in places if place.labels.get("faultset.io/region")]


def test_places_carry_labels_and_cpus(harness):
    found = workers(harness)
    assert {place.region for place in found} == {"north", "south", "west"}
    assert all(place.cpus == 1.0 and not place.draining for place in found)
    assert [p.id for p in found] == [p.id for p in workers(harness)], "the order is stable"
    assert {harness.backend.home, harness.backend.here} <= {place.id for place in harness.run(harness.backend.places())}


def test_places_have_an_address_where_they_are_machines(harness):
    hosts = {place.host for place in workers(harness)}
    if isinstance(harness, RayHarness):
        for host in hosts:
            ip_address(host)
    else:
        assert hosts == {""}


def test_a_result_that_is_held_goes_to_the_next_task(harness, backend):
    first, second, _ = [place.id for place in workers(harness)]

    async def scenario():
        held = [await backend.hold(make_ones, At(place=place), 300_000) for place in (first, second)]
        assert await backend.run(sum_all, At(place=second), *held) == 600_000

    harness.run(scenario())


def test_the_error_of_a_held_task_is_told(harness, backend):
    async def scenario():
        with pytest.raises(NotEnoughShards) as caught:
            await backend.run(sum_all, At(), await backend.hold(fail_in_task, At()))
        assert caught.value.missing == {0: "missing"}

    harness.run(scenario())


def test_spawn_gets_the_one_that_exists(harness, backend):
    async def scenario():
        first = await backend.spawn(Counter, "once", 10)
        assert await backend.call(first, Counter.add, 5) == 15
        again = await backend.spawn(Counter, "once", 99)
        assert again == first
        assert await backend.call(again, Counter.add, 1) == 16
        assert await backend.find(Counter, "once") == first
        await backend.stop(first)
        assert await backend.find(Counter, "once") is None
        await backend.stop(first)  # again: nothing happens

    harness.run(scenario())


def test_places_to_avoid(harness, backend):
    first, second, third = [place.id for place in workers(harness)]

    async def host(at):
        """Where a servant comes to be."""
        addr = await backend.spawn(Counter, "choosy", at=at)
        while not (found := [load.place.id for load in await backend.loads() if "choosy" in load.servants]):
            await backend.sleep(0.02)
        await backend.stop(addr)
        return found[0]

    async def scenario():
        places = {place.id for place in await backend.places()}
        assert await host(At(avoid=frozenset(places - {first}))) == first
        assert await host(At(place=second, avoid=frozenset({second}))) == second, "named, so it is meant"
        rest = frozenset(places - {third})
        assert await host(At(place=second, soft=True, avoid=rest)) == second
        filler = await backend.spawn(Counter, "filler", at=At(place=second, cpus=0.7))
        while not all(load.free_cpus < 0.5 for load in await backend.loads() if load.place.id == second):
            await backend.sleep(0.02)
        assert await host(At(place=second, soft=True, cpus=0.5, avoid=rest)) == third, "full: elsewhere, but not there"
        await backend.stop(filler)

    harness.run(scenario())


def test_packed_servants_share_a_place_until_it_is_full(harness, backend):
    async def host(name):
        return next(load.place.id for load in await backend.loads() if name in load.servants)

    async def scenario():
        tenth = At(cpus=0.1, pack=True)
        names = ["packed-0", "packed-1", "packed-2"]
        for name in names:
            await backend.spawn(Counter, name, at=tenth)
        [place] = {await host(name) for name in names}
        await backend.spawn(Counter, "filler", at=At(place=place, cpus=0.7))
        while not all(load.free_cpus < 0.1 for load in await backend.loads() if load.place.id == place):
            await backend.sleep(0.02)
        await backend.spawn(Counter, "packed-3", at=tenth)
        assert await host("packed-3") != place
        assert [load.place for load in await backend.loads()] == await backend.places()
        for name in (*names, "packed-3", "filler"):
            await backend.stop(Addr(name))
            assert not any(name in load.servants for load in await backend.loads())

    harness.run(scenario())


def test_a_soft_place_counts_while_it_has_room(harness, backend):
    place = workers(harness)[1].id

    async def scenario():
        near = At(place=place, soft=True, cpus=0.4)
        names = ["near-0", "near-1"]
        for name in names:
            await backend.spawn(Counter, name, at=near)
        [load] = [load for load in await backend.loads() if load.place.id == place]
        assert load.servants >= set(names)
        while not all(load.free_cpus < 0.4 for load in await backend.loads() if load.place.id == place):
            await backend.sleep(0.02)
        await backend.spawn(Counter, "not-near", at=near)
        [load] = [load for load in await backend.loads() if load.place.id == place]
        assert "not-near" not in load.servants
        for name in (*names, "not-near"):
            await backend.stop(Addr(name))

    harness.run(scenario())


def test_concurrent_spawns_make_one_servant(harness, backend):
    async def scenario():
        addrs = await asyncio.gather(*(backend.spawn(Counter, "raced") for _ in range(4)))
        await asyncio.gather(*(backend.call(addr, Counter.add, 1) for addr in addrs))
        return await backend.call(addrs[0], Counter.add, 0)

    assert harness.run(scenario()) == 4


def test_arrays_arrive_whole_and_come_back(harness, backend):
    array = np.arange(1_000_003, dtype=np.uint32)

    async def scenario():
        addr = await backend.spawn(Counter, "arrays")
        assert await backend.call(addr, Counter.total, array) == int(array.sum())
        np.testing.assert_array_equal(await backend.call(addr, Counter.echo, array), array)
        shared = backend.share(array)
        assert await backend.call(addr, Counter.total, shared) == int(array.sum())
        assert await backend.run(sum_here, At(), shared) == int(array.sum())

    harness.run(scenario())


def test_answers_of_any_size_come_whole_also_after_others(harness, backend):
    """How a sizeable one is brought may depend on the one before."""

    async def scenario():
        addr = await backend.spawn(Counter, "sizeable")
        for lengths in ([3], [60_000, 0, 70_000], [60_000, 0, 70_000], [20_000, 300_000], [2_000_000], [300_000], [3]):
            for found in await asyncio.gather(*(backend.call(addr, Counter.ones, lengths) for _ in range(2))):
                assert list(found) == lengths
                for length, array in found.items():
                    assert (len(array), array.dtype, array.all()) == (length, np.uint32, True)
        await backend.call(addr, Counter.add, -1)
        with pytest.raises(NotEnoughShards):
            await backend.call(addr, Counter.ones, [300_000])
        await backend.stop(addr)

    harness.run(scenario())


def test_async_methods_are_awaited(harness, backend):
    async def scenario():
        addr = await backend.spawn(Counter, "asynchronous")
        return await backend.call(addr, Counter.later, 1.5)

    assert harness.run(scenario()) == 1.5


def test_typed_errors_arrive_as_themselves(harness, backend):
    async def scenario():
        addr = await backend.spawn(Counter, "failing")
        with pytest.raises(NotEnoughShards) as caught:
            await backend.call(addr, Counter.fail_typed)
        assert (caught.value.have, caught.value.need) == (7, 10)
        assert caught.value.missing == {2: "missing", 5: "unreachable"}
        with pytest.raises(NotEnoughShards):
            await backend.run(fail_in_task, At())

    harness.run(scenario())


def test_foreign_errors_are_named(harness, backend):
    async def scenario():
        addr = await backend.spawn(Counter, "foreign")
        with pytest.raises(RemoteFailure, match=r"KeyError.*no such thing"):
            await backend.call(addr, Counter.fail_foreign)

    harness.run(scenario())


def test_a_constructor_that_fails_is_reported(harness, backend):
    async def scenario():
        with pytest.raises(RemoteFailure, match="cannot start"):
            await backend.spawn(Broken, "broken")
        assert await backend.find(Broken, "broken") is None

    harness.run(scenario())


def test_another_version_is_refused(harness, backend):
    async def scenario():
        with pytest.raises(VersionSkew, match=r"0\.0\.0"):
            await backend.spawn(Skewed, "skewed")

    harness.run(scenario())


@real_time
def test_a_call_past_its_deadline_is_a_timeout(harness, backend):
    async def scenario():
        addr = await backend.spawn(Hanging, "hanging")
        with pytest.raises(CallTimeout) as caught:
            await backend.within(0.2).call(addr, Hanging.hang)
        assert caught.value.seconds == 0.2
        await backend.call(addr, Hanging.release)

    harness.run(scenario())


@real_time
def test_calls_run_at_once_up_to_the_roles_concurrency(harness, backend):
    async def scenario():
        addr = await backend.spawn(Hanging, "two-at-once")
        hung = asyncio.ensure_future(backend.call(addr, Hanging.hang))
        await backend.call(addr, Hanging.release)
        return await hung

    assert harness.run(scenario()) == "let go"


def test_unknown_servants_are_unreachable(harness, backend):
    async def scenario():
        with pytest.raises(PlaceUnreachable):
            await backend.call(Addr("nobody"), Counter.add, 1)

    harness.run(scenario())


def test_tasks_call_servants_and_know_their_cpus(harness, backend):
    async def scenario():
        addr = await backend.spawn(Counter, "called-by-tasks")
        counts = await asyncio.gather(*(backend.run(add_through, At(), addr, 1) for _ in range(5)))
        assert sorted(counts) == [1, 2, 3, 4, 5]
        assert await backend.run(report_cpus, At(cpus=1.0)) >= 1.0

    harness.run(scenario())


def test_clock_and_tokens(harness, backend):
    async def scenario():
        before = backend.now_ms()
        await backend.sleep(0.02)
        assert backend.now_ms() >= before + 19
        begun_s = backend.uptime_s()
        await backend.sleep(0.02)
        assert 0.0199 <= backend.uptime_s() - begun_s < 20

    harness.run(scenario())
    assert len(backend.token(16)) == 16
    assert backend.token(16) != backend.token(16)


def test_a_servant_knows_the_clock_of_its_host(harness, backend):
    async def scenario():
        counter = await backend.spawn(Counter, "clocked")
        behind, ahead = backend.now_ms() - 3_600_000, backend.now_ms() + 3_600_000
        assert [await backend.call(counter, Servant.ahead_ms, now_ms) for now_ms in (behind, backend.now_ms())] == [
            0,
            0,
        ]
        assert await backend.call(counter, Servant.ahead_ms, ahead) == pytest.approx(3_600_000, abs=60_000)
        await backend.stop(counter)

    harness.run(scenario())


def test_a_lost_place(harness, backend):
    """Last but one: it takes a place away from the module's backend."""
    victim = workers(harness)[-1].id

    async def before():
        addr = await backend.spawn(Counter, "doomed", at=At(place=victim))
        other = await backend.spawn(Counter, "elsewhere", at=At(place=workers_ids[0]))
        assert await backend.call(addr, Counter.add, 1) == 1
        return addr, other

    workers_ids = [place.id for place in workers(harness)]
    doomed, other = harness.run(before())
    harness.kill(victim)

    async def after():
        with pytest.raises(PlaceUnreachable):
            await backend.call(doomed, Counter.add, 1)
        assert await backend.call(other, Counter.add, 1) == 1, "other places go on"
        while victim in {place.id for place in await backend.places()}:
            await backend.sleep(0.05)
        with pytest.raises(PlaceUnreachable):
            await backend.spawn(Counter, "too-late", at=At(place=victim))
        soft = await backend.spawn(Counter, "soft", at=At(place=victim, soft=True))
        assert await backend.call(soft, Counter.add, 1) == 1
        replaced = await backend.spawn(Counter, "doomed")
        assert await backend.call(replaced, Counter.add, 1) == 1, "a successor under the same name starts anew"

    harness.run(after())


def test_closed_backends_say_so(harness, backend):
    async def scenario():
        addr = await backend.spawn(Counter, "c")
        soon = backend.within(5.0)
        await backend.close()
        await backend.close()
        for net in (backend, soon, backend.within(5.0)):
            with pytest.raises(BackendClosed):
                await net.call(addr, Counter.add, 1)
        with pytest.raises(BackendClosed):
            await backend.stop(addr)
        with pytest.raises(BackendClosed):
            await backend.spawn(Counter, "late")
        with pytest.raises(BackendClosed):
            await backend.places()

    harness.run(scenario())
