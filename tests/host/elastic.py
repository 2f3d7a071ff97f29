"""A cluster that grows and shrinks: Ray's autoscaler with nodes of the types in ``cluster.yaml``, as raylets of this machine.

For processes that run in namespaces of their own: see :func:`in_namespaces`, which the tests call, and which runs a
function of :mod:`host.elastic_scenarios` there. Everything ends with the first process of the process namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:6379"
HEAD_TYPE = "ray.head.default"
"""What the fake provider calls the head's type."""
HEAD_ID = "f" * 51 + "00000"
"""What the fake provider takes the head's id for."""
PROVIDER = {
    "type": "external",
    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
    "gcs_address": ADDRESS,
}
UNUSED = {
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    **{f"{who}_commands": [] for who in ("initialization", "setup", "head_setup", "worker_setup")},
    **{f"{who}_start_ray_commands": [] for who in ("head", "worker")},
}
IDLE_S = 4
"""In place of the minutes of ``cluster.yaml``."""
SMALLER = 4
"""A CPU here for so many there: what a node offers is only counted, but each actor is a real process."""
NODE_STORE_BYTES = 100 << 20

UNSHARE = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--mount", "--kill-child"]
# Own /tmp/ray and /dev/shm, so that nothing of another cluster on this machine is seen or touched.
HOST = (
    "set -e; mkdir -p /tmp/ray; mount -t tmpfs ray /tmp/ray; mount -t tmpfs shm /dev/shm; ip link set lo up; "
    '"$@"; exit $?'  # not exec: the first process also takes care of orphans
)


def in_namespaces(scenario: str, version: str, found: Path, seconds: float) -> dict[str, Any]:
    """Run a scenario against a new cluster with network, processes and mounts of its own; returns what it found.

    It leaves that in the file ``found``: Ray writes to the standard output too.
    """
    command = [sys.executable, "-m", "host.elastic", scenario, version, str(found)]
    ended = subprocess.run(
        [*UNSHARE, "bash", "-c", HOST, "host", *command],
        cwd="/",
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FAULTSET_"))},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        },
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-6000:]}\n{ended.stderr[-6000:]}"
    return dict(json.loads(found.read_text()))


def node_types(most: dict[str, int], least: dict[str, int]) -> dict[str, Any]:
    """Those of ``cluster.yaml`` with their labels and resources; fewer of each, and smaller.

    ``most`` is how many nodes of a type there may be; where the type has a minimum there, all of them are there always,
    or as many as ``least`` says.
    """
    described = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    kinds = {}
    for name, kind in described["available_node_types"].items():
        cpus = {"CPU": kind["resources"]["CPU"] // SMALLER}
        if name == described["head_node_type"]:
            kinds[HEAD_TYPE] = {"resources": cpus, "node_config": {}, "max_workers": 0}
        else:
            count = most.get(name, 0)
            kinds[name] = {
                "resources": {**cpus, "object_store_memory": NODE_STORE_BYTES},
                "labels": kind["labels"],
                "node_config": {},
                "min_workers": least.get(name, count if kind["min_workers"] else 0),
                "max_workers": count,
            }
    return kinds


class Elastic:
    """The head of such a cluster, its autoscaler of version ``"v1"`` or ``"v2"``, and its nodes as they come and go.

    ``environ`` is for the processes of the head and of all nodes.
    """

    def __init__(self, version: str, most: dict[str, int], least: dict[str, int] | None = None, **environ: str) -> None:
        described = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        provider = dict(PROVIDER)
        environ |= {
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_enable_autoscaler_v2": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_prestart_worker_first_driver": "0",
            "RAY_enable_worker_prestart": "0",
        }
        if version == "v2":
            provider |= {"launch_multiple": True, "head_node_id": HEAD_ID}
            environ |= {
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
            }
        config = {
            **{name: described[name] for name in ("cluster_name", "max_workers", "upscaling_speed")},
            "idle_timeout_minutes": IDLE_S / 60,
            "provider": provider,
            "available_node_types": node_types(most, least or {}),
            "head_node_type": HEAD_TYPE,
            **UNUSED,
        }
        file = Path("/tmp/ray/autoscaling.json")
        file.write_text(json.dumps(config))
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
        options = {
            "num-cpus": 0,
            "port": 6379,
            "node-ip-address": "127.0.0.1",
            "include-dashboard": "false",
            "object-store-memory": 256 << 20,
            "autoscaling-config": file,
            "system-config": _health_checks(described),
        }
        subprocess.run(
            [
                sys.executable,
                "-m",
                "ray.scripts.scripts",
                "start",
                "--head",
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            env=os.environ | environ,
            check=True,
            stdout=sys.stderr,
        )
        self._begun = time.monotonic()
        self.log: list[str] = []

    def note(self, what: str) -> None:
        """A line with its second, for whoever reads a failure."""
        self.log.append(f"{time.monotonic() - self._begun:6.1f} {what}")
        sys.stderr.write(f"{self.log[-1]}\n")

    def nodes(self) -> dict[str, str]:
        """The region label of each living node but the head, with ``store`` before it for stores, by NodeID."""
        import ray

        return {
            node["NodeID"]: "store" if node["Labels"].get("faultset.io/store") else "compute"
            for node in ray.nodes()
            if node["Alive"] and "faultset.io/region" in node["Labels"]
        }

    def count(self, kind: str) -> int:
        """How many nodes of a kind there are."""
        return list(self.nodes().values()).count(kind)

    def connect(self) -> None:
        """Connect this process, so that drivers come and go while nodes are looked at."""
        from actors.attach import attach

        attach(ADDRESS)

    def until(self, what: str, condition: Callable[[], object], seconds: float = 90.0) -> float:
        """Wait until something has happened; after how many seconds it had."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < seconds, f"not within {seconds:g} s: {what}; nodes now: {self.nodes()}"
            time.sleep(0.1)
        self.note(what)
        return round(time.monotonic() - begun, 1)


def _health_checks(described: dict[str, Any]) -> str:
    """The ``--system-config`` of the head in ``cluster.yaml``."""
    import shlex

    words = shlex.split(described["head_start_ray_commands"][-1])
    return next(word.partition("=")[2] for word in words if word.startswith("--system-config="))


def main() -> None:
    """The first process of its namespaces but for a shell: run the scenario that is named, and write down what it found."""
    from host import elastic_scenarios

    scenario, version, found = sys.argv[1:]
    Path(found).write_text(json.dumps(getattr(elastic_scenarios, scenario)(version)))


if __name__ == "__main__":
    main()
