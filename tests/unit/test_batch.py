"""Items that come together go together, each gets its own answer, and nothing is left waiting."""

import asyncio

import pytest

from faultset_ray.objects.batch import Batcher


def test_what_comes_while_a_call_is_under_way_goes_with_the_next():
    calls = []

    async def work(items):
        calls.append(list(items))
        await asyncio.sleep(0)
        return [item * 2 for item in items]

    async def main():
        batcher = Batcher(work)
        first = [batcher.add(item) for item in range(3)]
        await asyncio.sleep(0)
        later = [batcher.add(item) for item in range(3, 1000)]
        assert await asyncio.gather(*first, *later) == [2 * item for item in range(1000)]
        assert await batcher.add(7) == 14, "it takes up work again"

    asyncio.run(main())
    assert calls == [[0, 1, 2], list(range(3, 1000)), [7]]


def test_bounds_of_a_call():
    calls = []

    async def work(items):
        calls.append(items)
        return items

    async def main():
        batcher = Batcher(work, items=3, weight=10)
        weights = [4, 4, 4, 20, 1, 1, 1, 1]
        assert await asyncio.gather(*(batcher.add(weight, weight) for weight in weights)) == weights

    asyncio.run(main())
    assert calls == [[4, 4], [4], [20], [1, 1, 1], [1]]


def test_errors_are_theirs_whose_they_are():
    async def work(items):
        if "all" in items:
            raise OSError("gone")
        return [KeyError(item) if item == "one" else item for item in items]

    async def main():
        batcher = Batcher(work)
        good, bad = batcher.add("good"), batcher.add("one")
        assert await good == "good"
        with pytest.raises(KeyError):
            await bad
        lost = [batcher.add(item) for item in ("all", "other")]
        for future in lost:
            with pytest.raises(OSError, match="gone"):
                await future
        assert await batcher.add("again") == "again"

    asyncio.run(main())


def test_an_answer_that_nobody_waits_for_any_more():
    calls = []

    async def work(items):
        calls.append(items)
        await asyncio.sleep(0)
        return items

    async def main():
        batcher = Batcher(work)
        gone, kept = batcher.add(1), batcher.add(2)
        gone.cancel()
        assert await kept == 2
        under_way, kept = batcher.add(3), batcher.add(4)
        await asyncio.sleep(0)
        under_way.cancel()
        assert await kept == 4
        batcher.add(5).cancel()
        assert await batcher.add(6) == 6

    asyncio.run(main())
    assert calls == [[2], [3, 4], [6]]


@pytest.mark.parametrize("at_once", [1, 3])
def test_so_many_calls_are_under_way_at_once(at_once):
    under_way = most = 0

    async def work(items):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return items

    async def main():
        batcher = Batcher(work, at_once=at_once, items=1)
        await asyncio.gather(*map(batcher.add, range(20)))

    asyncio.run(main())
    assert most == at_once


def test_closing_leaves_nobody_waiting():
    async def work(items):
        await asyncio.Event().wait()

    async def main():
        batcher = Batcher(work, items=1)
        futures = [batcher.add(item) for item in range(3)]
        await asyncio.sleep(0)
        await batcher.close()
        assert all(future.cancelled() for future in futures)

    asyncio.run(main())
