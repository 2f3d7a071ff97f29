"""Objects over stores on real Ray nodes: where shards go, what damage and killed nodes do, what is left behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from damaging import flip
from told import told
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import PROJECT, at_most, living_actors, stopped
from faultset_ray.errors import NotEnoughShards, ShardSizeError, StoresLost
from faultset_ray.limits import KIB, MIB, STORE_INFO_SECONDS
from faultset_ray.objects.shardset import ShardSet

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

REGIONS = ("north", "north", "south", "south", "west", "west", "east")
NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}) for name in REGIONS]
SYSTEM = "data"


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def driver(attached):
    with fs.connect(attached.address, system=SYSTEM) as driver:
        yield driver
        driver.shutdown()


def payload(nbytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(nbytes)


def files(store_root, shards: ShardSet | None = None):
    """Every file that holds shard bytes, sealed or not; of one write by index."""
    found = sorted(store_root.glob("*/*/shards/*/*.shard")) + sorted(store_root.glob("*/*/tmp/*"))
    if shards is None:
        return found
    return {int(path.name.split(".")[1]): path for path in found if path.name.startswith(shards.write_id)}


def store_pids() -> dict[str, int]:
    return {name.split("/")[1]: pid for name, (pid, _) in living_actors("store/").items()}


def test_each_shard_has_a_node_of_its_own(driver, attached, store_root):
    data = payload(700_001)
    shards = driver.encode(data, "rs:4+3")
    assert {place for place, _ in shards.locations.values()} == set(attached.node_ids)
    assert shards.survivable == 3
    assert shards.durability == "fsync"
    assert sorted(files(store_root, shards)) == list(range(7))
    assert len({path.parents[2] for path in files(store_root, shards).values()}) == 7
    shards.free()
    assert not files(store_root)


def test_regions_are_dealt_to_in_turn(driver, attached):
    region_of = dict(zip(attached.node_ids, REGIONS, strict=True))
    for code, most in (("rs:2+2", 1), ("rs:3+3", 2)):
        shards = driver.encode(b"spread", code)
        assert all(region_of[place] == region for place, region in shards.locations.values())
        assert len({place for place, _ in shards.locations.values()}) == shards.header.n
        assert max(Counter(region for _, region in shards.locations.values()).values()) == most
        shards.free()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x", id="one byte"),
        pytest.param(payload(3 * 64 * KIB + 17), id="several stripes"),
        pytest.param(np.random.default_rng(1).normal(size=(300, 101)), id="array"),
        pytest.param(np.random.default_rng(1).normal(size=(300, 101)).astype(">f4"), id="big-endian array"),
    ],
)
def test_objects_come_back(driver, store_root, tmp_path, data):
    raw = data.tobytes() if isinstance(data, np.ndarray) else data
    shards = driver.encode(data, "rs:3+2", stripe_bytes=64 * KIB)
    assert shards.size == len(raw)
    assert driver.decode(shards) == raw
    out = tmp_path / "out"
    assert driver.decode(shards, out) is None
    assert out.read_bytes() == raw
    buffer = bytearray(len(raw))
    driver.decode(shards, buffer)
    assert buffer == raw
    shards.free()
    assert not files(store_root)
    if raw:  # nothing needs no shards
        with pytest.raises(NotEnoughShards) as caught:
            driver.decode(shards, out)
        assert set(caught.value.missing.values()) == {"missing"}
    assert out.read_bytes() == raw, "a failed decode leaves the file as it was"


def test_paths_and_buffers(driver, tmp_path):
    source, out = tmp_path / "in.bin", tmp_path / "out.bin"
    source.write_bytes(payload(2 * MIB + 5, seed=3))
    shards = driver.encode(source, "rs:4+1", stripe_bytes=MIB)
    array = np.zeros(shards.size, np.uint8)
    driver.decode(shards, array)
    assert array.tobytes() == source.read_bytes()
    driver.decode(shards, str(out))
    assert out.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.bin", "out.bin"]
    with pytest.raises(ShardSizeError):
        driver.decode(shards, np.zeros(shards.size - 1, np.uint8))
    shards.free()


def test_damage_on_disk_is_read_around(driver, store_root, caplog):
    data = payload(512 * KIB, seed=4)
    shards = driver.encode(data, "rs:3+2", stripe_bytes=96 * KIB)
    paths = files(store_root, shards)
    flip(paths[0], 5_000)
    flip(paths[2], 140_000)
    assert driver.decode(shards) == data
    assert driver.decode(shards, bytearray(len(data))) is None
    flip(paths[1], 6_000)
    flip(paths[4], 7_000)
    with pytest.raises(NotEnoughShards) as caught:
        driver.decode(shards)
    assert set(caught.value.missing) == {0, 1, 4}, "of stripe 0 only 2 and 3 are left"
    assert all(why.startswith("corrupt") for why in caught.value.missing.values())
    shards.free()


def test_more_shards_than_nodes(driver, caplog):
    shards = driver.encode(b"crowded" * 1000, "rs:10+4")
    held = Counter(place for place, _ in shards.locations.values())
    assert len(held) == 7
    assert set(held.values()) == {2}
    assert shards.survivable == 2
    [few] = told(caplog, "places_few")
    assert (few["places"], few["survivable"], few["tolerate"]) == (7, 2, 4)
    shards.free()


def test_another_process_decodes_a_pickled_handle(driver, attached, tmp_path):
    data = payload(300_000, seed=5)
    shards = driver.encode(data, "rs:4+3")
    (tmp_path / "handle").write_bytes(pickle.dumps(shards))
    script = (
        "import pickle, pathlib, sys, faultset_ray as fs\n"
        "shards = pickle.loads(pathlib.Path('handle').read_bytes())\n"
        f"with fs.connect({attached.address!r}, system={SYSTEM!r}) as driver:\n"
        "    driver.decode(shards, 'out')\n"
        "    driver.free(shards)\n"
    )
    env = {**os.environ, "PYTHONPATH": PROJECT}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, check=True, timeout=120)
    assert (tmp_path / "out").read_bytes() == data
    with pytest.raises(NotEnoughShards):
        driver.decode(shards)


def test_stores_find_their_shards_after_a_restart(driver, store_root):
    data = payload(400_000, seed=6)
    shards = driver.encode(data, "rs:4+3")
    before = store_pids()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not set(store_pids().values()) & set(before.values()))
    assert driver.decode(shards) == data
    assert {info.uuid for info in driver.stores()} == {held.store for held in shards.shards.values()}
    assert set(store_pids()) == set(before)
    driver.free(shards)
    assert not files(store_root)


def test_a_store_that_hangs_is_left_out_in_seconds(driver):
    data = payload(400_000, seed=9)
    place, pid = next(iter(store_pids().items()))
    with stopped(pid):
        with at_most(4 * STORE_INFO_SECONDS):
            shards = driver.encode(data, "rs:4+2")
        assert place not in {where for where, _ in shards.locations.values()}
        with at_most(2 * STORE_INFO_SECONDS):
            assert driver.decode(shards) == data
    with at_most(2 * STORE_INFO_SECONDS):
        driver.free(shards)


def test_a_node_lost_during_an_encode(driver, attached, store_root):
    """The write goes elsewhere, or fails as a whole; nothing of the attempt is left on the other stores."""
    data = payload(24 * MIB, seed=7)
    place_of = {info.uuid: info.place for info in driver.stores()}
    ended: list[object] = []

    def encode():
        try:
            ended.append(driver.encode(data, "rs:4+2", stripe_bytes=256 * KIB))
        except fs.FaultsetError as error:
            ended.append(error)

    thread = threading.Thread(target=encode)
    thread.start()
    begun = until(lambda: sorted(store_root.glob("*/*/tmp/*.shard")))
    uuid = begun[0].parents[1].name
    victim = place_of[uuid]
    attached.kill(victim)
    assert not ended, "the encode was over before the node was killed: make the payload bigger"
    thread.join()
    [result] = ended
    left = [path for path in files(store_root) if path.parents[1].name != uuid and path.parents[2].name != uuid]
    if not isinstance(result, ShardSet):
        assert isinstance(result, StoresLost)
        assert not left
        return
    assert victim not in {place for place, _ in result.locations.values()}
    assert sorted(left) == sorted(files(store_root, result).values())
    assert result.survivable == 2
    assert driver.decode(result) == data
    result.free()


def test_killed_nodes(driver, attached):
    """Last: three of seven nodes are killed, then a fourth."""
    attached.add_node(NODES[0])  # in place of the one that the test above killed
    until(lambda: len(driver.stores()) == 7)
    data = payload(5 * MIB, seed=8)
    shards = driver.encode(data, "rs:4+3", stripe_bytes=MIB)
    held_at = {place: index for index, (place, _) in shards.locations.items()}
    first = sorted(attached.node_ids, key=held_at.__getitem__)[:3]
    for node_id in first:
        attached.kill(node_id)
    assert driver.decode(shards) == data, "three data shards are gone"
    fourth = next(iter(attached.node_ids))
    attached.kill(fourth)
    with pytest.raises(NotEnoughShards) as caught:
        driver.decode(shards)
    assert (caught.value.have, caught.value.need) == (3, 4)
    assert set(caught.value.missing) == {held_at[node_id] for node_id in [*first, fourth]}
    assert set(caught.value.missing.values()) <= {"unreachable", "missing", "late"}
    again = driver.encode(data, "rs:2+1")
    assert {place for place, _ in again.locations.values()} == set(attached.node_ids)
    assert driver.decode(again) == data
