"""Where the backend in this process puts servants, beyond what the contract of all backends asks."""

import asyncio

import pytest

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import At, Place, Servant
from faultset_ray.errors import PlaceUnreachable


@pytest.fixture
def backend():
    return LocalBackend([Place(f"p{index}") for index in range(7)], cpus=2)


def test_servants_that_start_at_once_are_spread(backend):
    async def main():
        names = [f"s{number}" for number in range(7)]
        await asyncio.gather(*(backend.spawn(Servant, name) for name in names))
        assert sorted(backend._hosted[name].place for name in names) == [f"p{number}" for number in range(7)]
        await backend.close()

    asyncio.run(main())


def test_a_place_that_is_lost_while_a_servant_starts(backend):
    class Slow(Servant):
        def __init__(self):
            backend.kill("p3")

    async def main():
        with pytest.raises(PlaceUnreachable, match="p3 was lost while it started"):
            await backend.spawn(Slow, "slow", at=At(place="p3"))
        await backend.spawn(Servant, "another")
        await backend.close()

    asyncio.run(main())


def test_a_second_driver_on_another_loop_is_refused(backend, tmp_path):
    options = {"backend": backend, "system": "shared", "state_dir": tmp_path}
    with fs.connect(**options) as driver:
        driver.put("a", b"kept")
        with pytest.raises(fs.errors.InputError, match="another event loop"):
            fs.connect(**options)
        assert driver.get("a") == b"kept", "the first one goes on"
