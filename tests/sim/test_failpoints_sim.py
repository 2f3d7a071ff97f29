"""Who runs an operation, the coordinator, or stores crash at each point that there is: nothing acknowledged is lost."""

from __future__ import annotations

from contextlib import suppress

import pytest
from sim.object_world import World, lose_catalog, simulate
from sim.test_objects_crashes import once

from faultset_ray.errors import BackendClosed, ClusterError, InputError, ObjectNotFound
from faultset_ray.failpoints import NAMES, arm

SIZE = 150_000


async def put(run: World, old: bytes, new: bytes) -> set[bytes | None]:
    await run.driver.put("o", new, stripe_bytes=32_768)
    return {new}


async def delete(run: World, old: bytes, new: bytes) -> set[bytes | None]:
    await run.driver.delete("o")
    return {None}


async def undelete(run: World, old: bytes, new: bytes) -> set[bytes | None]:
    await run.driver.undelete("o")
    return {old}


async def move(run: World, old: bytes, new: bytes) -> set[bytes | None]:
    leaving = (await run.layout("o"))[1]
    run.drain(leaving)

    async def gone():
        return leaving not in await run.layout("o") and await run.quiet()

    await run.settle(gone)
    return {old}


async def rebuild(run: World, old: bytes, new: bytes) -> set[bytes | None]:
    await run.driver.rebuild()
    return {old}


OPERATIONS = {"put": put, "delete": delete, "undelete": undelete, "move": move, "rebuild": rebuild}


def test_every_operation_with_failpoints_is_tried():
    assert {name.partition(".")[0] for name in NAMES} == OPERATIONS.keys() | {"return"}, (
        "of which see test_stores_returning.py"
    )


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.partition(".")[0] in OPERATIONS))
@pytest.mark.parametrize("victim", ["driver", "coordinator", "stores"])
def test_a_crash_at_each_point(name, victim):
    operation = name.partition(".")[0]

    async def scenario(run):
        old, new = run.sim.token(SIZE), run.sim.token(SIZE)
        await run.put("o", old)
        for number in range(3):
            await run.put(f"other{number}", run.sim.token(10_000 * number))
        doomed = (await run.layout("o"))[2:4]
        if operation == "undelete":
            await run.driver.delete("o")
        if operation == "rebuild":
            await lose_catalog(run)
        del run.payloads["o"]

        def crash():
            if victim == "driver":
                run.kill_driver()
                raise BackendClosed
            if victim == "coordinator":
                run.kill_coordinator()
            else:
                for place in doomed:
                    run.kill(place)

        act = once(crash)
        before = {None} if operation == "undelete" else {old}
        with arm(name, act):
            try:
                may_be = await OPERATIONS[operation](run, old, new)
            except (ClusterError, InputError):
                may_be = before | {{"put": new, "delete": None}.get(operation, old)}
        assert not act.left, "the point is reached"
        if victim == "driver":
            await run.start()
        if operation == "rebuild":
            with suppress(InputError):  # it was done already
                await run.driver.rebuild()
        await run.check_objects()
        assert await read(run) in may_be
        if victim == "stores":
            for place in doomed:
                run.revive(place)
        await run.driver.scrub()  # gives stores that were away the records that they missed
        await run.settle(run.quiet)
        found = await read(run)
        assert found in may_be
        if found is not None:
            run.payloads["o"] = found
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


def test_a_driver_goes_on_with_a_catalog_that_it_has_rebuilt():
    async def scenario(run):
        for number in range(3):
            await run.put(f"o{number}", run.sim.token(100_000))
        await lose_catalog(run)
        await run.driver.rebuild()
        await run.check_objects()
        await run.put("more", run.sim.token(100_000))
        await run.check_objects()
        await run.check_shards()

    simulate(9, scenario)


async def read(run: World) -> bytes | None:
    try:
        return await run.driver.get("o")
    except ObjectNotFound:
        return None
