"""A crash at every step of a move: the old layout holds or the new one, nothing is lost, and nothing is left over."""

from __future__ import annotations

import pytest
from sim.object_world import simulate

from faultset_ray.errors import BackendClosed
from faultset_ray.failpoints import arm

STEPS = ["move.opened", "move.copied", "move.recorded", "move.committed", "move.dropped"]


def once(action):
    """An action for the first time that a point is reached."""
    left = [action]

    def act():
        if left:
            left.pop()()

    act.left = left
    return act


@pytest.mark.parametrize(
    ("how", "step"), [*(("lost", step) for step in STEPS[:-1]), *(("leaving", step) for step in STEPS)]
)
@pytest.mark.parametrize("victim", ["driver", "coordinator", "target", "source"])
def test_a_crash_in_the_middle_of_a_move(step, victim, how):
    async def scenario(run):
        for number in range(3):
            await run.put(f"o{number}", run.sim.token(30_000 * number))
        before = {name: await run.layout(name) for name in run.payloads}
        moved = before["o2"][1]
        dead = []

        def crash():
            dead.append("")
            if victim == "driver":
                run.kill_driver()
                raise BackendClosed
            if victim == "coordinator":
                run.kill_coordinator()
            elif victim == "source":
                dead[0] = before["o2"][2]
            else:
                under_way = run.driver._steward._caretaker._mover.under_way
                targets = [run.place_of(move.target) for move in under_way] or [spare]
                dead[0] = targets[0]
            if dead[0]:
                run.kill(dead[0])

        spare = min({place.id for place in await run.sim.places()} - {"head", *before["o2"]})

        with arm(step, once(crash)):
            if how == "lost":
                run.kill(moved)
            else:
                run.drain(moved)

            async def crashed():
                return bool(dead)

            await run.settle(crashed)
            if victim == "driver":
                await run.sim.sleep(5)
                await run.start()
            for name in run.payloads:
                for index, place in enumerate(await run.layout(name)):
                    assert place == before[name][index] or before[name][index] in {moved, dead[0]}
            await run.check_objects()
            if dead[0]:
                run.revive(dead[0])
            await run.settle(run.quiet)
        for name in run.payloads:
            assert moved not in await run.layout(name)
            assert len(set(await run.layout(name))) == 6
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario, seed=STEPS.index(step))
