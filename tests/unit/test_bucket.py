"""The token bucket, in virtual time."""

import asyncio

import pytest
from running import simulate

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.errors import InputError
from faultset_ray.objects.bucket import Bucket


def elapsed(scenario):
    sim = SimBackend([Place("p0")], seed=1)

    async def timed():
        start = sim.uptime_s()
        await scenario(sim)
        return sim.uptime_s() - start

    return simulate(sim, timed())


def test_bytes_take_their_time_whoever_asks():
    async def scenario(sim):
        bucket = Bucket(sim, 1000.0, burst_bytes=0)

        async def taker():
            for _ in range(10):
                await bucket.take(250)

        await asyncio.gather(*(taker() for _ in range(4)))

    assert elapsed(scenario) == pytest.approx(9.75), "the last piece is let through when those before it are paid for"


def test_a_burst_after_a_rest_and_no_more():
    async def scenario(sim):
        bucket = Bucket(sim, 1000.0, burst_bytes=500)
        await sim.sleep(100)
        start = sim.uptime_s()
        for _ in range(6):
            await bucket.take(250)
        assert sim.uptime_s() - start == pytest.approx(0.75)

    elapsed(scenario)


def test_a_piece_larger_than_the_burst_passes_and_is_paid_for():
    async def scenario(sim):
        bucket = Bucket(sim, 1000.0, burst_bytes=100)
        await bucket.take(5000)
        await bucket.take(1)

    assert elapsed(scenario) == pytest.approx(5.0)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_is_positive(rate):
    sim = SimBackend([Place("p0")], seed=1)
    with pytest.raises(InputError, match="bytes_per_s"):
        Bucket(sim, rate)
    sim.dispose()


def test_an_infinite_rate_never_waits():
    async def scenario(sim):
        bucket = Bucket(sim, float("inf"))
        for _ in range(10):
            await bucket.take(1 << 40)

    assert elapsed(scenario) == 0
