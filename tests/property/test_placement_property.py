"""Placement against its promises, on small clusters of every shape."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from naive import placement as naive

from faultset_ray import codes
from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.kernels import rendezvous
from faultset_ray.objects.dealing import Dealer
from faultset_ray.objects.placement import place_object, replace_lost
from faultset_ray.objects.sites import Columns, Site
from faultset_ray.objects.survival import partitions, survivable

GB = 10**9
CODES = ["copy:3", "xor:3+1", "rs:3+2", "rs:4+4", "lrc:4+2+1", "lrc:4+2+2", "lrc:6+3+2"]
keys = st.binary(max_size=8)
specs = st.sampled_from(CODES).map(codes.get)


class Answer:
    """Survivors, as far as placement looks at them."""

    def __init__(self, ids):
        self.ids = ids


@st.composite
def clusters(draw, healthy=False):
    sites = []
    for region, size in enumerate(draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))):
        for number in range(size):
            capacity = draw(st.sampled_from([10, 20, 80])) * GB
            free = capacity if healthy else draw(st.sampled_from([capacity, capacity // 2, 0]))
            draining = not healthy and draw(st.integers(0, 5)) == 0
            sites.append(Site(f"u{region}-{number}", f"p{region}-{number}", f"r{region}", capacity, free, draining))
    return sites


def usable(sites, alive=None):
    return [site for site in sites if not site.draining and site.free_bytes > GB and (not alive or site.place in alive)]


@given(keys, specs, clusters(), st.randoms(), st.data())
def test_a_layout_keeps_to_the_rules(key, code, sites, dice, data):
    alive = data.draw(st.none() | st.sets(st.sampled_from([site.place for site in sites]), min_size=1))
    survivors = None if alive is None else Answer(alive)
    good = usable(sites, alive)
    if not good:
        with pytest.raises(NotEnoughPlaces):
            place_object(key, code, sites, survivors, flag=True, shard_bytes=1)
        return
    layout = place_object(key, code, sites, survivors, flag=True, shard_bytes=1)
    assert layout.stores.keys() == set(range(code.n))
    shards = Counter(layout.stores.values())
    assert shards.keys() <= {site.store for site in good}
    assert len(shards) == min(code.n, len(good))
    assert max(shards.values()) - min(shards[site.store] for site in good) <= 1
    region = {site.store: site.region for site in sites}
    assert layout.survivable_stores == naive.survivable(code, layout.stores)
    assert layout.survivable_regions == naive.survivable(code, {i: region[s] for i, s in layout.stores.items()})
    assert (layout.why == "") == (layout.survivable_stores >= code.tolerance)
    dice.shuffle(sites)
    assert place_object(key, code, sites, survivors, flag=True, shard_bytes=1) == layout, "the order does not count"


@given(keys, specs, clusters(), st.data())
def test_what_is_possible_is_not_refused_and_what_is_placed_keeps_its_promise(key, code, sites, data):
    promised = data.draw(st.integers(0, code.tolerance))
    good = usable(sites)
    assume(good)
    flagged = place_object(key, code, sites, tolerate=promised, shard_bytes=1, flag=True)
    if flagged.survivable_stores >= promised:
        assert flagged.why == ""
        assert place_object(key, code, sites, tolerate=promised, shard_bytes=1) == flagged
        return
    assert len(good) < code.n
    with pytest.raises(NotEnoughPlaces) as caught:
        place_object(key, code, sites, tolerate=promised, shard_bytes=1)
    assert caught.value.reason == flagged.why
    assert caught.value.have < caught.value.need


@given(keys, st.sampled_from(["copy:3", "rs:3+2", "rs:4+4"]).map(codes.get), clusters(healthy=True))
def test_shards_are_spread_evenly_over_regions(key, code, sites):
    assume(len(sites) >= code.n)
    layout = place_object(key, code, sites)
    check_even(Counter(site.region for site in sites), shards_by_region(sites, layout.stores))
    if len({site.region for site in sites}) >= code.n:
        assert layout.survivable_regions == code.tolerance


def shards_by_region(sites, stores):
    region = {site.store: site.region for site in sites}
    return Counter(region[store] for store in stores.values())


def check_even(sizes, shards):
    """No region holds two shards more than one that has a store to spare."""
    spare = [region for region in sizes if shards[region] < sizes[region]]
    assert all(shards[full] <= shards[region] + 1 for region in spare for full in sizes)


@given(keys, st.sampled_from(["lrc:4+2+1", "lrc:4+2+2", "lrc:6+3+2"]).map(codes.get), clusters(healthy=True))
def test_parts_of_groups_lie_in_regions_of_their_own_wherever_they_fit(key, code, sites):
    assume(len(sites) >= code.n)
    rooms = list(Counter(site.region for site in sites).values())
    layout = place_object(key, code, sites)
    region = {site.store: site.region for site in sites}
    parts = next((parts for parts in partitions(code) if naive.fits([len(part) for part in parts], rooms)), None)
    if parts is None:
        check_even(Counter(region.values()), shards_by_region(sites, layout.stores))
        return
    homes = [{region[layout.stores[index]] for index in part} for part in parts]
    assert all(len(home) == 1 for home in homes)
    assert len(set.union(*homes)) == len(parts)
    assert layout.survivable_regions >= 1


@pytest.mark.parametrize("spec", [*CODES, "lrc:12+2+2", "lrc:8+2+3"])
def test_parts_may_be_lost_and_are_as_few_as_that_allows(spec):
    code = codes.get(spec)
    for parts in partitions(code):
        assert sorted(index for part in parts for index in part) == list(range(code.n))
        for part in parts:
            assert naive.decodes(code, set(range(code.n)) - set(part))
            assert any(set(part) <= set(group) for group in code.groups) or not set(part) & set().union(*code.groups)
    assert bool(partitions(code)) == bool(code.groups)
    if code.groups:
        lengths = [len(parts) for parts in partitions(code)]
        assert lengths == sorted(set(lengths))
        whole = all(naive.decodes(code, set(range(code.n)) - set(group)) for group in code.groups)
        assert whole == (set(code.groups) <= set(partitions(code)[0]))


@given(specs, st.data())
def test_survivable_against_every_loss(code, data):
    held = data.draw(st.dictionaries(st.integers(0, code.n - 1), st.sampled_from("abcdefgh")))
    assert survivable(code, held) == naive.survivable(code, held)


@given(keys, specs, clusters(healthy=True), st.data())
def test_only_what_must_move_moves(key, code, sites, data):
    assume(len(sites) > code.n)
    before = place_object(key, code, sites)
    used = sorted(set(before.stores.values()))
    gone = data.draw(st.sets(st.sampled_from(used), max_size=len(sites) - code.n))
    after = replace_lost(key, code, before.stores, [site for site in sites if site.store not in gone])
    assert {i for i in before.stores if after.stores[i] != before.stores[i]} == {
        i for i, store in before.stores.items() if store in gone
    }
    assert len(set(after.stores.values())) == code.n


@given(keys, st.sampled_from(["rs:3+2", "copy:3"]).map(codes.get), clusters(healthy=True), st.data())
def test_what_is_replaced_goes_where_the_fewest_are(key, code, sites, data):
    assume(len(sites) > code.n)
    before = place_object(key, code, sites)
    gone = data.draw(st.sampled_from(sorted(before.stores.values())))
    left = [site for site in sites if site.store != gone]
    after = replace_lost(key, code, before.stores, left)
    check_even(Counter(site.region for site in left), shards_by_region(left, after.stores))


@given(keys, specs, clusters(healthy=True))
def test_doubled_shards_move_when_stores_join_and_no_others(key, code, sites):
    few = sites[: max(1, code.n // 2)]
    before = place_object(key, code, few, flag=True)
    after = replace_lost(key, code, before.stores, sites, flag=True)
    moved = [index for index in before.stores if before.stores[index] != after.stores[index]]
    assert len(moved) == min(code.n, len(sites)) - len(few)
    assert len(set(after.stores.values())) == min(code.n, len(sites))


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=8), max_size=40), specs, clusters(healthy=True))
def test_in_bulk_as_one_by_one(names, code, sites):
    columns = Columns(sites)
    hashed = np.array([rendezvous.key_of(name) for name in names], np.uint64)
    rows = Dealer(columns, code, 1).deal_many(hashed)
    assert rows.shape == (len(names), code.n)
    for name, row in zip(names, rows.tolist(), strict=True):
        layout = place_object(name, code, sites, shard_bytes=1, flag=True)
        assert {index: columns.stores[site] for index, site in enumerate(row)} == layout.stores


def test_in_bulk_on_many_sites_as_one_by_one():
    """Regions of very different sizes: the first sites by rank are too often of the same ones, and more are looked at."""
    sites = [Site(f"u{at}", f"p{at}", f"r{max(0, at - 280)}", 100 * GB, 100 * GB) for at in range(300)]
    code = codes.get("rs:10+4")
    columns = Columns(sites)
    names = [b"%d" % at for at in range(300)]
    hashed = np.array([rendezvous.key_of(name) for name in names], np.uint64)
    for name, row in zip(names, Dealer(columns, code, 1).deal_many(hashed).tolist(), strict=True):
        layout = place_object(name, code, sites, shard_bytes=1)
        assert [columns.stores[site] for site in row] == [layout.stores[index] for index in range(code.n)]
        assert layout.survivable_regions == code.tolerance


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.floats(0.001, 1e15)), min_size=1, max_size=20),
)
def test_scores_are_those_of_the_definition_and_the_same_without_numba(names, sites):
    hashes, weights = np.array([site for site, _ in sites], np.uint64), np.array([weight for _, weight in sites])
    found = rendezvous.scores(np.array(names, np.uint64), hashes, weights)
    plain = np.empty_like(found)
    rendezvous._scores_numpy(np.array(names, np.uint64), hashes, weights, plain)
    assert (found == plain).all()
    expected = [[naive.score(key, site, weight) for site, weight in sites] for key in names]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert rendezvous.key_of(b"a name") == naive.name(b"a name")


def test_sites_are_first_in_proportion_to_their_weights():
    dice = np.random.default_rng(5)
    weights = np.array([1.0, 2.0, 5.0, 8.0])
    drawn = rendezvous.scores(
        dice.integers(0, 2**64, 40_000, np.uint64), dice.integers(0, 2**64, 4, np.uint64), weights
    )
    share = np.bincount(drawn.argmin(axis=1)) / len(drawn)
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.01)
    for some in combinations(range(4), 3):
        rest = np.bincount(drawn[:, some].argmin(axis=1)) / len(drawn)
        np.testing.assert_allclose(rest, weights[list(some)] / weights[list(some)].sum(), atol=0.01)
