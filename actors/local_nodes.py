"""Ray nodes on this machine that go on when who started them has ended, and are ended by name.

::

    ~/.local/state/faultset-ray-local/NAME/   0700; XDG_STATE_HOME moves it
      cluster.json      the nodes and their processes
      auth_token        0600
      faultset.toml     names the cluster, the system and the token, for commands
      lock              held while nodes are started or ended
      logs/ state/ stores/

Ray's own directory of sockets and logs is in /tmp, since its paths must be short; it goes with the nodes. Each node is
one ``ray start --block``, which has all others of the node below it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from actors.attach import IDLE_WORKERS, name_file_for_workers
from actors.local_cluster import HEALTH_CHECKS
from actors.processes import Process, end, process, tree_of
from faultset_ray.backend.protocol import LABEL_REGION, LABEL_STORE
from faultset_ray.config.process import at_place
from faultset_ray.errors import ClusterUnreachable, InputError
from faultset_ray.limits import MIB
from faultset_ray.shards.disk import replace_file

_TRIES: Final = 3
_START_SECONDS: Final = 180.0
_END_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.1
_STARTED: Final = "Ray runtime started"
_OBJECT_STORE_BYTES: Final = 256 * MIB
_TEMPORARY: Final = "fsr-"
_SHORT: Final = Path("/tmp")  # noqa: S108 - a private directory below it; socket paths are bounded to 107 bytes


@dataclass(frozen=True, slots=True)
class Node:
    """One Ray node: the process that was started for it, and those below it as they were then."""

    number: int
    """0 for the head; of the others, that of its region."""
    root: Process
    below: tuple[Process, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether the process that was started is there."""
        return self.root.runs


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of one name, as they are written down. The first is the head, which takes no work."""

    name: str
    address: str
    """HOST:PORT of the control service."""
    dashboard: str
    temporary: str
    """Ray's own directory."""
    nodes: tuple[Node, ...]

    @property
    def running(self) -> tuple[Node, ...]:
        """Those that are there; none where the head is gone, as the others are of no use then."""
        return tuple(node for node in self.nodes if node.runs) if self.nodes and self.nodes[0].runs else ()


