"""Who was replaced while its process stood still goes on working, and commits nothing a second time."""

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

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.kept_objects import PAUSED_BYTES, SYSTEM, payload
from cluster.support import PROJECT, living_actors, until
from faultset_ray.errors import PreconditionFailed, WriteInProgress

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}) for name in "abcd"]
GIVEN_UP = {"put.opened", "put.sealed"}
CARRIED_ON = {"put.one_record", "put.recorded"}
"""Points of a put from which on whoever looks after the system commits it."""

REFUSALS = {"stores_lost", "write_aborted", "stale_epoch", "not_enough_places"}  # stores refuse what was given up


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


def begin(cluster, point: str) -> subprocess.Popen[str]:
    """A driver that stands still in the middle of a put."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.kept_objects", "pause", point, point],
        env={
            **os.environ,
            "RAY_ADDRESS": cluster.address,
            "PYTHONPATH": os.pathsep.join((PROJECT, f"{PROJECT}/tests")),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stands_still(process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.communicate()
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def end(process: subprocess.Popen[str]) -> dict:
    """Let it go on; what came of its put."""
    process.send_signal(signal.SIGCONT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    [line] = [line for line in out.splitlines() if line.startswith("FOUND ")]
    return json.loads(line.removeprefix("FOUND "))


def other(name: str) -> bytes:
    """What the second writer puts."""
    return payload(f"second {name}", PAUSED_BYTES)


def put_if_absent(driver: fs.Driver, name: str) -> bool:
    """Whether this driver was the first, once that is settled."""

    def attempt() -> list[bool]:
        try:
            driver.put(name, other(name), code="rs:2+1", if_absent=True)
        except WriteInProgress:
            return []
        except PreconditionFailed:
            return [False]
        return [True]

    return until(attempt, 180.0)[0]


def test_of_two_writers_exactly_one_is_the_first_whoever_stood_still(attached):
    state = Path(os.environ["FAULTSET_STATE_DIR"])
    paused: dict[str, subprocess.Popen[str]] = {}
    try:
        with fs.connect(attached.address, system=SYSTEM) as driver, ThreadPoolExecutor(16) as threads:
            driver.put("before", b"", code="copy:3")  # all stores are there
            points = sorted(GIVEN_UP | CARRIED_ON)
            paused = {point: begin(attached, point) for point in points}
            for process in paused.values():
                until(lambda process=process: stands_still(process), 120.0)
            os.kill(living_actors("coordinator")["coordinator"][0], signal.SIGKILL)
            second = dict(zip(points, threads.map(lambda name: put_if_absent(driver, name), points), strict=True))
            assert {point for point, won in second.items() if won} == GIVEN_UP
            first = dict(zip(points, threads.map(end, paused.values()), strict=True))
            # who hung in the middle of its records may be told of a store that did not answer: the object is there
            assert {"put.recorded"} <= {point for point, found in first.items() if found["won"]} <= CARRIED_ON, first
            assert {found["error"] for found in first.values() if not found["won"]} <= REFUSALS, first
            check(driver, points)
            driver.repair()
            found = driver.scrub(deep=True)
            assert (found.missing, found.corrupt, found.orphans) == (0, 0, [])
            driver.shutdown()
        shutil.rmtree(state / SYSTEM)
        with fs.connect(attached.address, system=SYSTEM) as driver:
            assert driver.rebuild().objects == 1 + len(points)
            check(driver, points)
            driver.shutdown()
    finally:
        for process in paused.values():
            process.kill()
            process.wait()


def check(driver: fs.Driver, points: list[str]) -> None:
    for point in points:
        assert driver.get(point) == (other(point) if point in GIVEN_UP else payload(point, PAUSED_BYTES))
