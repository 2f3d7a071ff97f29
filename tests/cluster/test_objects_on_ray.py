"""Objects on real Ray nodes: put from any kind of data, nodes killed, and what stores are told after a restart."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import ray
from scraping import SERIES, scraped_until

import faultset_ray as fs
from actors.local_cluster import LocalCluster, LocalNode
from cluster.support import PROJECT
from faultset_ray.errors import NotEnoughShards, ObjectNotFound

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}) for name in ("a", "b", "c", "d")]

FIRST = """
import sys
import numpy as np
import ray
import faultset_ray as fs
from faultset_ray.limits import KIB
address, state_dir, data = sys.argv[1], sys.argv[2], sys.stdin.buffer.read()
with fs.connect(address, system="outlived", state_dir=state_dir) as driver:
    receipt = driver.put("large", data, code="rs:2+2", stripe_bytes=512 * KIB)
    assert (receipt.n_durable, receipt.survivable, receipt.durability) == (4, 2, "fsync")
    driver.put("ref", ray.put(np.frombuffer(data, np.uint8)), code="rs:2+2")
    driver.put("small/\\n😀", b"a few bytes", code="rs:2+2")
"""
"""A process of its own: in one that has joined Ray before and joins this cluster twice, Ray counts more than once."""


def test_objects_outlive_nodes_and_drivers(tmp_path):
    data = np.random.default_rng(1).bytes(3_000_001)
    with LocalCluster(NODES, store_dir=str(tmp_path / "stores")) as cluster:
        first = [sys.executable, "-c", FIRST, cluster.address, str(tmp_path / "state")]
        subprocess.run(first, input=data, cwd=PROJECT, check=True, timeout=200)
        with fs.connect(cluster.address, system="outlived", state_dir=tmp_path / "state") as driver:
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
            nodes_are_measured(driver)
            scraped_until(metrics_tell)
            driver.shutdown()


def nodes_are_measured(driver):
    """A fleet of two, of which one is slow."""
    driver.register([("fast", 52.5, 13.4, 5.0), ("slow", 52.5, 13.4, 900.0)], 3)
    assert driver.survivors().ids.tolist() == ["fast"]


def metrics_tell(scraped):
    """What the living nodes tell of all that: the driver's figures on the head, those of actors where they are."""
    kept = {"system": "outlived"}  # of this test alone: counters of a process go on over systems of one name
    assert scraped.total("operations_total", verb="put", outcome="ok", **kept) == 3
    assert scraped.total("operations_total", verb="get", outcome="not_found", **kept) == 1
    assert scraped.total("operations_total", verb="get", outcome="lost", **kept) == 1
    assert scraped.total("operation_bytes_total", verb="put", **kept) == 2 * 3_000_001 + 11
    assert scraped.total("operation_seconds_count", verb="put", **kept) == 3
    assert scraped.total("coded_bytes_total", verb="encode", **kept) >= 11, "the driver's; a task's is on its node"
    assert scraped.total("coded_bytes_total", verb="decode", **kept) >= 3_000_001
    assert scraped.total("answers_total", fleet="default", outcome="whole", **kept) == 1
    assert scraped.total("ejections_total", fleet="default", reason="over_threshold", **kept) == 1
    assert scraped.total("detection_seconds_count", fleet="default", **kept) == 1
    assert scraped.total("coordinator_starts_total", **kept) == 1
    assert scraped.total("survivors", fleet="default", **kept) == 1
    assert scraped.total("nodes", fleet="default", state="ejected", **kept) == 1
    assert scraped.total("objects", margin="lost", **kept) == 3
    assert scraped.total("repairs_total", outcome="lost", **kept) >= 3
    assert scraped.total("stores", state="here", **kept) == 1
    looked_s = [
        scraped.total("upkeep_timestamp_seconds", what=what, **kept) for what in ("ranges", "stores", "objects")
    ]
    assert max(looked_s) - min(looked_s) < 120
    assert scraped.names() <= set(SERIES), "nothing is told that the table does not know"
