"""The commands of the runbooks, as they stand in the documentation, after what each is for has happened to real nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
from damaging import flip
from runbooks import commands_by_heading
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import result_of, token_of_ray, verb

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def store_in(region: str) -> LocalNode:
    return LocalNode({"faultset.io/store": "true", "faultset.io/region": region})


NODES = [store_in(name) for name in "aabcd"]
SYSTEM = "prod"
PAYLOADS = {name: np.random.default_rng(number).bytes(300_000) for number, name in enumerate(("one", "two", "three"))}


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def driver(attached):
    with fs.connect(attached.address, system=SYSTEM) as connected:
        yield connected


@pytest.fixture
def follow(attached):
    """Run the commands of a runbook, with these exit codes; what each told."""
    runbooks = commands_by_heading()
    environ = token_of_ray() | {
        "RAY_ADDRESS": attached.address,
        "FAULTSET_SYSTEM": SYSTEM,
        "FAULTSET_STATE_DIR": os.environ["FAULTSET_STATE_DIR"],
    }

    def run(heading: str, *codes: int, **words: str) -> list[dict]:
        commands = runbooks[heading]
        assert len(commands) == len(codes)
        found = []
        for command, code in zip(commands, codes, strict=True):
            arguments = [words.get(word, word) for word in command]
            found.append(result_of(verb(environ, *arguments, code=code)))
        return found

    return run


def check(driver: fs.Driver) -> None:
    for name, data in PAYLOADS.items():
        assert driver.get(name) == data
        assert driver.stat(name).health == "healthy"


def place_of(driver: fs.Driver, name: str) -> str:
    """The place of an object's first shard."""
    return driver.stat(name).locations[0][1]


def on(driver: fs.Driver, place: str) -> bool:
    """Whether an object has a shard at a place."""
    return any(place == at for name in PAYLOADS for _, at, _ in driver.stat(name).locations.values())


def drain(address: str, node_id: str) -> None:
    """A notice that a node is called back, in ten minutes."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, "--node-id", node_id]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    subprocess.run([*command, *reason, "--deadline-remaining-seconds", "600"], check=True, timeout=60)


def test_what_the_runbooks_say(attached, driver, follow):
    """One after another, on the same objects."""
    for name, data in PAYLOADS.items():
        driver.put(name, data, code="rs:2+1")
    driver.put("scratch/0001", b"x" * 100_000, code="copy:2")

    regions = {node["NodeID"]: node["Labels"].get("faultset.io/region") for node in ray.nodes()}
    for place in [place for place, region in regions.items() if region == "a"]:
        attached.kill(place)
    for name, data in PAYLOADS.items():
        assert driver.get(name) == data, "placement left enough outside of each region"
    _, status = follow("A region is gone", 0, 0)
    assert status["healthy"] == status["objects"] == 1 + len(PAYLOADS)
    for name in "efg":
        attached.add_node(store_in(name))

    flip(Path(driver.stat("one").locations[0][2]))
    until(lambda: driver.get("one") == PAYLOADS["one"] and driver.stat("one").health == "degraded", 30.0)
    until(lambda: driver.stat("one").health == "healthy", 60.0)  # in the background
    sound = Path(driver.stat("two").locations[0][2]).read_bytes()
    flip(Path(driver.stat("two").locations[0][2]))
    before, repaired, after = follow("Shards are corrupt", 4, 0, 0)
    assert (before["corrupt"], after["corrupt"]) == (1, 0)
    assert repaired["shards"] in (0, 1), "the background may have been there first"
    assert Path(driver.stat("two").locations[0][2]).read_bytes() == sound
    check(driver)

    removed, *scrubs = follow("A store's disk is full", 0, 0, 0)
    assert removed["generations"].keys() == {"scratch/0001"}
    assert [found["orphans"] for found in scrubs] == [[], []]

    called_back = place_of(driver, "one")
    drain(attached.address, called_back)
    until(lambda: not on(driver, called_back), 120.0)
    check(driver)
    [leaving] = [store for store in driver.status().stores if store.row.place == called_back]
    assert (leaving.here, leaving.leaving) == (True, True)

    attached.kill(place_of(driver, "three"))
    repaired, status = follow("A node is gone", 0, 0)
    assert (repaired["objects"] >= 1, status["healthy"]) == (True, len(PAYLOADS))
    check(driver)

    place = place_of(driver, "one")
    [emptied] = follow("A machine is called back", 0, NODE_ID=place)
    assert emptied["objects"] >= 1
    assert not on(driver, place)
    check(driver)

    driver.shutdown()
    state = Path(os.environ["FAULTSET_STATE_DIR"], SYSTEM)
    state.rename(state.with_name("lost"))
    rebuilt, status = follow("The catalog is lost", 0, 0)
    assert (rebuilt["objects"], rebuilt["lost"], status["healthy"]) == (len(PAYLOADS), [], len(PAYLOADS))
