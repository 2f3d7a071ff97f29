"""The driver in one process: its verbs, its threads, its end."""

import asyncio
import logging
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from told import told

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Addr, At, Place
from faultset_ray.errors import (
    BackendClosed,
    InputError,
    InvalidCodeSpec,
    InvalidGeohashError,
    InvalidNodeError,
    LengthMismatchError,
    LimitExceeded,
    NegativeThresholdError,
    NotEnoughPlaces,
    NotEnoughShards,
    RegionTimeout,
    ShardSizeError,
    StoreFailure,
    StoresLost,
    UnknownFleet,
)
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.pipeline import faultset

NODES = [("a", 52.5, 13.4, 20.0), ("b", 52.5, 13.4, 10.0), ("c", 48.9, 2.4, 180.0), ("d", -33.9, 151.2, 90.0)]


def places(count):
    return [Place(f"p{index}", {"faultset.io/region": f"r{index % 3}"}) for index in range(count)]


@pytest.fixture
def backend():
    return LocalBackend(places(7), cpus=2)


@pytest.fixture
def driver(backend):
    with fs.connect(backend=backend) as driver:
        yield driver


# -- Control plane


def test_survivors_are_those_of_faultset(driver):
    fleet = driver.register(NODES, precision=4)
    assert fleet.handles.tolist() == [0, 1, 2, 3]
    answer = driver.survivors(threshold_ms=100)
    assert answer.ids.tolist() == faultset(NODES, 100, 4) == ["b", "a", "d"]
    assert (answer.whole, len(answer.empty_regions), answer.fleet) == (True, 1, "default")


def test_what_is_observed_counts(driver):
    fleet = driver.register(NODES, precision=4)
    later = driver.survivors(threshold_ms=0).at_ms + 60_000

    def alive():
        return sorted(driver.survivors(threshold_ms=100).ids.tolist())

    assert driver.observe(fleet.handles[2:], [5.0, np.nan], at_ms=later) == 2
    assert alive() == ["a", "b", "c"]
    assert driver.observe(fleet.handles, [500] * 4, at_ms=later - 1) == 2, "older than what is known of c and d"
    assert alive() == ["c"]
    assert driver.observe(fleet.handles, np.zeros(4), ok=[True, False, True, False], at_ms=later + 1) == 4
    assert alive() == ["a", "c"]
    assert driver.observe(fleet.handles[:0], [], at_ms=later + 2) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        (([0, 1], [1.0]), LengthMismatchError, "handles has 2, latency_ms has 1"),
        (([0.0], [1.0]), InputError, r"handles are float64\[1\]"),
        (([[0]], [1.0]), InputError, r"handles are int64\[1, 1\]"),
        (([True], [1.0]), InputError, r"handles are bool\[1\]"),
        (([4], [1.0]), InputError, "handles reach 4; fleet 'default' has 4 nodes"),
        (([-1], [1.0]), InputError, "handles reach"),
        (([0], [-1.0]), InvalidNodeError, "latency_ms is -1.0"),
        (([0], [True]), InvalidNodeError, "latency_ms is True"),
        (([0], ["1"]), InvalidNodeError, "latency_ms is '1'"),
    ],
)
def test_observations_that_can_not_be(driver, arguments, error, why):
    driver.register(NODES)
    with pytest.raises(error, match=why):
        driver.observe(*arguments)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"ok": [1]}, "expected bool"),
        ({"ok": [[True]]}, r"ok is bool\[1, 1\]"),
        ({"ok": [True, True]}, "ok has 2"),
        ({"at_ms": 1.5}, "at_ms is 1.5"),
        ({"at_ms": True}, "at_ms is True"),
        ({"at_ms": -1}, "at_ms is -1"),
        ({"at_ms": 1 << 63}, "at_ms is 9223372036854775808"),
        ({"at_ms": 1 << 62}, "ahead of this driver's clock"),
        ({"fleet": "none"}, "no fleet 'none' is registered"),
    ],
)
def test_options_of_observations_that_can_not_be(driver, options, why):
    driver.register(NODES)
    with pytest.raises(InputError, match=why):
        driver.observe([0], [500.0], **options)
    assert "a" in driver.survivors(threshold_ms=100).ids


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"threshold_ms": np.nan}, NegativeThresholdError),
        ({"threshold_ms": -1}, NegativeThresholdError),
        ({"threshold_ms": True}, InputError),
        ({"threshold_ms": "5"}, InputError),
        ({"threshold_ms": 5, "fleet": "none"}, UnknownFleet),
        ({"threshold_ms": 5, "deadline_s": 0}, InputError),
        ({"threshold_ms": 5, "deadline_s": np.nan}, InputError),
        ({"threshold_ms": 5, "deadline_s": "1"}, InputError),
    ],
)
def test_questions_that_can_not_be(driver, options, error):
    driver.register(NODES)
    with pytest.raises(error):
        driver.survivors(**options)


