"""Probing in one process: real time, simulated places, and servers on this machine."""

from __future__ import annotations

import socket

import pytest
from waiting import until

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.control.prober import PLACES
from faultset_ray.errors import BackendClosed


@pytest.fixture
def backend():
    return LocalBackend([Place("home"), *(Place(f"p{at}", {"faultset.io/store": "true"}) for at in range(4))], cpus=2)


@pytest.fixture
def driver(backend):
    with fs.connect(backend=backend) as driver:
        yield driver


def survive(driver):
    """The places that survive; a range that loads its roster just now is waited for."""
    return set(until(lambda: (answer := driver.survivors(fleet=PLACES)).whole and answer).ids)


def test_a_place_that_is_killed_is_seen_and_used_no_more(driver, backend):
    shards = driver.encode(b"payload" * 1000, "rs:2+2")
    with driver.probe(every_s=0.05) as probing:
        assert all(finding.reached and finding.latency_ms < 1000 for finding in probing.measured().values())
        until(lambda: survive(driver) == {"home", "p0", "p1", "p2", "p3"})
        until(lambda: {("p1", "p2"), ("p2", "p1"), ("", "p1")} <= probing.round_trips().keys())
        backend.kill("p1")
        until(lambda: survive(driver) == {"home", "p0", "p2", "p3"})
        assert driver.decode(shards) == b"payload" * 1000
        again = driver.encode(b"payload", "rs:1+2")
        assert {held.place for held in again.shards.values()} == {"p0", "p2", "p3"}
        until(lambda: "p1" not in probing.findings)


def test_what_nobody_probes_any_more_counts_no_more(driver, backend):
    with driver.probe(every_s=0.05) as probing:
        probing.measured()
        until(lambda: len(survive(driver)) == 5)
    backend.kill("p0")
    shards = driver.encode(b"x" * 100, "rs:1+2")
    assert driver.decode(shards) == b"x" * 100


def test_servers_on_this_machine(driver):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        nodes = [("up", 0.0, 0.0, float("nan")), ("down", 0.0, 0.0, float("nan"))]
        fleet = driver.register(nodes, 2, fleet="servers")
        targets = {"up": f"tcp://127.0.0.1:{port}", "down": "tcp://127.0.0.1:1"}
        with driver.probe(every_s=0.05, fleet=fleet, targets=targets):
            answer = until(lambda: len(found := driver.survivors(threshold_ms=500.0, fleet="servers")) and found)
            assert answer.ids.tolist() == ["up"]


def test_probing_ends_with_its_driver(backend):
    driver = fs.connect(backend=backend)
    probing = driver.probe()
    probing.measured()
    driver.close()
    probing.stop()
    with pytest.raises(BackendClosed):
        probing.measured()
    with pytest.raises(BackendClosed):
        driver.probe()
