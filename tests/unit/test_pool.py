"""The window of work under way, turns, and tasks that are run again."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import At, Place
from faultset_ray.errors import CallTimeout, InputError, NotEnoughShards, PlaceUnreachable, RemoteFailure
from faultset_ray.limits import INFLIGHT_BYTES_MAX, TASK_ATTEMPTS
from faultset_ray.objects.pool import Turns, Window, run_again

ROOM = 5
ITEM_BYTES = INFLIGHT_BYTES_MAX // ROOM


@pytest.mark.parametrize(("item_bytes", "room"), [(ITEM_BYTES, ROOM), (INFLIGHT_BYTES_MAX * 9, 2)])
def test_no_more_than_the_room_is_under_way(item_bytes, room):
    under_way = most = done = 0

    async def work(number):
        nonlocal under_way, most, done
        under_way += 1
        most = max(most, under_way)
        for _ in range(1 + number % 4):
            await asyncio.sleep(0)
        under_way -= 1
        done += 1

    async def scenario():
        async with Window(item_bytes) as window:
            for number in range(40):
                await window.room()
                window.add(work(number))

    asyncio.run(scenario())
    assert (most, done) == (room, 40)


class _Work:
    """Pieces of work that wait until they are cancelled, except one that fails."""

    def __init__(self, failing, error):
        self.failing = failing
        self.error = error
        self.cancelled = []
        self.begun = []
        self.full = asyncio.Event()

    async def piece(self, number):
        self.begun.append(number)
        if len(self.begun) == ROOM:
            self.full.set()
        if number == self.failing:
            await asyncio.sleep(0)
            raise self.error
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # cleaning up takes a while
            self.cancelled.append(number)
            raise


@pytest.mark.parametrize("failing", [0, 2, ROOM - 1])
@pytest.mark.parametrize("count", [ROOM, 40])
def test_the_first_failure_ends_the_rest_with_its_own_error(failing, count):
    error = NotEnoughShards(1, 2, {0: "missing"})
    error.__cause__ = cause = OSError("the disk")
    work = _Work(failing, error)

    async def scenario():
        async with Window(ITEM_BYTES) as window:
            for number in range(count):
                await window.room()
                window.add(work.piece(number))

    with pytest.raises(NotEnoughShards) as caught:
        asyncio.run(scenario())
    assert caught.value is error
    assert caught.value.__cause__ is cause
    assert sorted([*work.cancelled, failing]) == work.begun == list(range(ROOM))


def test_an_error_of_the_feeder_ends_the_work_and_is_the_one_that_is_told():
    class _Worse(_Work):
        async def piece(self, number):
            try:
                await super().piece(number)
            except asyncio.CancelledError:
                raise RemoteFailure("store", "failed to clean up") from None

    work = _Worse(None, None)

    async def scenario():
        async with Window(ITEM_BYTES) as window:
            for number in range(2):
                await window.room()
                window.add(work.piece(number))
            await asyncio.sleep(0)
            raise InputError("the file became shorter")

    with pytest.raises(InputError, match="shorter"):
        asyncio.run(scenario())
    assert sorted(work.cancelled) == [0, 1]


def test_cancelling_the_feeder_cancels_the_work():
    work = _Work(None, None)

    async def scenario():
        async with Window(ITEM_BYTES) as window:
            for number in range(40):
                await window.room()
                window.add(work.piece(number))

    async def main():
        task = asyncio.create_task(scenario())
        await work.full.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert sorted(work.cancelled) == work.begun == list(range(ROOM))


@settings(max_examples=50)
@given(st.permutations(range(8)))
def test_turns_come_in_order(order):
    through = []

    async def one(turns, number):
        async with turns.of(number):
            await asyncio.sleep(0)
            through.append(number)
            await asyncio.sleep(0)
            assert through[-1] == number

    async def scenario():
        turns = Turns()
        await asyncio.gather(*(one(turns, number) for number in order))

    asyncio.run(scenario())
    assert through == sorted(order)


def test_nobody_passes_one_who_failed():
    through = []

    async def one(turns, number):
        async with turns.of(number):
            if number == 2:
                raise InputError("no")
            through.append(number)

    async def scenario():
        turns = Turns()
        async with Window(1) as window:
            for number in reversed(range(5)):
                window.add(one(turns, number))

    with pytest.raises(InputError):
        asyncio.run(scenario())
    assert through == [0, 1]


class _Flaky(LocalBackend):
    """Loses a task as often as it is told; virtual patience."""

    def __init__(self, losses, error):
        super().__init__([Place("a"), Place("b")], cpus=1)
        self.losses = losses
        self.error = error
        self.asked = []
        self.slept = 0.0

    async def run(self, task, at, /, *args, **kwargs):
        self.asked.append(at)
        if len(self.asked) <= self.losses:
            raise self.error
        return await super().run(task, at, *args, **kwargs)

    async def sleep(self, seconds):
        self.slept += seconds


async def double(net, value):
    return 2 * value


@pytest.mark.parametrize("error", [PlaceUnreachable("a", "killed"), CallTimeout("a", "run", 1.0)])
@pytest.mark.parametrize("losses", range(TASK_ATTEMPTS + 1))
def test_a_lost_task_is_run_again_elsewhere(losses, error):
    async def scenario():
        backend = _Flaky(losses, error)
        try:
            return await run_again(backend, double, At(place="a", soft=True, cpus=0.5), 21), backend
        except type(error) as caught:
            return caught, backend
        finally:
            await backend.close()

    result, backend = asyncio.run(scenario())
    assert result == (42 if losses < TASK_ATTEMPTS else error)
    attempts = min(losses + 1, TASK_ATTEMPTS)
    assert backend.asked == [At(place="a", soft=True, cpus=0.5)] + [At(cpus=0.5)] * (attempts - 1)
    assert (backend.slept > 0) == (losses > 0)


def test_a_task_that_waits_runs_elsewhere_and_asks_for_no_cpu(monkeypatch):
    monkeypatch.setattr("faultset_ray.objects.pool.TASK_WAITS_SECONDS", 0.05)

    class Full(_Flaky):
        async def run(self, task, at, /, *args, **kwargs):
            if at.cpus > 0:
                self.asked.append(at)
                await asyncio.Event().wait()
            return await super().run(task, at, *args, **kwargs)

    async def scenario():
        backend = Full(0, None)
        try:
            return await run_again(backend, double, At(place="a", soft=True, cpus=0.5), 21), backend.asked
        finally:
            await backend.close()

    assert asyncio.run(scenario()) == (42, [At(place="a", soft=True, cpus=0.5), At()])


def test_a_task_that_failed_is_not_run_again():
    async def scenario():
        backend = _Flaky(1, InputError("no"))
        try:
            with pytest.raises(InputError):
                await run_again(backend, double, At(), 1)
        finally:
            await backend.close()
        return backend.asked

    assert len(asyncio.run(scenario())) == 1