def test_a_refused_registration_changes_nothing(driver):
    driver.register(NODES, precision=4)
    before = driver.survivors(threshold_ms=1000)
    for nodes, precision, error in [
        ([("e", 91, 0, 1)], 4, InvalidNodeError),
        ([("e", 1, 0, 1)], 5, InputError),
        ([("e", 1, 0, 1)], 0, InvalidGeohashError),
        ([], 4, InputError),
        ("nowhere.csv", 4, FileNotFoundError),
    ]:
        with pytest.raises(error):
            driver.register(nodes, precision)
    after = driver.survivors(threshold_ms=1000)
    assert after.ids.tolist() == before.ids.tolist()
    assert after.versions == before.versions


def hold_restorations(driver, patch):
    """What is lost stays lost for now."""
    patch.setattr(driver._core._keeper, "restore", lambda *_args, **_options: None)


def test_regions_that_are_lost_are_named_and_come_back(backend):
    with fs.connect(backend=backend, region_actors=4) as driver:
        driver.register(NODES, precision=4)
        with pytest.MonkeyPatch.context() as patch:
            hold_restorations(driver, patch)
            backend.kill("p1")
            answer = driver.survivors(threshold_ms=100)
        region_of = {node_id: fs.geohash.encode(lat, lon, 4) for node_id, lat, lon, _ in NODES}
        assert len(answer.missing_regions) == 1
        assert set(answer.missing_regions) < set(region_of.values())
        assert answer.ids.tolist() == [node for node in "bad" if region_of[node] not in answer.missing_regions]
        driver.survivors(threshold_ms=100)
        driver._loop.run(driver._core._keeper.settle())
        assert driver.survivors(threshold_ms=100, partial=False).ids.tolist() == ["b", "a", "d"]


def test_a_whole_answer_or_none(backend, monkeypatch):
    with fs.connect(backend=backend, region_actors=4) as driver:
        driver.register(NODES, precision=4)
        hold_restorations(driver, monkeypatch)
        for place in [f"p{index}" for index in range(1, 7)]:
            backend.kill(place)
        with pytest.raises(RegionTimeout):
            driver.survivors(threshold_ms=100, partial=False)


# -- Data plane


@pytest.mark.parametrize("size", [0, 1, 1000, 40_001])
@pytest.mark.parametrize("code", ["rs:4+3", "rs:1+1", "rs:2+9"])
def test_round_trips(driver, tmp_path, size, code):
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "in").write_bytes(content)
    buffer = bytearray(size)
    for data in (content, tmp_path / "in"):
        shards = driver.encode(data, code, stripe_bytes=8192)
        assert shards.size == size
        assert driver.decode(shards) == content
        assert driver.decode(shards, tmp_path / "out") is None
        assert driver.decode(shards, buffer) is None
        assert (tmp_path / "out").read_bytes() == buffer == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_arrays_come_back_into_arrays(driver):
    data = np.random.default_rng(1).normal(size=(50, 40))
    shards = driver.encode(data, "rs:4+3")
    out = np.empty_like(data)
    driver.decode(shards, out)
    assert (out == data).all()
    with pytest.raises(ShardSizeError):
        driver.decode(shards, np.empty(3))


def test_losses_are_borne_as_promised(backend, driver):
    content = os.urandom(100_000)
    shards = driver.encode(content, "rs:4+3", stripe_bytes=30_000)
    assert shards.survivable == 3
    place_of = {index: place for index, (place, _) in shards.locations.items()}
    for index in (0, 3, 5):
        backend.kill(place_of[index])
        assert driver.decode(shards) == content
    backend.kill(place_of[1])
    with pytest.raises(NotEnoughShards) as caught:
        driver.decode(shards)
    assert caught.value.missing == dict.fromkeys([0, 1, 3, 5], "unreachable")
    assert (caught.value.have, caught.value.need) == (3, 4)


def shard_files(driver):
    """Of all stores, sealed or not."""
    return [path for store in driver.stores() for path in Path(store.path).rglob("*.shard")]


