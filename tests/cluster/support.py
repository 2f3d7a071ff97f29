"""What the tests on real Ray share: waiting for a condition, and looking at actors and processes."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import ray
import schemas
from ray._private.state import actors
from waiting import free_port, until

from actors.processes import process_tree

T = TypeVar("T")

PROJECT = str(Path(__file__).parents[2])
"""The checkout, as ``PYTHONPATH`` of driver processes."""
START_TRIES = 4
START_SECONDS = 180.0
"""What a Ray node may take to start on a machine with much else to do."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer."""
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    assert took < seconds, f"took {took:.1f} s, at most {seconds:g} were allowed"


def living_actors(name_begins: str = "") -> dict[str, tuple[int, str]]:
    """Process id and NodeID of the actors that are alive, by name; this process must be connected to Ray."""
    return {
        actor["Name"]: (actor["Pid"], actor["Address"]["NodeID"])
        for actor in actors().values()
        if actor["State"] == "ALIVE" and actor["Name"].startswith(name_begins)
    }


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def command_line(pid: int) -> bytes:
    """What the process was started as, or calls itself."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a process still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def private_store_dirs() -> set[str]:
    """The temporary directories of the stores that this suite's processes started."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("faultset-store-*")}


def dependencies_only(to: Path) -> Path:
    """A virtual environment in which everything that is installed here can be imported, but not the project.

    An editable installation works by a ``.pth`` file, which counts only in a site directory of its own
    interpreter; so it is enough to put the site directory on the path.
    """
    venv.create(to, symlinks=True)
    python = to / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"], check=True, capture_output=True, text=True
    )
    Path(site.stdout.strip(), "dependencies.pth").write_text(f"{Path(ray.__file__).parents[1]}\n")
    found = subprocess.run(
        [python, "-P", "-c", "import numba, ray, sys; import faultset_ray"],
        cwd=to,
        check=False,
        env=bare(),
        capture_output=True,
        text=True,
    )
    assert "No module named 'faultset_ray'" in found.stderr, found.stderr
    return python


def bare(**environ: str) -> dict[str, str]:
    """The environment of a process that knows of no Ray cluster and no code but what is installed."""
    ours = ("RAY_", "PYTHONPATH", "FAULTSET_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | environ


def verb(
    environ: Mapping[str, str], *arguments: object, code: int = 0, data: bytes = b"", cwd: str | Path = PROJECT
) -> subprocess.CompletedProcess[bytes]:
    """Run ``faultset VERB … --json`` as a process of its own, and check its exit code and what it tells.

    It is that of the checkout; elsewhere ``environ`` has to name it in ``PYTHONPATH``.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"jobs.{arguments[0]}", *map(str, arguments[1:]), "--json"],
        cwd=cwd,
        env=bare(**environ),
        input=data,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == code, (done.stdout[-2000:] + done.stderr[-4000:]).decode(errors="replace")
    schemas.checked(arguments, _told(done))
    return done


def result_of(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """What a verb told in the end."""
    return dict(json.loads(_told(done).splitlines()[-1]))


def _told(done: subprocess.CompletedProcess[bytes]) -> bytes:
    """What a verb told; where its stdout is data, that is the last line of stderr."""
    return done.stdout if done.stdout.endswith(b"}\n") else done.stderr.splitlines()[-1]


def leaked(folder: Path, secrets: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Which secrets stand in which files below a directory, and be it within a line of others."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes()
            found += [(path.name, name) for name, secret in secrets.items() if secret in text]
    return found


def token_of_ray() -> dict[str, str]:
    """What a process needs to be let into the cluster that this one may use."""
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}


def _start_of(process: subprocess.Popen[bytes], log: Path) -> str:
    """What came of ``ray start``; empty while it goes on. It gives up after 30 s, which a busy machine may need."""
    if "Ray runtime started" in log.read_text():
        return "started"
    return "" if process.poll() is None else "ended"


class RayHead:
    """``ray start --head`` by another interpreter: own ports, temporary directory and token; a context manager."""

    def __init__(self, python: Path, cpus: int = 2, *, dashboard: bool = True, **environ: str) -> None:
        self._temp_dir = Path(tempfile.mkdtemp(prefix="fsr-", dir="/tmp"))
        token = self._temp_dir / "auth_token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        port, port_of_dashboard = free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{port_of_dashboard}"
        self.token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        state = {"FAULTSET_STATE_DIR": str(self._temp_dir / "state"), "RAY_memory_monitor_refresh_ms": "0"}
        path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        self._environ = bare(**(state | self.token | environ), PATH=path)
        self._python = python
        self._options = {
            "port": port,
            "include-dashboard": str(dashboard).lower(),
            "dashboard-port": port_of_dashboard,
            "ray-client-server-port": free_port(),
            "num-cpus": cpus,
            "temp-dir": self._temp_dir,
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._numbers = itertools.count()
        try:
            self._head = self._start("--head", self._options)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the head."""
        return self._head.pid

    def add_node(
        self, cpus: int = 2, labels: Mapping[str, str] | None = None, **environ: str
    ) -> subprocess.Popen[bytes]:
        """Start one more node of the cluster; several threads may at once."""
        told = {"labels": ",".join(f"{name}={value}" for name, value in labels.items())} if labels else {}
        return self._start(f"--address={self.address}", {"num-cpus": cpus} | told, environ)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """``kill -9`` a node and everything below it."""
        self._kill(node)
        self._processes.remove(node)

    def restart(self) -> None:
        """``kill -9`` the head and everything below it, and start it again as it was."""
        self.kill_head()
        self.start_head()

    def kill_head(self) -> None:
        """``kill -9`` the head and everything below it."""
        self.kill(self._head)

    def start_head(self) -> None:
        """Start the head that was killed, as it was."""
        # nodes on other machines would not hinder the start: this note, and processes that name this address, do
        (self._temp_dir / "ray_current_cluster").unlink(missing_ok=True)
        self._head = self._start("--head", self._options)

    def close(self) -> None:
        """Kill the cluster and everything below it."""
        for process in self._processes:
            self._kill(process)
        shutil.rmtree(self._temp_dir, ignore_errors=True)

    def _start(
        self, role: str, options: Mapping[str, object], environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        common = {
            "node-ip-address": "127.0.0.1",
            "dashboard-agent-listen-port": free_port(),
            "min-worker-port": 0,
            "max-worker-port": 0,
            "object-store-memory": 256 * 1024 * 1024,
        }
        command = [self._python, "-m", "ray.scripts.scripts", "start", role, "--block", "--disable-usage-stats"]
        command += [f"--{name}={value}" for name, value in {**common, **options}.items()]
        for tries_left in reversed(range(START_TRIES)):
            log = self._temp_dir / f"start-{next(self._numbers)}.log"
            with log.open("w") as file:
                process = subprocess.Popen(
                    command,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=self._temp_dir,
                    env={**self._environ, **(environ or {})},
                )
            self._processes.append(process)
            if until(partial(_start_of, process, log), START_SECONDS) == "started":
                return process
            assert tries_left, log.read_text()
            self.kill(process)
        raise AssertionError("a last attempt raises or returns")

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            for pid in process_tree(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
