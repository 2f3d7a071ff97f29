"""Places are lost, cut off, healed and revived at random, by the seed: seen in time, and nothing else is said."""

import numpy as np
import pytest
from sim.test_probing import LOST_SECONDS, PLACES_OF, SILENT_SECONDS, simulate, survive, until_known

from faultset_ray.backend.sim import SimFaults

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

MESSAGES = 16
"""On the way from a loss to the answer: ping, witnesses, directory, observation, question; there and back."""


def schedule(seed, took):
    """Twenty events."""
    dice = np.random.default_rng(seed)
    others = [place.id for place in PLACES_OF[1:]]

    async def scenario(sim, driver):
        lost = {}
        async with await driver.probe() as probing:
            await probing.measured()
            await sim.sleep(2.0)
            for _ in range(20):
                slowest_ms = float(dice.uniform(1, 60))
                sim.set_faults(SimFaults(delay_ms=(0.1, slowest_ms)))
                place = str(dice.choice(others))
                if place in lost:
                    getattr(sim, lost.pop(place))(place)
                    await until_known(sim, driver, place, survives=True)
                elif len(lost) < 3:
                    how, back = [("kill", "revive"), ("cut", "heal")][dice.integers(2)]
                    lost[place] = back
                    getattr(sim, how)(place)
                    seconds = await until_known(sim, driver, place, survives=False)
                    took[how].append(seconds)
                    bound = LOST_SECONDS if how == "kill" else SILENT_SECONDS
                    assert seconds < bound + MESSAGES * slowest_ms / 1000
                await sim.sleep(float(dice.uniform(1.0, 6.0)))
                assert await survive(driver) == {place.id for place in PLACES_OF} - lost.keys()

    return scenario


def test_long_probing(large):
    took = {"kill": [], "cut": []}
    for seed in range(large.seed, large.seed + large.count(300)):
        simulate(schedule(seed, took), seed)
    large.notes += [f"{how}: at most {max(seconds):.2f} s of {len(seconds):,}" for how, seconds in took.items()]