def test_freed_shards_are_gone(driver):
    shards, kept = driver.encode(b"x" * 1000, "rs:4+3"), driver.encode(b"y" * 1000, "rs:2+1")
    assert len(shard_files(driver)) == 10
    pickle.loads(pickle.dumps(shards)).free()
    assert len(shard_files(driver)) == 3
    shards.free()
    with pytest.raises(NotEnoughShards) as caught:
        driver.decode(shards)
    assert caught.value.missing == dict.fromkeys(range(7), "missing")
    assert driver.decode(kept) == b"y" * 1000


class Restarting(LocalBackend):
    """Stores p1 and p4 are started anew, empty, just before they seal for the first time."""

    def __init__(self):
        super().__init__(places(7), cpus=2)
        self.restarts = []
        self.to_restart = {"store/p1", "store/p4"}

    async def call(self, to, method, /, *args, **kwargs):
        if method.__name__ == "seal" and to.name in self.to_restart:
            self.to_restart.remove(to.name)
            place = to.name.removeprefix("store/")
            await self.stop(to)
            await self.spawn(PlaceStore, to.name, place, "r", "s", self.token(16), True, at=At(place=place))
            self.restarts.append(to.name)
        return await super().call(to, method, *args, **kwargs)


def test_a_write_begins_anew_when_a_store_came_back_empty(caplog):
    backend = Restarting()
    with fs.connect(backend=backend) as driver:
        content = os.urandom(50_000)
        with caplog.at_level(logging.WARNING):
            shards = driver.encode(content, "rs:3+2", stripe_bytes=9_000)
        assert backend.restarts, "they are one region, which holds some of the five"
        assert told(caplog, "encoded_again")
        assert driver.decode(shards) == content
        assert len(shard_files(driver)) == 5, "nothing is left of the first attempt"
        assert shards.survivable == 2


def test_a_write_that_no_store_takes_leaves_nothing():
    class Full(LocalBackend):
        async def call(self, to, method, /, *args, **kwargs):
            if method.__name__ == "seal":
                raise StoreFailure("uuid", "seal a shard", "ENOSPC")
            return await super().call(to, method, *args, **kwargs)

    with fs.connect(backend=Full(places(9), cpus=2)) as driver:
        with pytest.raises((StoresLost, NotEnoughPlaces)):
            driver.encode(b"x" * 10_000, "rs:2+1")
        assert shard_files(driver) == []


@pytest.mark.parametrize(
    ("data", "code", "options", "error"),
    [
        (b"x", "rs:0+1", {}, InvalidCodeSpec),
        (b"x", "rs:4+3", {"stripe_bytes": 0}, InputError),
        (b"x", "rs:4+3", {"stripe_bytes": 1 << 30}, LimitExceeded),
        (5, "rs:4+3", {}, InputError),
        ("/nowhere/file", "rs:4+3", {}, InputError),
    ],
)
def test_what_can_not_be_encoded_starts_no_store(backend, driver, data, code, options, error):
    with pytest.raises(error):
        driver.encode(data, code, **options)
    assert not [name for name in backend._hosted if name.startswith("store/")]


def test_shards_of_another_system_are_refused(driver):
    with fs.connect(backend="local") as other:
        shards = other.encode(b"x", "rs:1+1")
        with pytest.raises(InputError, match="belongs to system"):
            driver.decode(shards)
        with pytest.raises(InputError, match="belongs to system"):
            driver.free(shards)
        assert other.decode(shards) == b"x"


# -- Threads, and the end


def test_many_threads_share_a_driver(driver):
    dice = np.random.default_rng(3)
    fleet = driver.register(
        {"id": [f"n{i}" for i in range(500)], "lat": dice.uniform(-80, 80, 500), "lon": dice.uniform(-170, 170, 500), "latency": dice.uniform(0, 200, 500)},
        precision=2,
    )  # fmt: skip
    expected = faultset(fleet, 100.0, 2)

    def one(number):
        content = bytes([number]) * (number * 997)
        shards = driver.encode(content, "rs:2+1", stripe_bytes=4096)
        driver.observe(fleet.handles, fleet.latency_ms)
        driver.register([(f"own-{number}", 0, 0, 1.0)], precision=2, fleet=f"own-{number % 3}")
        return driver.survivors(threshold_ms=100.0).ids.tolist() == expected and driver.decode(shards) == content

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(24))) == [True] * 24
    own = [driver.survivors(threshold_ms=2, fleet=f"own-{name}").ids for name in range(3)]
    assert sorted(np.concatenate(own)) == sorted(f"own-{number}" for number in range(24))


