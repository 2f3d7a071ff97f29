"""What crosses to other processes on Ray: errors as themselves, and how many CPUs a task has."""

from __future__ import annotations

import asyncio

import pytest
from error_samples import classes, raise_sample, sample

from actors.backend import RayBackend
from actors.local_cluster import LocalNode
from cluster.tasks import Raising, busy_threads
from faultset_ray.backend.protocol import At

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode(cpus=2)]


@pytest.fixture(scope="module")
def backend(attached):
    backend = RayBackend("crossing", lasting=False, address=attached.address)
    yield backend
    asyncio.run(backend.close())


def same(raised: BaseException, name: str) -> None:
    expected = next(sample(cls) for cls in classes() if cls.__name__ == name)
    assert type(raised) is type(expected)
    assert str(raised) == str(expected)
    assert raised.fields() == expected.fields()


def test_every_error_arrives_as_itself(backend):
    """From tasks, and from servants."""
    names = [cls.__name__ for cls in classes()]

    async def scenario():
        addr = await backend.spawn(Raising, "raising")
        tasks = [backend.run(raise_sample, At(cpus=0.5), name) for name in names]
        calls = [backend.call(addr, Raising.fail, name) for name in names]
        return await asyncio.gather(*tasks, *calls, return_exceptions=True)

    for name, raised in zip(names * 2, asyncio.run(scenario()), strict=True):
        same(raised, name)


@pytest.mark.parametrize("cpus", [0.5, 1.0, 2.0])
def test_threads_follow_the_tasks_cpus(backend, cpus):
    threads, busy = asyncio.run(run(backend, cpus))
    assert threads == max(1, int(cpus))
    assert busy == threads


async def run(backend, cpus):
    return await backend.run(busy_threads, At(cpus=cpus))
