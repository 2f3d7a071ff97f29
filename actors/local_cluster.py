"""Several Ray nodes on one machine, each a raylet of its own that can be killed for real.

For the drill and the tests. The cluster has its own ports, temp directory and token, so that it
meets no other on the machine, and takes them with it when it is closed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.cluster_utils import Cluster

from actors.attach import IDLE_WORKERS, name_file_for_workers, reread_environment
from actors.processes import process_tree
from faultset_ray.errors import ClusterUnreachable
from faultset_ray.limits import MIB

HEALTH_CHECKS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}
"""Ray declares a killed node dead after about 1 s, a hung one after 3 to 5."""
_SYSTEM_CONFIG = {
    **IDLE_WORKERS,
    **HEALTH_CHECKS,
    "memory_monitor_refresh_ms": 0,
}
"""Ray does not kill workers because other programs fill this machine's memory: whoever is killed here is killed on
purpose."""
_SOCKET_DIR = "/tmp"  # noqa: S108 - a private directory below it; socket paths are bounded to 107 bytes


@dataclass(frozen=True, slots=True)
class LocalNode:
    """What one node of a local cluster is to be."""

    labels: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 1
    object_store_bytes: int = 256 * MIB


def _running(node: Any) -> Iterator[int]:
    """The processes of a Ray node, and theirs."""
    for info in chain.from_iterable(node.all_processes.values()):
        if info.process.poll() is None:
            yield from process_tree(info.process.pid)


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # its parent's end took it along
            os.kill(pid, signal.SIGKILL)


class LocalCluster:
    """A head without work, and labelled nodes; a context manager.

    Parameters
    ----------
    nodes
        One raylet each.
    store_dir
        ``FAULTSET_STORE_DIR`` for the nodes; by default stores are private and temporary.
    dashboard
        Whether the head runs the dashboard (which job submission needs).

    Raises
    ------
    ClusterUnreachable
        Ray did not start: on a very busy machine it takes longer than Ray waits, which is 30 s.
    """

    def __init__(self, nodes: Sequence[LocalNode], *, store_dir: str | None = None, dashboard: bool = False) -> None:
        self._temp_dir = Path(tempfile.mkdtemp(prefix="fsr-", dir=_SOCKET_DIR))
        self._environ = dict(os.environ)
        self._nodes: dict[str, Any] = {}
        self._cluster: Any = None
        self._set_environment(store_dir)
        try:
            self._cluster = Cluster(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 0,
                    "temp_dir": str(self._temp_dir / "ray"),
                    "include_dashboard": dashboard,
                    "object_store_memory": 512 * MIB,
                    "_system_config": dict(_SYSTEM_CONFIG),  # Ray writes into it
                },
            )
            for node in nodes:
                self.add_node(node)
        except Exception as error:  # Ray raises nothing more precise
            self.close()
            raise ClusterUnreachable("this machine", f"Ray did not start: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """``HOST:PORT`` to attach to."""
        return str(self._cluster.address)

    @property
    def node_ids(self) -> list[str]:
        """The NodeIDs of the nodes that were added and not killed, in order."""
        return list(self._nodes)

    def add_node(self, node: LocalNode) -> str:
        """Start one more raylet; returns its NodeID in hex."""
        raylet = self._cluster.add_node(
            wait=False,
            num_cpus=node.cpus,
            labels=dict(node.labels),
            object_store_memory=node.object_store_bytes,
        )
        self._nodes[raylet.node_id] = raylet
        return str(raylet.node_id)

    def processes(self, node_id: str) -> list[int]:
        """The process ids of a node: its raylet, and all below it."""
        [info] = self._nodes[node_id].all_processes["raylet"]
        return process_tree(info.process.pid)

    def kill(self, node_id: str) -> list[int]:
        """``kill -9`` a node's whole process tree, as a machine's loss would; returns the process ids."""
        pids = self.processes(node_id)
        _kill(pids)
        [info] = self._nodes.pop(node_id).all_processes["raylet"]
        info.process.wait()
        return pids

    def close(self) -> None:
        """End every process of the cluster and remove its files."""
        if ray.is_initialized():
            ray.shutdown()
        if self._cluster is not None:
            pids = [pid for node in self._cluster.list_all_nodes() for pid in _running(node)]
            self._cluster.shutdown()
            self._cluster = None
            _kill(pids)  # agents outlive their raylet for a while, and write
        os.environ.clear()
        os.environ.update(self._environ)
        reread_environment()  # before the token is gone, which threads that end may still want
        shutil.rmtree(self._temp_dir, ignore_errors=True)

    def _set_environment(self, store_dir: str | None) -> None:
        token = self._temp_dir / "auth_token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
        # Ray notes a cluster's address where the next ray.init() looks for it, in a directory that it does not make
        (self._temp_dir / "ray").mkdir()
        os.environ["RAY_TMPDIR"] = str(self._temp_dir)
        os.environ["FAULTSET_STATE_DIR"] = str(self._temp_dir / "state")  # named systems end with the cluster
        name_file_for_workers()
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ.pop("RAY_ADDRESS", None)
        if store_dir is None:
            os.environ.pop("FAULTSET_STORE_DIR", None)
        else:
            os.environ["FAULTSET_STORE_DIR"] = store_dir
        reread_environment()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
