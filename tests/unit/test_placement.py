"""Which store gets which shard, and how many losses that bears."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.objects.placement import place, place_shards, read_order, survivable
from faultset_ray.objects.store import StoreInfo

region_sizes = st.lists(st.integers(1, 4), min_size=1, max_size=5)
turns = st.integers(0, 2**32 - 1)


def stores_of(sizes):
    return [
        StoreInfo(f"uuid-{region}-{number}", f"p{number}-{region}", f"r{region}", "none", "/", 0)
        for region, size in enumerate(sizes)
        for number in range(size)
    ]


@given(region_sizes, st.integers(1, 30), turns, st.randoms())
def test_shards_lie_apart(sizes, n, turn, dice):
    stores = stores_of(sizes)
    placed = place_shards(n, stores, turn)
    assert len(placed) == n
    shards = Counter(store.uuid for store in placed)
    assert len(shards) == min(n, len(stores))
    assert max(shards.values()) - min(shards[store.uuid] for store in stores) <= 1
    for first in range(1, n + 1):
        check_regions(placed[:first], sizes)
    dice.shuffle(stores)
    assert place_shards(n, stores, turn) == placed, "the order of the stores does not count"


def check_regions(placed, sizes):
    """No region holds two shards more than one that has a store to spare."""
    stores = {f"r{region}": size for region, size in enumerate(sizes)}
    shards = Counter(store.region for store in placed)
    if len(placed) <= sum(sizes):
        spare = [region for region in stores if shards[region] < stores[region]]
        assert all(shards[full] <= shards[region] + 1 for region in spare for full in stores)


@settings(deadline=None)
@given(region_sizes, st.integers(1, 20))
def test_many_writes_lie_evenly_on_the_stores_of_a_region(sizes, n):
    load = Counter()
    for turn in range(len(sizes) * math.lcm(*sizes)):
        load.update(store.uuid for store in place_shards(n, stores_of(sizes), turn))
    for region, size in enumerate(sizes):
        assert len({load[f"uuid-{region}-{number}"] for number in range(size)}) == 1


def test_no_store():
    with pytest.raises(NotEnoughPlaces) as caught:
        place_shards(3, [])
    assert (caught.value.have, caught.value.need) == (0, 1)


@given(st.lists(st.sampled_from("abcde"), max_size=9), st.integers(1, 9))
def test_survivable_against_every_loss(stores, k):
    def bears(losses):
        return all(
            sum(store not in lost for store in stores) >= k
            for lost in itertools.combinations(set(stores), min(losses, len(set(stores))))
        )

    bearable = [losses for losses in range(len(set(stores)) + 1) if bears(losses)]
    assert survivable(stores, len(stores) - k) == (max(bearable) if bearable else -1)


class Answer:
    """Survivors by region, the nearest first: what placement looks at."""

    def __init__(self, **by_region):
        self.by_region = by_region
        self.ids = [place for ids in by_region.values() for place in ids]


@given(region_sizes, st.integers(1, 30), turns, st.data())
def test_only_places_that_survive_get_shards_unless_none_does(sizes, n, turn, data):
    stores = stores_of(sizes)
    alive = data.draw(st.sets(st.sampled_from([store.place for store in stores])))
    placed = place(n, stores, Answer(u33d=sorted(alive), gcpv=["elsewhere"]), turn)
    good = [store for store in stores if store.place in alive] or stores
    assert placed == place_shards(n, good, turn)
    assert place(n, stores, None, turn) == place_shards(n, stores, turn)


BERLIN, PARIS, LONDON, SYDNEY = "u33d", "u09t", "gcpv", "r3gx"


def test_a_reader_asks_its_own_place_then_its_region_then_by_distance():
    answer = Answer(**{SYDNEY: ["s"], LONDON: ["l1", "l2"], BERLIN: ["b1", "b2", "b3"], PARIS: ["p"]})
    shards = dict(enumerate(["s", "l2", "l1", "b3", "b2", "b1", "p", "gone", "b2"]))

    def order(reader):
        cost = read_order(shards, answer, reader)
        assert cost.keys() == shards.keys()
        assert cost.pop(7) == math.inf
        assert cost[4] == cost[8], "two shards of one place"
        assert min(cost.values()) > 0
        return list(dict.fromkeys(shards[index] for index in sorted(cost, key=lambda index: cost[index])))

    assert order("b2") == ["b2", "b1", "b3", "p", "l1", "l2", "s"]
    assert order("l1") == ["l1", "l2", "p", "b1", "b2", "b3", "s"]
    assert order("gone") == order(None) == ["s", "l1", "l2", "b1", "b2", "b3", "p"], "as the answer has it"
    assert len(set(read_order(shards, None, "b2").values())) == 1


def test_distance_goes_over_the_antimeridian_and_the_poles():
    fiji, samoa, nairobi = "ruy8", "2jtc", "kzf0"
    answer = Answer(**{fiji: ["fiji"], nairobi: ["nairobi"], samoa: ["samoa"]})
    cost = read_order({0: "nairobi", 1: "samoa", 2: "fiji"}, answer, "fiji")
    assert cost[2] < cost[1] < cost[0]
