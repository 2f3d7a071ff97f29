"""Who was replaced while its process stood still goes on working, and commits nothing a second time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.disks import Hosts, begin, end
from cluster.kept_objects import SYSTEM, insist, payload, show
from cluster.support import living_actors, verb

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}) for name in "abcd"]
GIVEN_UP = {"put.opened", "put.sealed"}
CARRIED_ON = {"put.one_record", "put.recorded"}
"""Points of a put from which on whoever looks after the system commits it."""

REFUSALS = {"stores_lost", "write_aborted", "stale_epoch", "not_enough_places"}  # stores refuse what was given up


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


def stands_still(process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.communicate()
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def go_on(process: subprocess.Popen[str]) -> dict:
    """Let it go on; what came of its put."""
    process.send_signal(signal.SIGCONT)
    return end(process)


def by(found: dict) -> dict[str, int]:
    """Whose bytes each object has: 0 for the first writer."""
    return {name: stat["by"] for name, stat in found["objects"].items()}


def test_of_two_writers_exactly_one_is_the_first_whoever_stood_still(attached):
    state = Path(os.environ["FAULTSET_STATE_DIR"])
    paused: dict[str, subprocess.Popen[str]] = {}
    try:
        with fs.connect(attached.address, system=SYSTEM) as driver, ThreadPoolExecutor(16) as threads:
            driver.put("before", payload("before", 1), code="copy:3")  # all stores are there
            points = sorted(GIVEN_UP | CARRIED_ON)
            expected = {"before": 0} | {point: int(point in GIVEN_UP) for point in points}
            paused = {point: begin({"RAY_ADDRESS": attached.address}, "pause", point, point) for point in points}
            for process in paused.values():
                until(lambda process=process: stands_still(process), 120.0)
            os.kill(living_actors("coordinator")["coordinator"][0], signal.SIGKILL)
            second = insist(driver, *points)
            assert {point for point, won in second.items() if won} == GIVEN_UP
            first = dict(zip(points, threads.map(go_on, paused.values()), strict=True))
            # who hung in the middle of its records may be told of a store that did not answer: the object is there
            assert {"put.recorded"} <= {point for point, found in first.items() if found["won"]} <= CARRIED_ON, first
            assert {found["error"] for found in first.values() if not found["won"]} <= REFUSALS, first
            assert by(show(driver)) == expected
            found = driver.scrub(deep=True)
            assert (found.missing, found.corrupt, found.orphans) == (0, 0, [])
            driver.shutdown()
        shutil.rmtree(state / SYSTEM)
        with fs.connect(attached.address, system=SYSTEM) as driver:
            assert driver.rebuild().objects == 1 + len(points)
            assert by(show(driver)) == expected
            driver.shutdown()
    finally:
        for process in paused.values():
            process.kill()
            process.wait()


def test_a_coordinator_that_stood_still_commits_nothing_after_another_took_over(tmp_path):
    """The head's machine stands still, with a driver on it. Another one takes over its disk, whose lock ran out, and all
    hosts; then the first goes on.
    """
    with ThreadPoolExecutor(4) as threads, Hosts(tmp_path, "abcd") as old:
        paused = []
        try:
            before = old.drive("write")
            paused = [old.begin("pause", point, point) for point in ("put.sealed", "put.recorded")]
            for process in paused:
                until(lambda process=process: stands_still(process), 120.0)
            old.signal_head(signal.SIGSTOP)
            old.kill_nodes()
            (old.state / "lock").unlink()
            with Hosts(tmp_path, "abcd") as new:
                second = new.drive("insist", "put.sealed", "put.recorded")
                old.signal_head(signal.SIGCONT)
                first = dict(zip(second, threads.map(go_on, paused), strict=True))
                assert second == {"put.sealed": True, "put.recorded": False}
                # one has no stores any more; the other wants only to commit, and asks the coordinator that stood still
                assert first["put.sealed"]["error"] in REFUSALS, first
                assert first["put.recorded"]["error"] == "stale_epoch", first
                after = new.drive("show")
                assert by(after) == by(before) | {"put.sealed": 1, "put.recorded": 0}
                new.lose_catalog()
                verb(new.environ, "rebuild")
                assert new.drive("show") == after
        finally:
            for process in paused:
                process.kill()
                process.wait()
