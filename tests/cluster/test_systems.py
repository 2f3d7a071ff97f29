"""Private systems leave nothing behind, however they end; named ones outlive their drivers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from told import told
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from actors.processes import process_tree
from cluster.support import PROJECT, at_most, bare, command_line, is_running, living_actors, private_store_dirs
from faultset_ray.errors import BackendClosed, CoordinatorUnavailable, InputError

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode(cpus=2)]
FLEET = [("a", 52.5, 13.4, 20.0), ("b", 48.9, 2.4, 180.0), ("c", 1.0, 2.0, 5.0)]

BUSY = f"""
import json, os, sys
import faultset_ray as fs
driver = fs.connect(system=os.environ.get("SYSTEM"), region_actors=1)
driver.register({FLEET!r})
shards = driver.encode(b"something" * 1000, "rs:1+1")
ids = driver.survivors(threshold_ms=100.0, partial=False).ids.tolist()
print(json.dumps([driver.system, ids]), flush=True)
sys.stdin.readline()
driver.close()
"""


@pytest.fixture(autouse=True)
def nothing_left(attached) -> Iterator[None]:
    """No servant, no directory of a store: neither before a test nor after it."""
    before = private_store_dirs()
    assert living_actors() == {}
    yield
    until(lambda: not living_actors())
    until(lambda: private_store_dirs() <= before)


@contextmanager
def driver_process(environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """A driver in a process of its own, busy and waiting for a line; its system and the survivors it saw."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
        env={**environ, "PYTHONPATH": PROJECT},
    )
    try:
        while not (line := process.stdout.readline()).startswith("["):
            assert line, "the driver ended early"
        yield process, *json.loads(line)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def attached_environ(attached, **environ: str) -> dict[str, str]:
    return {**os.environ, "RAY_ADDRESS": attached.address, **environ}


def test_a_closed_private_system_leaves_nothing(attached):
    with fs.connect(attached.address, region_actors=1) as driver:
        driver.register(FLEET)
        shards = driver.encode(b"something" * 1000, "rs:1+1")
        assert driver.decode(shards) == b"something" * 1000
        pids = [pid for pid, _ in living_actors().values()]
        assert len(private_store_dirs()) >= 2
        assert {name.partition("/")[0] for name in living_actors()} == {"coordinator", "region", "store"}
    assert not living_actors()
    until(lambda: not any(map(is_running, pids)))
    for use in (lambda: driver.survivors(threshold_ms=1.0), lambda: driver.decode(shards), driver.stores):
        with pytest.raises(BackendClosed):
            use()
    driver.close()


def test_stores_of_an_unlabelled_cluster(attached, caplog):
    """Every place may hold one, and that is said; so is that nothing is durable."""
    with fs.connect(attached.address, region_actors=1) as driver:
        stores = driver.stores()
        assert {store.place for store in stores} == {place.id for place in driver.places()}
        shards = driver.encode(b"x", "rs:2+1")
        assert (shards.survivable, shards.durability) == (0, "none")
    assert caplog.text.count("no place carries the label faultset.io/store=true: all 2 may hold a store") == 1
    assert 'durability "none"' in told(caplog, "stores_fleeting")[0]["reason"]


def test_a_killed_driver_takes_its_private_system_along(attached):
    with driver_process(attached_environ(attached)) as (process, _, ids):
        assert ids == ["a", "c"]
        pids = [pid for pid, _ in living_actors().values()]
        assert len(pids) >= 4
        dirs = private_store_dirs()
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not any(map(is_running, pids)))
        until(lambda: not dirs & private_store_dirs())


@contextmanager
def ray_directory() -> Iterator[str]:
    """A directory for Ray's sessions, near the root: the paths of sockets are bounded."""
    directory = tempfile.mkdtemp(prefix="fsr-", dir="/tmp")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_driver_with_a_ray_of_its_own(how):
    """Ray itself leaves its logs, in a session directory; nothing else is left.

    After a kill, Ray's two agents of a node try for a minute to tell the control service that the node is gone.
    """
    with ray_directory() as directory, driver_process(bare(RAY_TMPDIR=directory)) as (process, _, ids):
        assert ids == ["a", "c"]
        pids = [pid for pid in process_tree(process.pid)[1:] if how == "closed" or b"Agent" not in command_line(pid)]
        assert len(pids) > 5
        dirs = private_store_dirs()
        assert dirs
        if how == "closed":
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(60) == 0
        else:
            os.kill(process.pid, signal.SIGKILL)
        until(lambda: not any(map(is_running, pids)))
        until(lambda: not dirs & private_store_dirs())


def test_a_named_system_outlives_its_drivers(attached):
    with driver_process(attached_environ(attached, SYSTEM="shared")) as (process, system, ids):
        assert (system, ids) == ("shared", ["a", "c"])
        with fs.connect(attached.address, system="shared") as second:
            assert second.survivors(threshold_ms=100.0).ids.tolist() == ids
            assert second.register([("a", 52.5, 13.4, 20.0)]).handles.tolist() == [0]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    servants = living_actors()
    assert {name.partition("/")[0] for name in servants} == {"coordinator", "region", "store"}
    third = fs.connect(attached.address, system="shared")
    assert third.survivors(threshold_ms=100.0, partial=False).ids.tolist() == ids
    third.observe([0], [500.0])
    assert third.survivors(threshold_ms=100.0, partial=False).ids.tolist() == ["c"]
    assert living_actors() == servants, "it uses what was there"
    third.shutdown()
    until(lambda: not any(is_running(pid) for pid, _ in servants.values()))


def test_systems_are_apart(attached):
    with fs.connect(attached.address, region_actors=1) as one, fs.connect(attached.address, region_actors=1) as other:
        one.register(FLEET)
        other.register(FLEET[1:])
        assert len(one.survivors(threshold_ms=1000.0)) == 3
        assert len(other.survivors(threshold_ms=1000.0)) == 2
        shards = one.encode(b"mine", "rs:1+1")
        with pytest.raises(InputError, match="belongs to system"):
            other.decode(shards)


def test_a_lost_coordinator_is_named_at_once(attached):
    """By all that wants its state, which was in memory; regions that a driver knows go on, and tell how old that is."""
    with fs.connect(attached.address, region_actors=1) as driver:
        driver.register(FLEET)
        assert driver.survivors(threshold_ms=100.0).directory_age_ms == 0
        pid, _ = living_actors("coordinator")["coordinator"]
        os.kill(pid, signal.SIGKILL)
        for use in (lambda: driver.register(FLEET), lambda: driver.mark(["a"], "drain"), lambda: driver.stat("x")):
            with at_most(10.0), pytest.raises(CoordinatorUnavailable):
                use()
        answer = driver.survivors(threshold_ms=100.0)
        assert answer.ids.tolist() == ["a", "c"]
        assert answer.directory_age_ms > 0


@pytest.mark.parametrize("name", ["", "private-x", "a b", "x" * 65, 5, "ä/b"])
def test_names_that_can_not_be(attached, name):
    with pytest.raises(InputError):
        fs.connect(attached.address, system=name)


def test_no_file_is_left(scratch):
    """Last: after all of them."""
    assert list(scratch.iterdir()) == []
