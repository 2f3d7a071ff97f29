"""Real Ray nodes, workers, drivers, the coordinator and the head are killed while objects are put, read and deleted.

``make soak DURATION=600 SEED=1``. Never more stores are away at a time than each object bears. It ends with 0 only if

* what was acknowledged was there at each read, and at the end, with its bytes;
* what was not is there wholly or not at all;
* in the long run, when all is quiet, no shard is missing or damaged;
* no driver ended but those that were killed, or whose head was.

The seed draws what is killed and for how long, the payloads, and the steps of each driver. What meets what is up to the
machine: on real processes a seed is the same plan, not the same run.

The last line has the figures. ``undecided`` counts writes that nobody was told the end of: what they left was checked
like everything else.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster.support import PROJECT, RayHead, command_line

from actors.processes import process_tree
from soak.ledger import Ledger

KINDS = ("worker", "node", "driver", "coordinator", "head")
AWAY_MAX = 2
"""Stores that every object bears to lose."""
ENVIRON = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}


@dataclass(slots=True)
class Node:
    """A host with a disk of its own; it starts again with it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    back_at: float = 0.0


@dataclass
class Soak:
    """One run.

    Parameters
    ----------
    root
        For disks and journals.
    seconds
        For how long something is killed; each kind is once at least.
    settle
        Whether to wait, at the end, until no write is open, and then to mend and scrub.
    """

    root: Path
    seconds: float
    seed: int
    nodes: int = 6
    drivers: int = 2
    pause: float = 4.0
    settle: bool = True
    kinds: Sequence[str] = KINDS
    kills: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    """Drivers that ended without being killed: none should, whatever else is killed."""

    def run(self) -> tuple[str, bool]:
        """The figures, and whether every check held."""
        self.dice = random.Random(self.seed)
        self.hosts = [Node(number) for number in range(self.nodes)]
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.doomed: set[int] = set()
        begun = time.monotonic()
        with RayHead(Path(sys.executable), cpus=1, dashboard=False, **ENVIRON) as self.head:
            try:
                self._start_nodes(self.hosts)
                self._mind_drivers()
                self._strike_all()
                self._start_nodes([host for host in self.hosts if host.process is None])
                self._end_drivers()
                checked = self._check()
            finally:
                for process in self.workers.values():
                    kill(process)
        counted = self._counted()
        ok = checked and not counted["lost"] and not counted["wrong"] and counted["puts"] > 0 and not self.ended
        return self._line(counted, time.monotonic() - begun, ok), ok

    # -- What is killed

    def _strike_all(self) -> None:
        end = time.monotonic() + self.seconds
        to_come = [*self.kinds]
        self.dice.shuffle(to_come)
        self._wait_for_puts(self.drivers)
        while to_come or time.monotonic() < end:
            kind = to_come[0] if to_come else self.dice.choices(KINDS, (6, 6, 3, 3, 1))[0]
            if getattr(self, f"_kill_{kind}")():
                self.kills[kind] += 1
                to_come = to_come[1:]
                say(f"{kind} killed")
            self._mind_until(time.monotonic() + self.dice.uniform(0.5, 1.5) * self.pause)

    def _kill_worker(self) -> bool:
        """A process of Ray's on a node: a store, or who runs tasks."""
        host = self.dice.choice([host for host in self.hosts if host.process is not None])
        return self._kill_one(host.process.pid, b"ray::")

    def _kill_coordinator(self) -> bool:
        return self._kill_one(self.head.pid, b"ray::Coordinator")

    def _kill_one(self, root: int, title: bytes) -> bool:
        found = []
        for pid in process_tree(root):
            with suppress(OSError):
                if command_line(pid).startswith(title):
                    found.append(pid)
        if found:
            with suppress(ProcessLookupError):
                os.kill(self.dice.choice(found), signal.SIGKILL)
        return bool(found)

    def _kill_node(self) -> bool:
        up = [host for host in self.hosts if host.process is not None]
        if len(self.hosts) - len(up) >= AWAY_MAX:
            return False
        self._down(self.dice.choice(up))
        return True

    def _kill_driver(self) -> bool:
        number = self.dice.randrange(self.drivers)
        self._may_end(number)
        kill(self.workers[number])
        return True

    def _kill_head(self) -> bool:
        """And all that can't do without it: there is nothing but what is on disks.

        A driver may end by itself before it is killed too: Ray ends processes whose head is gone.
        """
        for number in self.workers:
            self._may_end(number)
        self.head.kill_head()
        time.sleep(self.dice.uniform(0.0, 2.0))  # orphans go on for a while
        for host in self.hosts:
            if host.process is not None:
                self._down(host)
        for process in self.workers.values():
            kill(process)
        self.head.start_head()
        self._start_nodes(self.hosts)
        return True

    # -- What starts again

    def _down(self, host: Node) -> None:
        self.head.kill(host.process)
        host.process = None
        host.back_at = time.monotonic() + self.dice.uniform(0.0, 4.0) * self.pause

    def _start_nodes(self, hosts: Sequence[Node]) -> None:
        if hosts:
            with ThreadPoolExecutor(len(hosts)) as threads:
                list(threads.map(self._start_node, hosts))

    def _start_node(self, host: Node) -> None:
        disk = self.root / f"disk-{host.number}"
        disk.mkdir(exist_ok=True)
        labels = {"faultset.io/store": "true", "faultset.io/region": f"r{host.number}"}
        host.process = self.head.add_node(1, labels, FAULTSET_STORE_DIR=str(disk))

    def _mind_until(self, when: float) -> None:
        while True:
            due = [host for host in self.hosts if host.process is None and host.back_at <= time.monotonic()]
            self._start_nodes(due)
            self._mind_drivers()
            if time.monotonic() >= when:
                return
            time.sleep(0.2)

    def _mind_drivers(self) -> None:
        for number in range(self.drivers):
            process = self.workers.get(number)
            if process is None or process.poll() is not None:
                self._may_end(number)
                self.workers[number] = self._hands(f"{number}.log", self.root / f"{number}.journal", "work")

    def _may_end(self, number: int) -> None:
        """A driver is killed, or may go with what is; count it if it has ended by itself before."""
        process = self.workers.get(number)
        if process is None or process.pid in self.doomed:
            return
        self.doomed.add(process.pid)
        if process.poll() is not None:
            self.ended += 1
            say(f"driver {number} ended by itself with {process.returncode}; see {self.root / f'{number}.log'}")

    def _end_drivers(self) -> None:
        self._wait_for_puts(1)
        for number, process in self.workers.items():
            self._may_end(number)
            process.terminate()
        for process in self.workers.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(30.0)
            kill(process)

    # -- What is checked

    def _wait_for_puts(self, count: int) -> None:
        """Nothing is killed before there is something to lose."""
        before, deadline = self._counted()["puts"], time.monotonic() + 180
        while self._counted()["puts"] < before + count:
            assert time.monotonic() < deadline, f"no put came through; logs in {self.root}"
            self._mind_until(time.monotonic() + 1.0)

    def _check(self) -> bool:
        process = self._hands("check.log", self.root, "settle" if self.settle else "check")
        self.workers[-1] = process
        ok = process.wait() == 0
        if not ok:
            say((self.root / "check.log").read_text()[-3000:])
        return ok

    def _counted(self) -> Counter[str]:
        counted: Counter[str] = Counter()
        for path in self.root.glob("*.journal"):
            ledger = Ledger(path, self.seed)
            counted += ledger.counted
            ledger.close()
        return counted

    def _line(self, counted: Counter[str], seconds: float, ok: bool) -> str:
        kills = ",".join(f"{kind}:{self.kills[kind]}" for kind in KINDS)
        figures = " ".join(
            f"{what}={counted[what]}"
            for what in ("puts", "gets", "deletes", "failed", "bytes", "lost", "wrong", "undecided")
        )
        ended = f"ended_by_itself={self.ended}"
        return f"{'ok' if ok else 'FAILED'} seconds={seconds:.0f} seed={self.seed} kills={kills} {figures} {ended}"

    def _hands(self, log: str, *args: object) -> subprocess.Popen[bytes]:
        path = os.pathsep.join((PROJECT, str(Path(PROJECT, "tests"))))
        where, mode = args
        with (self.root / log).open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "soak.hands", str(where), str(self.seed), str(mode)],
                env={**os.environ, **self.head.token, "RAY_ADDRESS": self.head.address, "PYTHONPATH": path},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def kill(process: subprocess.Popen[bytes]) -> None:
    """``kill -9``, its children too."""
    if process.poll() is None:
        for pid in process_tree(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=float, default=600.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1, help="of kills, payloads and steps; a run is not repeated")
    parser.add_argument("--nodes", type=int, default=6)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="faultset-soak-"))
    say(f"disks, journals and logs are in {root}")
    line, ok = Soak(root, options.duration, options.seed, options.nodes).run()
    sys.stdout.write(f"{line}\n")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
