"""Objects on a real cluster by its other faces: verbs that are processes of their own, and Ray Data's workers."""

from __future__ import annotations

import numpy as np
import pytest
import ray

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import result_of, token_of_ray, verb
from faultset_ray.filesystem import FaultsetFileSystem

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}, cpus=2) for name in "abcd"]


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def told(attached, tmp_path):
    """What a verb says in the end."""
    system = {"FAULTSET_SYSTEM": "kept", "FAULTSET_STATE_DIR": str(tmp_path / "state")}
    environ = token_of_ray() | system | {"RAY_ADDRESS": attached.address}

    def call(*arguments: object, code: int = 0, data: bytes = b"") -> tuple[dict, bytes]:
        done = verb(environ, *arguments, code=code, data=data)
        return result_of(done), done.stdout

    return call


def test_objects_outlive_commands_and_nodes(told, attached):
    data = np.random.default_rng(3).bytes(2_000_003)
    put, _ = told("put", "ledger", "-", "--code", "rs:2+1", data=data)
    assert (put["n_durable"], put["survivable"], put["durability"]) == (3, 1, "fsync")
    found, _ = told("stat", "ledger")
    place = found["locations"]["0"]["place"]
    attached.kill(place)
    assert told("get", "ledger", "-")[1] == data, "and nothing of what Ray says of the node"
    status, _ = told("status", code=4)
    assert (status["objects"], status["margins"]) == (1, {"0": 1})
    assert told("repair")[0]["shards"] == 1

    found, _ = told("stat", "ledger")
    place = found["locations"]["1"]["place"]
    refused, _ = told("decommission", place, code=5)
    assert refused["error"]["code"] == "not_enough_places"
    assert told("stat", "ledger")[0] == found, "nothing was changed"
    attached.add_node(LocalNode({"faultset.io/store": "true", "faultset.io/region": "e"}, cpus=2))
    assert told("decommission", place)[0]["shards"] == 1
    assert told("get", "ledger", "-")[1] == data
    status, _ = told("status")
    assert (status["objects"], status["healthy"]) == (1, 1)
    assert next(store["state"] for store in status["stores"] if store["place"] == place) == "retired"
    told("rm", "ledger", "--grace", "0")
    told("get", "ledger", "-", code=2)
    assert told("status")[0]["objects"] == 0


def test_ray_data_reads_and_writes_objects_in_its_workers(attached, tmp_path):
    fs.connect(attached.address, system="frames", state_dir=tmp_path / "state").close()
    files = FaultsetFileSystem("frames", attached.address, "rs:2+1")
    written = ray.data.range(1000, override_num_blocks=2)
    written.write_parquet("numbers", filesystem=files)
    assert len(files.find("numbers")) == 2
    assert ray.data.read_parquet("numbers", filesystem=files).sum("id") == sum(range(1000))
    files.driver.shutdown()
