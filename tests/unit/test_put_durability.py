"""What a put asks of its stores: insisted on, or less, loudly."""

import pytest

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.errors import InputError, NotEnoughPlaces


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
    assert "'a' is stored with durability none, as was asked" in caplog.text
    assert driver.put("b", b"x").durability == "none"
    assert "'b'" not in caplog.text
    assert 'stores have durability "none"' in caplog.text


def test_nothing_else_can_be_asked_for(driver):
    with pytest.raises(InputError, match="durability is 'disk'"):
        driver.put("a", b"x", durability="disk")
