"""Plans of moves on small clusters: what must move does, what lies well stays, and nothing lies worse."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray import codes
from faultset_ray.errors import InputError, NotEnoughPlaces
from faultset_ray.objects.dealing import Dealer
from faultset_ray.objects.rebalance import Held, rebalance
from faultset_ray.objects.sites import Columns, Site

TB = 10**12
SPECS = ["copy:3", "rs:3+2", "lrc:4+2+2"]


def sites_of(sizes, name="s", **given):
    return [
        Site(f"{name}{region}-{number}", f"{name}{region}-{number}", f"r{region}", TB, TB, **given)
        for region, size in enumerate(sizes)
        for number in range(size)
    ]


class Cluster:
    """Objects on sites, by name."""

    def __init__(self, spec, sites, objects, seed):
        dice = np.random.default_rng(seed)
        self.code = codes.get(spec)
        self.keys = dice.integers(0, 2**64, objects, np.uint64)
        self.bytes = dice.integers(1, 1000, objects) * 10**6
        columns = Columns(sites)
        self.names = np.array(columns.stores, object)[Dealer(columns, self.code, 1).deal_many(self.keys)]

    def columns(self, sites):
        """The sites, as full as the objects on them make them, and where these are."""
        columns = Columns(sites)
        held = np.array([[columns.at.get(name, -1) for name in row] for row in self.names], np.int32)
        for row, size in zip(held, self.bytes, strict=True):
            for site in row[row >= 0]:
                columns.free[site] -= size
        return columns, Held(self.keys, held, self.bytes)

    def move(self, columns, moves):
        for row, index, source, target in zip(moves.rows, moves.indices, moves.sources, moves.targets, strict=True):
            name = self.names[row, index]
            assert source == columns.at.get(name, -1)
            assert columns.open[target]
            self.names[row, index] = columns.stores[target]

    def most_together(self, region):
        """The most shards of an object in one region."""
        return [max(Counter(region[name] for name in row).values()) for row in self.names]


regions = st.lists(st.integers(1, 4), min_size=4, max_size=6)


@settings(max_examples=60)
@given(st.sampled_from(SPECS), regions, st.integers(1, 40), st.integers(0, 99), st.data())
def test_plans(spec, sizes, objects, seed, data):
    sites = sites_of([size + 2 for size in sizes])
    cluster = Cluster(spec, sites, objects, seed)
    new = sites_of(data.draw(st.lists(st.integers(0, 2), max_size=8)), "new")
    lost = data.draw(st.sets(st.sampled_from([site.store for site in sites]), max_size=2))
    draining = data.draw(st.sets(st.sampled_from([site.store for site in sites]), max_size=2))
    now = [
        Site(site.store, site.place, site.region, TB, TB, draining=site.store in draining)
        for site in [*sites, *new]
        if site.store not in lost
    ]
    region = {site.store: site.region for site in [*sites, *new]}
    spread = cluster.most_together(region)
    columns, held = cluster.columns(now)
    expected, before = columns.free.copy(), held.sites.copy()
    moves = rebalance(held, columns, cluster.code)
    assert (held.sites == before).all(), "what was given is left as it is"
    must = {
        (row, index)
        for row, names in enumerate(cluster.names)
        for index, name in enumerate(names)
        if name in lost or name in draining
    }
    assert not len(moves.stuck)
    moved = list(zip(moves.rows.tolist(), moves.indices.tolist(), strict=True))
    assert must <= set(moved)
    assert len(set(moved)) == len(moved), "each once"
    assert (moves.sources != moves.targets).all()
    cluster.move(columns, moves)
    for row, source, target in zip(moves.rows, moves.sources, moves.targets, strict=True):
        expected[target] -= cluster.bytes[row]
        if source >= 0:
            expected[source] += cluster.bytes[row]
    assert (columns.free == expected).all()
    assert all(len(set(row)) == cluster.code.n for row in cluster.names)
    if not lost and not draining:
        assert all(after <= had for after, had in zip(cluster.most_together(region), spread, strict=True))


def excess(columns, slack):
    used = (columns.capacity - columns.free).astype(float)
    mean = used.mean()
    return max((used - mean * (1 + slack)).clip(0).sum(), (mean * (1 - slack) - used).clip(0).sum())


@pytest.mark.parametrize("spec", SPECS)
def test_what_lies_evenly_stays(spec):
    cluster = Cluster(spec, sites_of([5] * 8), 400, 1)
    columns, held = cluster.columns(sites_of([5] * 8))
    assert len(rebalance(held, columns, cluster.code, slack=1.0)) == 0
    level, _ = cluster.columns(sites_of([5] * 8))
    rebalance(held, level, cluster.code, slack=0.2)
    assert excess(level, 0.25) == 0


@pytest.mark.parametrize(("spec", "extra"), [("copy:3", 1.0), ("rs:3+2", 1.0), ("lrc:4+2+2", 3.0)])
@pytest.mark.parametrize("sizes", [[1] * 8, [0] * 8 + [5]], ids=["in all regions", "in a region of their own"])
def test_new_stores_get_their_share_and_no_more_is_moved(spec, extra, sizes):
    old, new = sites_of([5] * 8), sites_of(sizes, "new")
    cluster = Cluster(spec, old, 3000, 1)
    columns, held = cluster.columns([*old, *new])
    least = excess(columns, 0.1)
    moves = rebalance(held, columns, cluster.code, slack=0.1)
    assert excess(columns, 0.12) == 0
    moved = cluster.bytes[moves.rows].sum()
    assert least * 0.9 <= moved <= least * extra + 0.5 * cluster.bytes.max() * len(columns)
    region = {site.store: site.region for site in [*old, *new]}
    before = cluster.most_together(region)
    cluster.move(columns, moves)
    assert cluster.most_together(region) == before
    assert any(columns.stores[target].startswith("new") for target in moves.targets)
    for row in cluster.names:
        for group in cluster.code.groups:
            assert len({region[row[index]] for index in group}) == 1, "groups stay together"


def test_doubled_shards_part_when_there_are_stores_enough():
    few, more = sites_of([3]), sites_of([3, 3])
    cluster = Cluster("rs:3+2", few, 20, 1)
    columns, held = cluster.columns(more)
    moves = rebalance(held, columns, cluster.code, slack=1.0)
    assert len(moves) == 20 * 2
    cluster.move(columns, moves)
    assert all(len(set(row)) == 5 for row in cluster.names)
    columns, held = cluster.columns(few)
    assert (np.array([len(set(row)) for row in held.sites.tolist()]) <= 4).all()


def test_what_finds_no_room_is_told():
    sites = sites_of([1, 1, 1])
    cluster = Cluster("copy:3", sites, 5, 1)
    left = [Site(site.store, site.place, site.region, TB, TB if at else 0) for at, site in enumerate(sites[:2])]
    columns = Columns(left)
    columns.free[:] = 0
    held = np.array([[columns.at.get(name, -1) for name in row] for row in cluster.names], np.int32)
    moves = rebalance(Held(cluster.keys, held, cluster.bytes), columns, cluster.code)
    assert moves.stuck.tolist() == list(range(5))
    assert len(moves) == 0


@pytest.mark.parametrize("slack", [-0.1, 1.1, float("nan")])
def test_slack_is_a_share(slack):
    columns, held = Cluster("copy:3", sites_of([3]), 2, 1).columns(sites_of([3]))
    with pytest.raises(InputError, match="slack"):
        rebalance(held, columns, codes.get("copy:3"), slack=slack)


def test_columns_that_do_not_fit():
    columns, held = Cluster("copy:3", sites_of([3]), 2, 1).columns(sites_of([3]))
    with pytest.raises(InputError, match=r"expected \(2, 5\)"):
        rebalance(held, columns, codes.get("rs:3+2"))
    with pytest.raises(NotEnoughPlaces, match="no store"):
        rebalance(Held(held.keys, held.sites * 0 - 1, held.shard_bytes), Columns([]), codes.get("copy:3"))
    with pytest.raises(InputError, match="at site 2 of 1"):
        rebalance(held, Columns(sites_of([1])), codes.get("copy:3"))