VERBS = {
    "register": lambda driver, shards: driver.register(NODES),
    "observe": lambda driver, shards: driver.observe([0], [1.0]),
    "survivors": lambda driver, shards: driver.survivors(threshold_ms=5),
    "encode": lambda driver, shards: driver.encode(b"x", "rs:1+1"),
    "decode": lambda driver, shards: driver.decode(shards),
    "free": lambda driver, shards: driver.free(shards),
    "places": lambda driver, shards: driver.places(),
    "stores": lambda driver, shards: driver.stores(),
    "shutdown": lambda driver, shards: driver.shutdown(),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("payload", [b"x", b""])
def test_a_closed_driver_says_so(verb, payload):
    with fs.connect(backend="local") as driver:
        driver.register(NODES)
        shards = driver.encode(payload, "rs:1+1")
    with pytest.raises(BackendClosed):
        VERBS[verb](driver, shards)
    driver.close()
    assert driver.system.startswith("private-")


@pytest.mark.parametrize("verb", VERBS)
def test_a_closed_asynchronous_driver_says_so(verb):
    async def main():
        async with await fs.connect_async(backend="local") as driver:
            await driver.register(NODES)
            shards = await driver.encode(b"x", "rs:1+1")
        with pytest.raises(BackendClosed):
            await VERBS[verb](driver, shards)
        await driver.close()

    asyncio.run(main())


def test_closing_removes_the_stores(driver):
    driver.encode(b"x", "rs:1+1")
    paths = [store.path for store in driver.stores()]
    assert all(map(os.path.exists, paths))
    driver.close()
    assert not any(map(os.path.exists, paths))


class Hanging(LocalBackend):
    """Asked for places, it never answers."""

    def __init__(self, when_asked):
        super().__init__(cpus=2)
        self.asked = threading.Event()
        self.cancelled = threading.Event()
        self.when_asked = when_asked

    async def places(self):
        self.asked.set()
        self.when_asked()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            self.cancelled.set()


def test_closing_ends_what_other_threads_wait_for():
    backend = Hanging(lambda: None)
    driver = fs.connect(backend=backend)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(driver.places) for _ in range(3)]
        assert backend.asked.wait(10)
        driver.close()
        for future in waiting:
            with pytest.raises(BackendClosed):
                future.result(10)


def test_several_threads_may_close(driver):
    driver.register(NODES)
    with ThreadPoolExecutor(4) as pool:
        assert [future.result(10) for future in [pool.submit(driver.close) for _ in range(4)]] == [None] * 4


def test_an_interrupt_ends_the_call_and_not_the_driver(interruptible):
    main = threading.get_ident()

    def interrupt():
        while sys._current_frames()[main].f_code.co_name != "wait":
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    backend = Hanging(interrupt)
    with fs.connect(backend=backend, region_actors=2) as driver:
        with pytest.raises(KeyboardInterrupt):
            driver.places()
        assert backend.cancelled.is_set(), "it has tidied up"
        driver.register(NODES)
        assert len(driver.survivors(threshold_ms=1000)) == 4


# -- Connecting


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"backend": "cloud"}, "backend is 'cloud'"),
        ({"backend": "local", "system": "prod"}, "a named system outlives its drivers"),
        ({"backend": "local", "address": "host:1"}, "has no address"),
        ({"backend": "local", "region_actors": 0}, "region_actors is 0"),
        ({"backend": "local", "region_actors": True}, "region_actors is True"),
        ({"backend": "local", "region_actors": 2.5}, "region_actors is 2.5"),
        ({"backend": "local", "region_actors": "4"}, "region_actors is '4'"),
        *(
            ({"backend": "local", "system": name}, "system is")
            for name in ("", "a" * 65, "a b", "a/b", "a\n", 7, "private-1", "à")
        ),
    ],
)
def test_connections_that_can_not_be(arguments, why):
    with pytest.raises(InputError, match=why):
        fs.connect(**arguments)
    with pytest.raises(InputError, match=why):
        asyncio.run(fs.connect_async(**arguments))


def test_a_connection_that_fails_leaves_no_thread():
    class Refusing(LocalBackend):
        async def spawn(self, *args, **kwargs):
            raise InputError("no")

    backend = Refusing(cpus=1)
    before = threading.active_count()
    with pytest.raises(InputError, match="no"):
        fs.connect(backend=backend)
    assert threading.active_count() <= before
    with pytest.raises(BackendClosed):
        asyncio.run(backend.places())


def test_a_backend_object_is_used_as_it_is(backend):
    with fs.connect(backend=backend, system="named") as driver:
        assert driver.system == "named"
        assert len(driver.places()) == 7
        assert asyncio.run(backend.find(object, "coordinator")) == Addr("coordinator")
