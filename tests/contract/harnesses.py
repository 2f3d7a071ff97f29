"""A backend of each kind for the contract suites, and a way to run and to lose what is on it."""

from __future__ import annotations

import asyncio

import pytest

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.sim import SimBackend

LOCAL = pytest.param("local", id="local")
SIM = pytest.param("sim", id="sim")
RAY = pytest.param("ray", id="ray", marks=pytest.mark.ray)


def harness_of(kind, places, labels, system, **options):
    """What runs a suite.

    ``places`` are those of a backend in this process. On Ray there is a node for each of ``labels``, beside the head,
    and ``options`` may give their ``cpus``, and the ``store_dir`` of the cluster.
    """
    if kind == "local":
        return LocalHarness(LocalBackend(places, cpus=2))
    if kind == "sim":
        return SimHarness(SimBackend(places, seed=1))
    return RayHarness(labels, system, **options)


class Kept:
    """A backend as a driver has it that leaves before others: it stays open for them."""

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)

    async def close(self):
        """Whoever made the backend closes it."""


class LocalHarness:
    def __init__(self, backend):
        self.backend = backend
        self._loop = asyncio.new_event_loop()

    def run(self, scenario):
        return self._loop.run_until_complete(scenario)

    def kill(self, place):
        self.backend.kill(place)

    def ref(self, value):
        return self.backend.share(value)

    def close(self):
        self.run(self.backend.close())
        left = asyncio.all_tasks(self._loop)
        self._loop.close()
        assert not left, "drivers that a test left open"


class SimHarness(LocalHarness):
    def run(self, scenario):
        return self.backend.execute(scenario)

    def close(self):
        super().close()
        self.backend.dispose()


class RayHarness(LocalHarness):
    def __init__(self, labels, system, *, cpus=1, store_dir=None):
        from actors.backend import RayBackend
        from actors.local_cluster import LocalCluster, LocalNode

        self.cluster = LocalCluster([LocalNode(each, cpus) for each in labels], store_dir=store_dir)
        super().__init__(RayBackend(system, lasting=False, address=self.cluster.address))

    def kill(self, place):
        self.cluster.kill(place)

    def close(self):
        try:
            super().close()
        finally:
            self.cluster.close()
