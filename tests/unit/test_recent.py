"""An answer serves for a while; one question at a time, whoever waits; errors are not kept."""

import asyncio

import pytest
from running import simulate

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.driver.recent import Recent


def test_an_answer_serves_and_an_older_one_while_the_next_is_asked_for():
    sim = SimBackend([Place("p")], seed=1)
    asked = []

    async def ask():
        asked.append(sim.uptime_s())
        number = len(asked)
        await sim.sleep(1.0)
        if number == 4:
            raise OSError("lost")
        return number

    async def scenario():
        recent = Recent(sim, ask, 5.0)
        assert await asyncio.gather(*(recent.get() for _ in range(9))) == [1] * 9
        await sim.sleep(3.5)
        assert await recent.get() == 1
        await sim.sleep(1.0)
        assert await recent.get() == 1, "it is older than it may be, and the next one is asked for"
        await sim.sleep(1.5)
        assert await recent.get() == 2
        await sim.sleep(20.0)
        assert await recent.get() == 3, "so old a one serves no more"
        recent.doubt()
        with pytest.raises(OSError, match="lost"):
            await recent.get()
        assert await recent.anew() == 5
        assert await recent.get() == 5
        await recent.close()

    simulate(sim, scenario())
    assert len(asked) == 5
