"""Objects on real Ray nodes: put from any kind of data, nodes killed, and what stores are told after a restart."""

from __future__ import annotations

import numpy as np
import pytest
import ray

import faultset_ray as fs
from actors.local_cluster import LocalCluster, LocalNode
from faultset_ray.errors import NotEnoughShards, ObjectNotFound
from faultset_ray.limits import KIB

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}) for name in ("a", "b", "c", "d")]


def test_objects_outlive_nodes_and_drivers(tmp_path):
    data = np.random.default_rng(1).bytes(3_000_001)
    with LocalCluster(NODES, store_dir=str(tmp_path / "stores")) as cluster:
        with fs.connect(cluster.address, system="kept", state_dir=tmp_path / "state") as driver:
            receipt = driver.put("large", data, code="rs:2+2", stripe_bytes=512 * KIB)
            assert (receipt.n_durable, receipt.survivable, receipt.durability) == (4, 2, "fsync")
            driver.put("ref", ray.put(np.frombuffer(data, np.uint8)), code="rs:2+2")
            driver.put("small/\n😀", b"a few bytes", code="rs:2+2")
        with fs.connect(cluster.address, system="kept", state_dir=tmp_path / "state") as driver:
            assert driver.get("ref") == data
            assert driver.get("large", (1_000_000, 1_000_100)) == data[1_000_000:1_000_100]
            assert b"".join(piece.tobytes() for piece in driver.get_stream("large")) == data
            stat = driver.stat("large")
            nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            assert {place for _, place, _ in stat.locations.values()} <= nodes
            for index in (0, 2):
                cluster.kill(stat.locations[index][1])
            assert driver.get("large") == data
            assert driver.get("small/\n😀") == b"a few bytes"
            with driver.open("large") as file:
                file.seek(-5, 2)
                assert file.read() == data[-5:]
            assert driver.stat("large").survivable == 0
            cluster.kill(stat.locations[1][1])
            with pytest.raises(NotEnoughShards) as caught:
                driver.get("large")
            assert (caught.value.have, caught.value.need, set(caught.value.missing)) == (1, 2, {0, 1, 2})
            with pytest.raises(ObjectNotFound):
                driver.get("never")
            driver.shutdown()
