"""Rows on their way to the task that encodes them: what it gets in their place is never stored."""

from unittest import mock

import pytest
from sim.object_world import simulate

from faultset_ray.backend.sim import SimBackend
from faultset_ray.errors import DigestMismatch, ObjectNotFound
from faultset_ray.limits import KIB, TASK_ATTEMPTS

STRIPE = 64 * KIB


def flipped(rows):
    rows = rows.copy()
    rows[-1, -1] ^= 1
    return rows


INSTEAD = {
    "a bit": flipped,
    "another shape": lambda rows: rows.reshape(-1),
    "fewer rows": lambda rows: rows[:-1],
    "rows that changed places": lambda rows: rows[::-1].copy(),
    "nothing": lambda rows: rows[:, :0],
}


def losing(count, instead):
    """The first ``count`` references stand for something else."""
    share, given = SimBackend.share, []

    def shared(backend, rows):
        given.append(rows)
        return share(backend, instead(rows) if len(given) <= count else rows)

    return mock.patch.object(SimBackend, "share", shared)


@pytest.mark.parametrize("instead", INSTEAD)
def test_they_are_sent_again(instead):
    async def scenario(run):
        data = run.sim.token(5 * STRIPE)
        with losing(2, INSTEAD[instead]):
            await run.driver.put("o", data, stripe_bytes=STRIPE)
            shards = await run.driver.encode(data, "rs:4+2", stripe_bytes=STRIPE)
        assert await run.driver.get("o") == data
        assert await run.driver.decode(shards) == data

    simulate(7, scenario)


@pytest.mark.parametrize("instead", INSTEAD)
def test_what_never_arrives_is_not_acknowledged_and_leaves_nothing(instead):
    async def scenario(run):
        data = run.sim.token(STRIPE + 1)
        with losing(10 * TASK_ATTEMPTS, INSTEAD[instead]):
            with pytest.raises(DigestMismatch, match="on its way to a task"):
                await run.driver.put("o", data, stripe_bytes=STRIPE)
            with pytest.raises(DigestMismatch, match="on its way to a task"):
                await run.driver.encode(data, "rs:4+2", stripe_bytes=STRIPE)
        with pytest.raises(ObjectNotFound):
            await run.driver.get("o")
        await run.settle(run.quiet)
        assert (await run.driver.scrub(deep=True)).orphans == []

    simulate(7, scenario)
