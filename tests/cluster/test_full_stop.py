"""Every node and the head end, and start again on the same disks; then the catalog is deleted, and made again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.local_cluster import process_tree
from cluster.kept_objects import CRASHED, SYSTEM
from cluster.support import PROJECT, RayHead, command_line, result_of, verb

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

REGIONS = "abcd"


class Hosts:
    """A head and four hosts with a disk each, that stop and start together."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.state = root / "state"
        self._head = RayHead(Path(sys.executable), cpus=1, dashboard=False, FAULTSET_STATE_DIR=str(self.state))
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._start_nodes()
        self.environ = {"RAY_ADDRESS": self._head.address, "FAULTSET_SYSTEM": SYSTEM, **self._head.token}

    def stop_and_start(self) -> None:
        """``kill -9`` of everything."""
        self._head.kill_head()
        for node in self._nodes:
            self._head.kill(node)
        self._head.start_head()
        self._start_nodes()

    def lose_catalog(self) -> None:
        """The coordinator's process and its directory."""
        [coordinator] = [
            pid for pid in process_tree(self._head.pid) if command_line(pid).startswith(b"ray::Coordinator")
        ]
        os.kill(coordinator, signal.SIGKILL)
        shutil.rmtree(self.state / SYSTEM)

    def drive(self, *arguments: str, code: int = 0) -> dict:
        """What a driver in a process of its own sees, after what it is asked to do."""
        done = subprocess.run(
            [sys.executable, "-m", "cluster.kept_objects", *arguments],
            env={**os.environ, **self.environ, "PYTHONPATH": os.pathsep.join((PROJECT, f"{PROJECT}/tests"))},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
        return json.loads(lines[0].removeprefix("FOUND ")) if lines else {}

    def close(self) -> None:
        self._head.close()

    def _start_nodes(self) -> None:
        with ThreadPoolExecutor() as threads:
            self._nodes = list(threads.map(self._start_node, REGIONS))

    def _start_node(self, region: str) -> subprocess.Popen[bytes]:
        disk = self._root / f"disk-{region}"
        disk.mkdir(exist_ok=True)
        labels = {"faultset.io/store": "true", "faultset.io/region": region}
        return self._head.add_node(1, labels, FAULTSET_STORE_DIR=str(disk))


@pytest.fixture
def hosts(tmp_path):
    running = Hosts(tmp_path)
    yield running
    running.close()


def test_a_full_stop_loses_nothing_and_a_lost_catalog_is_made_again_as_it_was(hosts):
    before = hosts.drive("write")
    assert len(before["objects"]) == 13
    hosts.stop_and_start()
    assert hosts.drive("show") == before

    hosts.drive("crash", "put.sealed", "never acknowledged", code=CRASHED)
    hosts.drive("crash", "put.one_record", "recorded", code=CRASHED)
    hosts.lose_catalog()
    refused = verb(hosts.environ, "ls", code=2)
    assert result_of(refused)["error"]["code"] == "unknown_system"
    for what in ("put", "get"):
        refused = verb(hosts.environ, what, "twice", "-", data=b"something else", code=5)
        assert result_of(refused)["error"]["code"] == "catalog_lost"
    rebuilt = result_of(verb(hosts.environ, "rebuild"))
    assert (rebuilt["objects"], rebuilt["deleted"], rebuilt["lost"]) == (14, 1, [])
    found = result_of(verb(hosts.environ, "scrub", "--drop-orphans"))
    assert (found["missing"], found["corrupt"], len(found["orphans"])) == (0, 0, rebuilt["orphans"])
    assert rebuilt["orphans"] == 4, "of the write that was never acknowledged"
    assert result_of(verb(hosts.environ, "scrub", "--deep"))["orphans"] == []
    after = hosts.drive("show")
    rolled_forward = after["objects"].pop("recorded")
    assert (rolled_forward["health"], rolled_forward["survivable"]) == ("healthy", 2)
    assert after == before
    verb(hosts.environ, "rm", "gone", "--undo")
