"""What a put asks of its stores: insisted on, or less, loudly."""

import asyncio
import logging

import pytest
from told import told

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import CatalogLost, InputError, NotEnoughPlaces

LOOSE = "ldpc:4+2,left_degree=2"


@pytest.fixture
def driver():
    """Of a private system, whose stores end with their processes."""
    places = [Place(f"p{index}", {"faultset.io/region": f"r{index}"}) for index in range(6)]
    with fs.connect(backend=LocalBackend(places, cpus=2)) as driver:
        yield driver


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_stores_that_end_with_their_processes_are_refused_where_more_is_asked_for(driver, size):
    with pytest.raises(NotEnoughPlaces, match='6 stores more have durability "none"') as caught:
        driver.put("a", bytes(size), durability="fsync")
    assert (caught.value.have, caught.value.need) == (0, 6)
    assert driver.list() == []


def test_less_is_told(driver, caplog):
    receipt = driver.put("a", b"x", durability="none")
    assert receipt.durability == "none"
    assert told(caplog, "put_not_durable") == [{"object": "a"}]
    assert driver.put("b", b"x").durability == "none"
    assert len(told(caplog, "put_not_durable")) == 1
    assert 'stores have durability "none"' in told(caplog, "stores_fleeting")[0]["reason"]


def test_nothing_else_can_be_asked_for(driver):
    with pytest.raises(InputError, match="durability is 'disk'"):
        driver.put("a", b"x", durability="disk")


def test_what_may_be_lost_with_any_store_is_told_once_for_a_code(driver, caplog):
    assert driver.put("a", b"x", code=LOOSE).survivable == 0, "such a code promises nothing for certain"
    driver.put("b", b"x", code=LOOSE)
    driver.put("c", b"x")
    fragile = [(each["object"], each["code"]) for each in told(caplog, "put_fragile")]
    assert fragile == [("a", "ldpc:4+2,left_degree=2,seed=1")]


def test_the_first_write_by_which_readers_need_more_stores_is_told(caplog):
    backend = LocalBackend([Place(f"p{index}") for index in range(6)], cpus=2)

    def lowered():
        return [each["tolerate"] for each in told(caplog, "tolerance_lowered")]

    async def scenario():
        one = await AsyncDriver.start(backend, "first")
        await one.put("a", b"x", code="copy:3")
        assert lowered() == []
        for name in "ab":
            await one.put(name, b"x", code="copy:2")
        assert lowered() == [1]
        other = await AsyncDriver.start(backend, "first")
        await other.put("c", b"x", code="copy:2")
        assert lowered() == [1], "it is of the system, not of the driver"
        await other.put("d", b"x", code="copy:2", tolerate=0)
        assert lowered() == [1, 0]
        await one.close()
        await other.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())


class Kept:
    """A named system in this process, whose stores are on a disk."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.setenv("FAULTSET_STORE_DIR", str(folder / "stores"))
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "own"))
        monkeypatch.delenv("FAULTSET_STATE_DIR", raising=False)
        self.own = folder / "own"

    def connect(self, *, lasting=False):
        stores = [Place(f"p{index}", {"faultset.io/store": "true"}) for index in range(6)]
        backend = LocalBackend([Place("head"), *stores], cpus=2)
        backend.lasting = lasting
        return fs.connect(backend=backend, system="kept")

    def put_twice(self, **backend):
        """A put, and another one of the system that comes after."""
        for name in "ab":
            with self.connect(**backend) as driver:
                receipt = driver.put(name, b"x", durability="fsync")
        return receipt


def test_a_system_in_this_process_keeps_its_catalog_where_the_environment_says(tmp_path, monkeypatch):
    kept = Kept(tmp_path, monkeypatch)
    monkeypatch.setenv("FAULTSET_STATE_DIR", str(tmp_path / "state"))
    receipt = kept.put_twice()
    assert (receipt.durability, receipt.catalog) == ("fsync", "fsync")
    with kept.connect() as driver:
        assert [each.name for each in driver.list()] == ["a", "b"]
    assert (tmp_path / "state" / "kept").is_dir()


def test_a_backend_that_lasts_is_asked_and_not_its_name(tmp_path, monkeypatch):
    kept = Kept(tmp_path, monkeypatch)
    assert kept.put_twice(lasting=True).catalog == "fsync"
    assert (kept.own / "faultset-ray" / "kept").is_dir()


def test_a_catalog_in_memory_is_told(tmp_path, monkeypatch, caplog):
    kept = Kept(tmp_path, monkeypatch)
    with kept.connect() as driver:
        for name in "ab":
            receipt = driver.put(name, b"x")
        driver.delete("b")
        assert (receipt.durability, receipt.catalog, driver.undelete("b").catalog) == ("fsync", "memory", "memory")
    assert [each["system"] for each in told(caplog, "catalog_in_memory")] == ["kept"]
    assert not kept.own.exists(), "and nothing is left where nobody said"
    with kept.connect() as driver:
        with pytest.raises(CatalogLost):
            driver.get("a")
        assert driver.rebuild().objects == 2
        assert driver.get("a") == b"x"
