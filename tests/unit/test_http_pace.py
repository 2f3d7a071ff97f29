"""How slow a client may be: on a virtual clock, so that minutes of waiting are exact and take no time."""

import asyncio

import pytest
from places import PLACES
from running import simulate

from faultset_ray.backend.sim import SimBackend
from faultset_ray.config import Http
from faultset_ray.http.guard import Exchange, Slots
from faultset_ray.http.problems import BodyStalled
from faultset_ray.limits import MIB

RATE = 1000


class Client:
    """Brings and takes bytes at its own pace; ``now_s`` is the time since it came."""

    def __init__(self, *, bring=(), take_s=lambda _nbytes: 0.0, length=100 * MIB, **settings):
        self.pieces, self.take_s = iter(bring), take_s
        chunked = (b"transfer-encoding", b"chunked")
        headers = [chunked if length is None else (b"content-length", str(length).encode())]
        config = Http(**{"idle_s": 30.0, "rate_min_bytes_per_s": RATE} | settings)
        scope = {"method": "PUT", "headers": headers}
        self.exchange = Exchange(scope, self._receive, self._send, config, Slots(), paced=True)
        self.exchange.check_length()
        self.begun_s = asyncio.get_running_loop().time()

    @property
    def now_s(self):
        return asyncio.get_running_loop().time() - self.begun_s

    async def _receive(self):
        seconds, nbytes = next(self.pieces, (10**6, 0))
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": bytes(nbytes), "more_body": True}

    async def _send(self, message):
        await asyncio.sleep(self.take_s(len(message["body"])))

    async def brings(self, count, pause_s=0.0):
        for _ in range(count):
            await self.exchange.receive()
            await asyncio.sleep(pause_s)  # the client waits for us

    async def takes(self, count, nbytes=MIB, pause_s=0.0):
        for _ in range(count):
            await self.exchange.send({"type": "http.response.body", "body": bytes(nbytes), "more_body": True})
            await asyncio.sleep(pause_s)


def run(scenario):
    return simulate(SimBackend(PLACES, seed=1), scenario())


@pytest.mark.parametrize(("seconds", "nbytes"), [(10.0, 10 * RATE), (29.9, 30 * RATE), (0.001, 1), (1.0, MIB)], ids=str)
def test_a_client_that_keeps_the_rate_brings_as_much_as_it_likes(seconds, nbytes):
    async def scenario():
        await Client(bring=[(seconds, nbytes)] * 200).brings(200, pause_s=100.0)

    run(scenario)


@pytest.mark.parametrize(("seconds", "nbytes"), [(29.0, 1), (1.0, RATE // 2), (10.0, 9 * RATE)], ids=str)
def test_one_that_is_slower_is_given_up_however_it_drips(seconds, nbytes):
    async def scenario():
        client = Client(bring=[(seconds, nbytes)] * 10_000)
        with pytest.raises(BodyStalled, match="less than 1,000 bytes a second of the body came") as caught:
            await client.brings(10_000)
        assert caught.value.more["rate_min_bytes_per_s"] == RATE
        brought = caught.value.more["taken"]
        assert client.now_s == pytest.approx(30.0 + brought / RATE), "what it brought, and the patience with it"

    run(scenario)


def test_what_it_was_faster_makes_up_for_no_more_than_a_silence():
    async def scenario():
        client = Client(bring=[(1.0, 50 * MIB)])
        with pytest.raises(BodyStalled, match="nothing of the body came for 30 s"):
            await client.brings(2)
        assert client.now_s == pytest.approx(31.0)

    run(scenario)


def test_how_long_it_waits_for_us_is_not_held_against_it():
    async def scenario():
        client = Client(bring=[(0.0, 1)] * 50, take_s=lambda _nbytes: 0.0)
        await client.brings(50, pause_s=1000.0)
        await client.takes(50, nbytes=1, pause_s=1000.0)

    run(scenario)


@pytest.mark.parametrize("settings", [{"rate_min_bytes_per_s": 0}, {"length": None}], ids=["off", "no-transfer"])
def test_where_no_rate_counts_only_silence_does(settings):
    async def scenario():
        client = Client(bring=[(29.0, 1)] * 100, **settings)
        await client.brings(100)
        with pytest.raises(BodyStalled, match="nothing of the body came for 30 s"):
            await client.brings(1)

    run(scenario)


def test_a_reader_that_keeps_the_rate_and_one_that_does_not():
    async def scenario():
        await Client(take_s=lambda nbytes: nbytes / RATE).takes(20)
        slow = Client(take_s=lambda nbytes: 1.01 * nbytes / RATE)
        with pytest.raises(TimeoutError):
            await slow.takes(20)
        assert slow.now_s < 4 * MIB / RATE
        gone = Client(take_s=lambda _nbytes: 10**6)
        with pytest.raises(TimeoutError):
            await gone.takes(1)
        assert gone.now_s == pytest.approx(30.0 + MIB / RATE)
        off = Client(take_s=lambda _nbytes: 31.0, rate_min_bytes_per_s=0)
        with pytest.raises(TimeoutError):
            await off.takes(1)

    run(scenario)
