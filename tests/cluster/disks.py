"""A head and hosts with a disk each, that stop and start together, or stand still; drivers of theirs are processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from actors.processes import process_tree
from cluster.kept_objects import SYSTEM
from cluster.support import PROJECT, RayHead, command_line


class Hosts:
    """One cluster; a context manager.

    Parameters
    ----------
    root
        For the disks, ``disk-REGION``, and the coordinator's directory, ``state``: they outlive the cluster.
    regions
        One host in each.
    """

    def __init__(self, root: Path, regions: Iterable[str]) -> None:
        self._root = root
        self._regions = regions
        self.state = root / "state" / SYSTEM
        self._head = RayHead(Path(sys.executable), cpus=1, dashboard=False, FAULTSET_STATE_DIR=str(root / "state"))
        self._nodes: list[subprocess.Popen[bytes]] = []
        try:
            self._start_nodes()
        except BaseException:
            self.close()
            raise
        self.environ = {"RAY_ADDRESS": self._head.address, "FAULTSET_SYSTEM": SYSTEM, **self._head.token}

    def stop_and_start(self) -> None:
        """``kill -9`` of everything."""
        self._head.kill_head()
        self.kill_nodes()
        self._head.start_head()
        self._start_nodes()

    def add(self, region: str) -> None:
        """One host more."""
        self._nodes.append(self._start_node(region))

    def kill_nodes(self) -> None:
        """``kill -9`` of all but the head."""
        for node in self._nodes:
            self._head.kill(node)
        self._nodes = []

    def signal_head(self, number: signal.Signals) -> None:
        """Have the head's processes stand still, or go on, the coordinator among them."""
        for pid in process_tree(self._head.pid):
            os.kill(pid, number)

    def lose_catalog(self) -> None:
        """The coordinator's process and its directory."""
        coordinators = (
            pid for pid in process_tree(self._head.pid) if command_line(pid).startswith(b"ray::Coordinator")
        )
        [coordinator] = coordinators
        os.kill(coordinator, signal.SIGKILL)
        shutil.rmtree(self.state)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """A driver in a process of its own; see :mod:`cluster.kept_objects`."""
        return begin(self.environ, *arguments)

    def drive(self, *arguments: str, code: int = 0) -> dict:
        """What a driver sees, after what it is asked to do."""
        return end(self.begin(*arguments), code)

    def close(self) -> None:
        self._head.close()

    def _start_nodes(self) -> None:
        with ThreadPoolExecutor() as threads:
            self._nodes = list(threads.map(self._start_node, self._regions))

    def _start_node(self, region: str) -> subprocess.Popen[bytes]:
        disk = self._root / f"disk-{region}"
        disk.mkdir(exist_ok=True)
        labels = {"faultset.io/store": "true", "faultset.io/region": region}
        return self._head.add_node(1, labels, FAULTSET_STORE_DIR=str(disk))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def begin(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """A driver in a process of its own; see :mod:`cluster.kept_objects`."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.kept_objects", *arguments],
        env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join((PROJECT, f"{PROJECT}/tests"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], code: int = 0) -> dict:
    """What a driver has printed when it has ended."""
    try:
        out, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == code, errors
    lines = [line for line in out.splitlines() if line.startswith("FOUND ")]
    return json.loads(lines[0].removeprefix("FOUND ")) if lines else {}
