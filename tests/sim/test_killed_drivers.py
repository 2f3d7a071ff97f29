"""What a killed driver did in the background ends with it, and leaves no error that nobody hears."""

from __future__ import annotations

from functools import wraps

import pytest
from sim.object_world import simulate

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.writes import Writes
from faultset_ray.limits import INTENT_SECONDS, STEWARD_SECONDS


@pytest.fixture
def killing(monkeypatch):
    """``killing(run, name, answer)``: the driver's process ends while that question of its is being answered."""

    def arm(run, name, answer):
        method, killed = getattr(Coordinator, name), []

        @wraps(method)
        def killed_by(self, *args):
            run.kill_driver()
            killed.append(name)
            return answer(lambda *changed: method(self, *changed), *args)

        monkeypatch.setattr(Coordinator, name, killed_by)
        return killed

    return arm


def test_a_steward_that_has_nothing_left_to_ask(killing):
    async def scenario(run):
        def led_by_another(lease, name, seconds, now_ms):
            lease(name, 0.0, now_ms)
            return lease("another", seconds, now_ms)

        steward = run.driver._steward._task
        killed = killing(run, "lease", led_by_another)
        await run.sim.sleep(3 * STEWARD_SECONDS)
        assert killed == ["lease"]
        assert steward.done()
        assert steward.exception() is None

    simulate(3, scenario)


def test_writes_that_were_just_renewed(killing):
    async def scenario(run):
        writes = Writes(run.client, run.driver._authority)
        writes._keep(b"a write", run.sim.uptime_s())
        killed = killing(run, "renew_writes", lambda renew, *args: renew(*args))
        await run.sim.sleep(INTENT_SECONDS)
        assert killed == ["renew_writes"]
        assert writes._renewing.done()
        assert writes._renewing.exception() is None

    simulate(3, scenario)