class LocalNodes:
    """The nodes of a name on this machine; nothing is started before :meth:`start`."""

    def __init__(self, name: str) -> None:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self.name = name
        self.folder = Path(base, "faultset-ray-local", name)
        self.token = self.folder / "auth_token"
        self.config = self.folder / "faultset.toml"
        self._record = self.folder / "cluster.json"

    @property
    def store_dir(self) -> Path:
        """Where stores of the nodes are: as this machine's settings say, else below the folder."""
        return Path(at_place("stores.dir") or self.folder / "stores")

    @property
    def state_dir(self) -> Path:
        """The same of the coordinators' state."""
        return Path(at_place("cluster.state_dir") or self.folder / "state")

    def read(self) -> Nodes | None:
        """What is written down; None where nothing is.

        Raises
        ------
        InputError
            It can't be read.
        """
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            nodes = [
                Node(node["number"], Process(**node["root"]), tuple(Process(**each) for each in node["below"]))
                for node in found.pop("nodes")
            ]
            return Nodes(**found, nodes=tuple(nodes))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self._record} can't be read ({error}); end what it names by hand, and remove it"
            ) from error

    def start(self, count: int, cpus: int) -> Nodes:
        """Have a head and so many nodes run: those that do are left as they are, those that are gone come back.

        Each node is a region of its own, ``local-1`` and so on, and may hold a store.

        Raises
        ------
        InputError
            More run already.
        ClusterUnreachable
            A node did not start; what was started for it is ended.
        """
        with self._locked():
            there = self.read()
            running = there.running if there is not None else ()
            if len(running) - 1 > count:
                raise InputError(
                    f"{self.name} has {len(running) - 1} nodes already; `faultset down {self.name} --local` ends them"
                )
            if there is None or not running:
                if there is not None:
                    self._end(there)
                there = self._head()
            else:
                end([each for node in there.nodes if not node.runs for each in node.below], _END_SECONDS)
                there = replace(there, nodes=running)
            while len(there.nodes) <= count:
                taken = {node.number for node in there.nodes}
                number = next(number for number in range(1, count + len(taken) + 1) if number not in taken)
                labels = f"{LABEL_STORE}=true,{LABEL_REGION}=local-{number}"
                options = {"num-cpus": cpus, "labels": labels}
                there = self._node(there, number, f"--address={there.address}", options)
            self._describe(there)
            return there

    def end(self) -> list[Process]:
        """End every process of the nodes, and what Ray kept in /tmp; stores, state, token stay. Again does nothing."""
        if not self.folder.is_dir():
            return []
        with self._locked():
            there = self.read()
            return [] if there is None else self._end(there)

    # -- Inside

    def _end(self, there: Nodes) -> list[Process]:
        ended = end([each for node in reversed(there.nodes) for each in (node.root, *node.below)], _END_SECONDS)
        temporary = Path(there.temporary)
        if temporary.parent == _SHORT and temporary.name.startswith(_TEMPORARY) and not temporary.is_symlink():
            shutil.rmtree(temporary, ignore_errors=True)
        self._record.unlink()
        self.config.unlink(missing_ok=True)
        return ended

    def _head(self) -> Nodes:
        if not self.token.exists():
            self.token.touch(mode=0o600)
            self.token.write_text(secrets.token_hex(32), encoding="ascii")
        temporary = tempfile.mkdtemp(prefix=_TEMPORARY, dir=_SHORT)
        port, dashboard = free_port(), free_port()
        there = Nodes(self.name, f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", temporary, ())
        options = {
            "num-cpus": 0,
            "port": port,
            "dashboard-host": "127.0.0.1",
            "dashboard-port": dashboard,
            "ray-client-server-port": free_port(),
            "temp-dir": temporary,
            "system-config": json.dumps({**IDLE_WORKERS, **HEALTH_CHECKS}),
        }
        return self._node(there, 0, "--head", options)

    def _node(self, there: Nodes, number: int, role: str, options: Mapping[str, Any]) -> Nodes:
        """One node more; its process is written down before it is waited for."""
        (self.folder / "logs").mkdir(mode=0o700, exist_ok=True)
        for _ in range(_TRIES):  # a port that was free may be taken by now; Ray gives up after 30 s on a busy machine
            log = self.folder / "logs" / f"node-{number}.log"
            with log.open("wb") as file:
                started = subprocess.Popen(  # noqa: S603 - our own interpreter, with arguments made here
                    self._command(role, options),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    env=self._environment(),
                    start_new_session=True,  # Ctrl-C at this terminal is not meant for it
                )
            root = process(started.pid)
            if root is None:
                continue
            grown = replace(there, nodes=(*there.nodes, Node(number, root)))
            self._write(grown)
            try:
                if _is_up(started, log):
                    grown = replace(there, nodes=(*there.nodes, Node(number, root, tuple(tree_of([root])[1:]))))
                    self._write(grown)
                    return grown
            except BaseException:
                self._end(grown)
                raise
            end([root], _END_SECONDS)
            started.wait()
            self._write(there)
        self._end(there)
        told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ClusterUnreachable(
            "this machine", f"Ray did not start, see {log}: {told[-1] if told else 'it says nothing'}"
        )

    def _command(self, role: str, options: Mapping[str, Any]) -> list[str]:
        common = {
            "node-ip-address": "127.0.0.1",
            "dashboard-agent-listen-port": free_port(),
            "min-worker-port": 0,
            "max-worker-port": 0,
            "object-store-memory": _OBJECT_STORE_BYTES,
        }
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", role, "--block", "--disable-usage-stats"]
        return command + [f"--{name}={value}" for name, value in {**common, **options}.items()]

    def _environment(self) -> dict[str, str]:
        """This process's, without what names another cluster."""
        name_file_for_workers()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "FAULTSET_STATE_DIR": str(self.state_dir),
            "FAULTSET_STORE_DIR": str(self.store_dir),
        }

    def _write(self, there: Nodes) -> None:
        body = json.dumps(asdict(there)).encode()
        replace_file(self._record, body, self._record.with_suffix(".new"), durable=False)

    def _describe(self, there: Nodes) -> None:
        text = f"""# made by `faultset up {self.name} --local`, and removed with its nodes
[cluster]
address = {json.dumps(there.address)}
system = {json.dumps(self.name)}

[security]
ray_auth_mode = "token"
ray_token_path = {json.dumps(str(self.token))}
"""
        self.config.write_text(text, encoding="utf-8")

    @contextmanager
    def _locked(self) -> Iterator[Self]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another command starts or ends the nodes of {self.name}; see {self.folder}"
                ) from None
            yield self


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _is_up(started: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait until a node has started; False if it gave up, or takes too long."""
    ends_s = time.monotonic() + _START_SECONDS
    while _STARTED not in log.read_text(encoding="utf-8", errors="replace"):
        if started.poll() is not None or time.monotonic() > ends_s:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
