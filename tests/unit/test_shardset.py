"""The handle on an object's shards: a plain value."""

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from faultset_ray.errors import InputError
from faultset_ray.objects.shardset import HeldShard, ShardSet, attach_driver, detach_driver
from faultset_ray.shards.format import Header

HEADER = Header(0, 2, 4, 64, bytes(range(16)), "rs:2+2,matrix=cauchy")


def held(place, durability="fsync"):
    return HeldShard(f"uuid-{place}", f"store/{place}", place, f"region-{place}", durability)


def shardset(places="abcd", **changes):
    shards = {index: held(place) for index, place in enumerate(places)}
    return replace(ShardSet("s", HEADER, 100, "ab" * 32, shards), **changes)


def test_what_it_tells():
    shards = shardset()
    assert (shards.spec, shards.size, shards.write_id) == ("rs:2+2,matrix=cauchy", 100, bytes(range(16)).hex())
    assert shards.locations == {index: (place, f"region-{place}") for index, place in enumerate("abcd")}


@pytest.mark.parametrize(
    ("places", "losses"), [("abcd", 2), ("aabb", 1), ("aaab", 0), ("abc", 1), ("ab", 0), ("a", -1)]
)
def test_survivable(places, losses):
    assert shardset(places).survivable == losses


@pytest.mark.parametrize(("weak", "durability"), [(None, "fsync"), (0, "none"), (3, "none")])
def test_durability_is_that_of_the_weakest(weak, durability):
    shards = dict(shardset().shards)
    if weak is not None:
        shards[weak] = held("abcd"[weak], "none")
    assert shardset(shards=shards).durability == durability


def test_pickled_it_is_the_same_without_its_driver():
    freed = []
    shards = shardset(_free=freed.append)
    again = pickle.loads(pickle.dumps(shards))
    assert again == shards
    assert again.locations == shards.locations
    with pytest.raises(InputError, match="this process has no driver of system 's'"):
        again.free()
    shards.free()
    assert freed == [shards]


def test_unpickled_it_is_freed_by_the_driver_that_was_attached_last():
    freed = []
    again = pickle.loads(pickle.dumps(shardset()))
    first, last = (lambda shards: freed.append("first")), (lambda shards: freed.append("last"))
    for free in (first, last):
        attach_driver("s", free)
        attach_driver("another", first)
    try:
        again.free()
        detach_driver("s", first)
        again.free()
        assert freed == ["last"] * 2
    finally:
        detach_driver("s", last)
        detach_driver("another", first)
    with pytest.raises(InputError):
        again.free()


def test_it_can_stand_in_a_set():
    shards = shardset()
    assert {shards, pickle.loads(pickle.dumps(shards))} == {shards}
    assert len({shards, replace(shards, system="t"), replace(shards, header=replace(HEADER, write_id=bytes(16)))}) == 3


def test_it_does_not_change():
    with pytest.raises(FrozenInstanceError):
        shardset().size = 3
    with pytest.raises(FrozenInstanceError):
        pickle.loads(pickle.dumps(shardset())).size = 3
