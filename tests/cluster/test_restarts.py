"""The coordinator's process is lost, then the whole head: a named system goes on from what it had written down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import PROJECT, RayHead, living_actors

pytestmark = pytest.mark.cluster

NODES = [LocalNode(cpus=2)]
FLEET = [(f"n{number}", -60.0 + number, -150.0 + 3 * number, float(number)) for number in range(90)]

DRIVER = """
import json, sys
import faultset_ray as fs
from faultset_ray.coordinator.servant import Coordinator

driver = fs.connect(system="lasting", region_actors=3)
registered, marked = json.loads(sys.argv[1])
fleet = driver.register(registered) if registered else None
ask = lambda *what: driver._loop.run(driver._core._authority.ask(*what))
if marked:
    driver.mark(marked, "drain")
    driver.set_policy(fs.Policy(threshold_ms=60.0))
    driver.observe(fleet.handles[10:12], [500.0, 50.0])
deadline = 60
while not (answer := driver.survivors(deadline_s=20.0)).whole:
    deadline -= 1
    assert deadline
directory, about = ask(Coordinator.directory, "default"), ask(Coordinator.about)
print("FOUND", json.dumps({
    "ids": answer.ids.tolist(),
    "handles": None if fleet is None else fleet.handles.tolist(),
    "epochs": {str(key): value[0] for key, value in answer.versions.items()},
    "version": directory.version,
    "marks": directory.marks.tolist(),
    "threshold_ms": directory.policy.threshold_ms,
    "coordinator": about.epoch,
}))
driver.close()
"""


def drive(head: RayHead, registered=(), marked=()) -> dict:
    """What a driver in a process of its own sees, after what it is asked to do."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps([list(registered), list(marked)])],
        env={**os.environ, **head.token, "RAY_ADDRESS": head.address, "PYTHONPATH": PROJECT},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    return json.loads(line.removeprefix("FOUND "))


def test_a_killed_coordinator_is_started_again_from_its_file(attached, tmp_path):
    driver = fs.connect(attached.address, system="coordinated", region_actors=2, state_dir=tmp_path)
    fleet = driver.register(FLEET)
    driver.mark(["n3"], "drain")
    before = driver.survivors(threshold_ms=50.0, partial=False)
    pid, node = living_actors("coordinator")["coordinator"]
    os.kill(pid, signal.SIGKILL)
    after = driver.survivors(threshold_ms=50.0, partial=False)
    assert after.ids.tolist() == before.ids.tolist()
    assert "n3" not in after.ids
    assert after.versions.keys() == before.versions.keys()
    assert after.versions.birth == before.versions.birth
    assert [epoch for epoch, _ in after.versions.values()] == [epoch for epoch, _ in before.versions.values()]
    assert driver.register([("new", 0.0, 0.0, 1.0), FLEET[5]]).handles.tolist() == [len(FLEET), fleet.handles[5]]
    new_pid, new_node = until(lambda: living_actors("coordinator").get("coordinator"))
    assert new_pid != pid
    assert new_node == node, "at home"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["coordinated"]
    driver.shutdown()

    shutil.rmtree(tmp_path / "coordinated")
    with fs.connect(attached.address, system="coordinated", region_actors=2, state_dir=tmp_path) as anew:
        anew.register(FLEET)
        with pytest.raises(fs.errors.OtherHistory):
            next(anew.watch(after.versions, idle_s=0.1))
        anew.shutdown()


@pytest.mark.timeout(600)
def test_the_head_is_killed_and_started_again(tmp_path):
    """Ray keeps its tables in RocksDB; region actors live on a worker and outlive the head."""
    storage = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(tmp_path / "gcs")}
    (tmp_path / "gcs").mkdir()
    with RayHead(Path(sys.executable), cpus=0, FAULTSET_STATE_DIR=str(tmp_path / "state"), **storage) as head:
        head.add_node()
        before = drive(head, FLEET, ["n3", "n4"])
        assert before["coordinator"] == 1
        assert before["ids"] == [f"n{number}" for number in range(61) if number not in {3, 4, 10}]
        head.restart()
        after = drive(head)
        assert after["coordinator"] == 2
        for what in ("ids", "version", "marks", "threshold_ms", "epochs"):
            assert after[what] == before[what], what
        again = drive(head, [("new", 0.0, 0.0, 1.0), FLEET[5]])
        assert again["handles"] == [len(FLEET), before["handles"][5]]
