"""Objects on a real cluster by its other faces: verbs that are processes of their own, and Ray Data's workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import ray

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import PROJECT, bare
from faultset_ray.filesystem import FaultsetFileSystem

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}, cpus=2) for name in "abcd"]


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def verb(attached, tmp_path):
    token = {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}
    state = {"FAULTSET_SYSTEM": "kept", "FAULTSET_STATE_DIR": str(tmp_path / "state")}

    def call(*arguments: object, code: int = 0, data: bytes = b"") -> tuple[dict, bytes]:
        done = subprocess.run(
            [sys.executable, "-m", f"jobs.{arguments[0]}", *map(str, arguments[1:]), "--json"],
            cwd=PROJECT,
            env=bare(**token, **state, RAY_ADDRESS=attached.address),
            input=data,
            capture_output=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
        told = done.stdout if done.stdout.endswith(b"}\n") else done.stderr
        return json.loads(told.splitlines()[-1]), done.stdout

    return call


def test_objects_outlive_commands_and_a_node(verb, attached, tmp_path):
    data = np.random.default_rng(3).bytes(2_000_003)
    told, _ = verb("put", "ledger", "-", "--code", "rs:2+1", data=data)
    assert (told["n_durable"], told["survivable"], told["durability"]) == (3, 1, "fsync")
    found, _ = verb("stat", "ledger")
    place = found["locations"]["0"]["place"]
    attached.kill(place)
    assert verb("get", "ledger", "-")[1] == data, "and nothing of what Ray says of the node"
    told, _ = verb("status", code=4)
    assert (told["objects"], told["margins"]) == (1, {"0": 1})
    assert verb("repair")[0]["shards"] == 1
    assert verb("status")[0]["healthy"] == 1


def test_ray_data_reads_and_writes_objects_in_its_workers(attached, tmp_path):
    fs.connect(attached.address, system="frames", state_dir=tmp_path / "state").close()
    files = FaultsetFileSystem("frames", attached.address, "rs:2+1")
    written = ray.data.range(1000, override_num_blocks=2)
    written.write_parquet("numbers", filesystem=files)
    assert len(files.find("numbers")) == 2
    assert ray.data.read_parquet("numbers", filesystem=files).sum("id") == sum(range(1000))
    files.driver.shutdown()
