"""What is lost for real is seen by our own probing, and how soon; Ray is not asked."""

from __future__ import annotations

import http.server
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import at_most, living_actors
from faultset_ray.control.prober import PLACES
from faultset_ray.limits import READ_SECONDS

pytestmark = pytest.mark.cluster

NODES = [LocalNode({"faultset.io/cell": "u33d", "faultset.io/store": "true"}) for _ in range(4)]
DEAD_WORKER_SECONDS, KILLED_NODE_SECONDS, HUNG_NODE_SECONDS = 0.5, 3.0, 5.0


@pytest.fixture(scope="module")
def driver(attached):
    with fs.connect(attached.address) as driver:
        yield driver


@pytest.fixture(scope="module")
def probing(driver):
    with driver.probe() as probing:
        probing.measured()
        yield probing


@pytest.fixture
def show(capsys):
    def show(text):
        with capsys.disabled():
            sys.stdout.write(f"\n{text} ")

    return show


def survive(driver):
    """The places that survive; a range that loads its roster just now is waited for."""
    return set(until(lambda: (answer := driver.survivors(fleet=PLACES)).whole and answer).ids)


def seconds_until(driver, place, *, survives):
    begun = time.monotonic()
    until(lambda: (place in survive(driver)) == survives)
    return time.monotonic() - begun


@contextmanager
def held_still(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_round_trips_of_every_pair(driver, probing, attached, show):
    places = {place.id for place in driver.places()}
    pairs = {(a, b) for a in places for b in places if a != b} | {("", place) for place in places}
    trips = until(lambda: pairs <= (found := probing.round_trips()).keys() and found)
    between = np.array([trips[pair] for pair in pairs if pair[0]])
    assert (between > 0).all()
    assert np.median(between) < np.median([trips["", place] for place in places]), "packets are quicker than calls"
    show(f"round trips between {len(places)} places: median {np.median(between):.2f} ms")
    answer = until(lambda: len(found := driver.survivors(fleet=PLACES)) == len(places) and found)
    assert set(attached.node_ids) <= set(answer.ids)
    assert len(answer.by_region) == 2, "the head has no label"


def test_a_dead_worker(driver, probing, attached, show):
    place, took = attached.node_ids[0], []
    for _ in range(5):
        assert place in survive(driver)
        pid, _ = living_actors("prober/")[f"prober/{place}"]
        os.kill(pid, signal.SIGKILL)
        took.append(seconds_until(driver, place, survives=False))
        seconds_until(driver, place, survives=True)  # it is replaced
    show(f"dead worker seen after {', '.join(f'{t:.2f}' for t in took)} s")
    assert max(took) <= DEAD_WORKER_SECONDS


def test_a_hung_node(driver, probing, attached, show):
    hung = attached.node_ids[1]
    until(lambda: hung in survive(driver))
    with held_still(attached.processes(hung)):
        took = seconds_until(driver, hung, survives=False)
    back = seconds_until(driver, hung, survives=True)  # it goes on before Ray has declared it dead
    show(f"hung node seen after {took:.2f} s, its return after {back:.2f} s")
    assert took <= HUNG_NODE_SECONDS


def test_servers_of_a_fleet(driver, attached):
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        fleet = driver.register([("web", 0.0, 0.0, np.nan), ("tcp", 0.0, 0.0, np.nan)], 3, fleet="servers")
        targets = {"web": f"http://127.0.0.1:{port}/health", "tcp": f"tcp://127.0.0.1:{port}"}

        def alive():
            return set(driver.survivors(threshold_ms=1000.0, fleet="servers").ids)

        with driver.probe(fleet=fleet, targets=targets):
            until(lambda: alive() == {"web", "tcp"})
            server.shutdown()
            server.socket.close()
            until(lambda: not alive())


def test_reads_and_writes_go_around_a_hung_node(driver, probing, attached):
    """Ray declares it dead meanwhile: it does not come back."""
    payload = np.random.default_rng(1).bytes(300_000)
    until(lambda: set(attached.node_ids) <= survive(driver))
    shards = driver.encode(payload, "rs:2+2", stripe_bytes=20_000)
    for _ in range(2):  # a worker process takes seconds to start, of which this is not about
        assert driver.decode(shards) == payload
    hung = shards.shards[0].place
    with held_still(attached.processes(hung)):
        seconds_until(driver, hung, survives=False)
        with at_most(READ_SECONDS):  # which is what waiting for it would take, each time
            assert driver.decode(shards) == payload
            assert hung not in {held.place for held in driver.encode(payload, "rs:2+1").shards.values()}
        attached.kill(hung)


def test_a_killed_node_and_one_that_joins(driver, probing, attached, show):
    """Last: it takes a node away from the module's cluster."""
    victim = attached.node_ids[-1]
    until(lambda: victim in survive(driver))
    attached.kill(victim)
    took = seconds_until(driver, victim, survives=False)
    joined = attached.add_node(NODES[0])
    until(lambda: joined in survive(driver))
    until(lambda: victim not in probing.findings)
    show(f"killed node seen after {took:.2f} s")
    assert took <= KILLED_NODE_SECONDS
