"""Backends for the suites of objects: seven places with stores in four regions, lost and damaged at will."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend

LABELS = [{"faultset.io/region": f"r{index % 4}", "faultset.io/store": "true"} for index in range(7)]
PLACES = [Place("home"), *(Place(f"p{index}", labels) for index, labels in enumerate(LABELS))]


class LocalHarness:
    def __init__(self):
        self.backend = LocalBackend(PLACES, cpus=2)
        self._loop = asyncio.new_event_loop()

    def run(self, scenario):
        return self._loop.run_until_complete(scenario)

    def kill(self, place):
        self.backend.kill(place)

    def ref(self, value):
        return self.backend.share(value)

    def close(self):
        self._loop.close()


class SimHarness(LocalHarness):
    def __init__(self):
        self.backend = SimBackend(PLACES, seed=1)

    def run(self, scenario):
        return self.backend.execute(scenario)

    def close(self):
        self.backend.dispose()


class RayHarness(LocalHarness):
    def __init__(self):
        from actors.backend import RayBackend
        from actors.local_cluster import LocalCluster, LocalNode

        self.cluster = LocalCluster(
            [LocalNode(labels) for labels in LABELS], store_dir=os.environ["FAULTSET_STORE_DIR"]
        )
        self.backend = RayBackend("objects", lasting=False, address=self.cluster.address)
        self._loop = asyncio.new_event_loop()

    def kill(self, place):
        self.cluster.kill(place)

    def close(self):
        super().close()
        self.cluster.close()


HARNESSES = [
    pytest.param(LocalHarness, id="local"),
    pytest.param(SimHarness, id="sim"),
    pytest.param(RayHarness, id="ray", marks=pytest.mark.cluster),
]


def shard_path(stat, index):
    return Path(stat.locations[index][2])


def flip(path, at=300):
    """One bit of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
