"""What flagged regions borrow, and where panic is, against brute force: poles, the antimeridian, every precision."""

import math
import pickle
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import geohash as naive_geohash
from naive import ladder as naive

from faultset_ray.control.answer import Survivors
from faultset_ray.control.compose import RegionPart, Rest, compose
from faultset_ray.control.ladder import flag_regions, rest_of
from faultset_ray.control.missing import Missing
from faultset_ray.geohash import cells_to_strings, encode_many, strings_to_cells
from faultset_ray.kernels.health import NEVER
from faultset_ray.kernels.nearest import points, squares
from faultset_ray.policy import Policy

CORNERS = ((0.0, 0.0), (90.0, 13.0), (-90.0, -77.0), (12.0, 180.0), (-33.0, -180.0), (89.9, 179.9), (-89.9, -0.1))
STEPS = (0, 0, 1, -1, 2, -2, 7, 500)


def regions_of(dice, precision, count):
    """Geohashes of one precision, many of them close together, some in the odd places of the globe."""
    lat0, lon0 = CORNERS[dice.integers(len(CORNERS))] if dice.random() < 0.7 else dice.uniform((-90, -180), (90, 180))
    width, height = 360 / 2 ** ((5 * precision + 1) // 2), 180 / 2 ** (5 * precision // 2)
    lat = np.clip(lat0 + dice.choice(STEPS, count) * height, -90, 90)
    lon = (lon0 + dice.choice(STEPS, count) * width + 180) % 360 - 180
    far = dice.random(count) < 0.2
    lat[far], lon[far] = dice.uniform(-90, 90, far.sum()), dice.uniform(-180, 180, far.sum())
    texts = cells_to_strings(encode_many(lat, lon, precision)).tolist()
    return list(dict.fromkeys(texts))


class World:
    """A fleet's regions with survivors and others, as lists for the oracle and as parts for ``compose``."""

    def __init__(self, seed, precision, count, need, alive):
        self.dice = dice = np.random.default_rng(seed)
        self.need = need
        self.regions = regions_of(dice, precision, count)
        self.survivors, self.rest, self.flags = {}, {}, set()
        self.ids, self.handles, self.first = [], {}, {}
        for region in self.regions:
            own = int(dice.integers(0, 5)) if dice.random() < alive else 0
            bad = int(dice.integers(own == 0, 4))
            names = [f"{region}-{index}" for index in range(own + bad)]
            for name in names:
                self.handles[name] = len(self.ids)
                self.ids.append(name)
            self.first[region] = self.handles[names[0]]
            dice.shuffle(names)
            self.survivors[region], self.rest[region] = names[:own], names[own:]
            if naive.flagged(bool(dice.integers(2)), own, own + bad, need):
                self.flags.add(region)

    def parts(self, ranges):
        owner = self.dice.integers(0, ranges, len(self.regions))
        return [self._part([r for r, one in zip(self.regions, owner, strict=True) if one == i]) for i in set(owner)]

    def _part(self, regions):
        def handles(groups):
            return np.array([self.handles[name] for names in groups for name in names], np.uint32)

        survivors = [self.survivors[region] for region in regions]
        rest = [self.rest[region] if region in self.flags else [] for region in regions]
        return RegionPart(
            1,
            1,
            1,
            strings_to_cells(regions),
            np.array([self.first[region] for region in regions], np.uint32),
            np.array([len(names) for names in survivors], np.int64),
            handles(survivors),
            np.array([region in self.flags for region in regions]),
            Rest(np.array([len(names) for names in rest], np.int64), handles(rest)),
        )


def ask(world, ranges, fallback, panic):
    policy = Policy(survivors_min=world.need, fallback=fallback, panic=panic)
    composed = compose(world.parts(ranges), policy)
    return Survivors("f", 1.0, 0, np.array(world.ids, object), composed, {}, [], policy=policy)


def check(found, world, fallback, panic):
    by_region, panicking, _ = naive.answer(world.survivors, world.flags, world.rest, world.need, fallback, panic)
    assert {region: list(zip(found.by_region[region], found.tiers_of(region), strict=True)) for region in found.by_region} == by_region  # fmt: skip
    assert list(found.by_region) == [region for region in world.regions if region in by_region]
    assert found.panic.keys() == panicking
    assert found.short == {r: (len(world.survivors[r]), world.need) for r in world.regions if r in world.flags}
    expected = [
        (name, tier)
        for region in world.regions
        for tier, names in ((0, world.survivors[region]), (5, world.rest[region] if region in panicking else ()))
        for name in names
    ]
    assert list(zip(found.ids, found.tiers, strict=True)) == expected
    assert set(found.empty_regions) == {region for region in world.regions if not world.survivors[region]}


@settings(max_examples=150)
@given(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(0, 9),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    st.integers(1, 4),
    st.sampled_from(list(naive.TIERS)),
    st.sampled_from(["none", "all"]),
)
def test_answers_equal_brute_force(seed, precision, count, need, alive, ranges, fallback, panic):
    world = World(seed, precision, count, need, alive)
    found = ask(world, ranges, fallback, panic)
    check(found, world, fallback, panic)
    check(pickle.loads(pickle.dumps(found)), world, fallback, panic)


@settings(max_examples=100)
@given(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.integers(2, 40),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from(list(naive.TIERS)),
    st.sampled_from([0.0, 0.03, 0.3]),
)
def test_no_panic_while_somebody_within_reach_is_silent(seed, precision, count, need, alive, fallback, silent):
    world = World(seed, precision, count, need, alive)
    missing = {region for region in world.regions[1:] if world.dice.random() < silent}
    world.regions = [region for region in world.regions if region not in missing]
    for column in (world.survivors, world.rest):
        for region in missing:
            del column[region]
    world.flags -= missing
    policy = Policy(survivors_min=need, fallback=fallback, panic="all")
    unheard = Missing({0: strings_to_cells(sorted(missing) * 2)})
    composed = compose(world.parts(2), policy, None, unheard)
    found = Survivors("f", 1.0, 0, np.array(world.ids, object), composed, {}, unheard, policy=policy)
    by_region, panicking, withheld = naive.answer(
        world.survivors, world.flags, world.rest, need, fallback, "all", missing
    )  # fmt: skip
    for answer in (found, pickle.loads(pickle.dumps(found))):
        named = {region: ids.tolist() for region, ids in answer.by_region.items() if region not in missing}
        assert named == {region: [name for name, _ in names] for region, names in by_region.items()}
        assert answer.panic.keys() == panicking
        assert answer.panic_withheld.keys() == withheld.keys()
        for region, reason in answer.panic_withheld.items():
            some = f"{withheld[region]} region{'s' * (withheld[region] > 1)}"
            assert reason.endswith(f", and {some} within reach did not answer")


@pytest.mark.parametrize("fallback", list(naive.TIERS))
@pytest.mark.parametrize("panic", ["none", "all"])
def test_a_fleet_of_one_region(fallback, panic):
    world = World(3, 5, 1, 9, 1.0)
    assert len(world.regions) == 1
    found = ask(world, 1, fallback, panic)
    check(found, world, fallback, panic)
    assert len(found.short) == 1
    assert bool(found.panic) == (panic == "all")


def test_nobody_survives_anywhere():
    world = World(5, 4, 30, 2, 0.0)
    found = ask(world, 3, "everywhere", "all")
    check(found, world, "everywhere", "all")
    assert len(found) == len(world.ids)
    assert set(found.tiers.tolist()) == {5}
    assert all(reason == "0 of the 2 needed survive, fallback 'everywhere' adds 0" for reason in found.panic.values())
    nobody = ask(world, 3, "everywhere", "none")
    assert (len(nobody), dict(nobody.by_region), nobody.panic) == (0, {}, {})


def over(region, *lenders):
    """The order in which ``region`` borrows one node from each of ``lenders``."""
    world = World.__new__(World)
    world.dice, world.need = np.random.default_rng(1), 1 + len(lenders)
    world.regions = [region, *lenders]
    world.survivors = {r: [] if r == region else [r] for r in world.regions}
    world.rest = {r: [r] if r == region else [] for r in world.regions}
    world.ids, world.flags = list(world.regions), {region}
    world.handles = world.first = {r: index for index, r in enumerate(world.regions)}
    found = ask(world, 1, "everywhere", "none")
    return list(zip(found.by_region[region].tolist(), found.tiers_of(region).tolist(), strict=True))


def at(lat, lon, precision=3):
    return naive_geohash.encode(lat, lon, precision)


def test_the_antimeridian_is_no_border():
    here = at(10, 179.9)
    assert over(here, at(10, 150.0), at(10, -179.9), at(10, -170.0)) == [
        (at(10, -179.9), 1),
        (at(10, -170.0), 3),
        (at(10, 150.0), 4),
    ]


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_the_way_over_a_pole_is_short(pole):
    here, across, along = at(pole, 10.0), at(pole, -170.0), at(pole * 0.9, 10.0)
    assert across not in naive_geohash.neighbours(here)
    assert over(here, along, across) == [(across, 3), (along, 4)]


def test_siblings_come_before_nearer_cousins():
    """The parent is a rung of its own, though a region beyond it may be nearer than the farthest sibling."""
    here, far_sibling = "u30", "u3z"
    (west, east), (south, north) = naive_geohash.bounds(here)
    cousin = naive_geohash.encode((south + north) / 2, west - (east - west) * 3 / 2, 3)
    assert cousin not in naive_geohash.neighbours(here)
    assert naive.great_circle_m(here, cousin) < naive.great_circle_m(here, far_sibling)
    assert over(here, cousin, far_sibling) == [(far_sibling, 2), (cousin, 3)]


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_whole_numbers_order_regions_as_the_great_circle_does(seed, precision):
    regions = regions_of(np.random.default_rng(seed), precision, 12)
    lat, lon = np.array([naive.center(region) for region in regions]).T
    there = points(lat, lon)
    squared = squares(there, there[:, :1])
    assert squared.tolist() == [naive.apart(regions[0], region) for region in regions]
    metres = [naive.great_circle_m(regions[0], region) for region in regions]
    for i, j in permutations(range(len(regions)), 2):
        if metres[j] - metres[i] > 0.02 * (1 + math.tan(min(metres[j] / 12_742_000, 1.5))):
            assert squared[i] < squared[j]


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.integers(0, 12), st.integers(0, 4), st.sampled_from([NEVER, 0, 4_000, 4_001, 9_000])
        ),
        max_size=20,
    ),
    st.integers(0, 10),
)
def test_flags_equal_the_rule(regions, need):
    was, own, bad, since_ms = np.array(regions, np.int64).reshape(-1, 4).T
    policy = Policy(survivors_min=need, half_life_s=5.0)
    found, full_ms = flag_regions(was.astype(bool), since_ms, own, own + bad, policy, 9_000)
    assert found.tolist() == [
        naive.flagged(w, o, o + b, need, full_for_a_half_life=0 <= since <= 4_000) for w, o, b, since in regions
    ]  # fmt: skip
    expected = [
        (9_000 if since == NEVER else since) if flag and own >= need and not bad else NEVER
        for (_, own, bad, since), flag in zip(regions, found, strict=True)
    ]
    assert full_ms.tolist() == expected


def test_around_the_need_nothing_swings():
    """One node of five comes and goes: the region borrows once and stays flagged until all are well."""
    flags, full_ms, changes = np.zeros(1, bool), np.full(1, NEVER), []
    for now_ms, own in enumerate((5, 4, 3, 4, 3, 4, 3, 4, 4, 5, 5)):
        before = flags
        flags, full_ms = flag_regions(flags, full_ms, np.array([own]), np.array([5]), Policy(survivors_min=4), now_ms)
        changes.append((own, bool(flags[0])))
        assert bool(flags[0]) == bool(before[0]) or own in {3, 5}
    assert [flag for _, flag in changes] == [False, False, *[True] * 7, False, False]


def test_where_a_region_has_just_what_it_needs_nothing_swings_either():
    """One node of three comes and goes each second, until it stays."""
    policy, flags, full_ms, changes = Policy(survivors_min=3), np.zeros(1, bool), np.full(1, NEVER), []
    for second in range(50):
        own = 3 if second % 2 == 0 or second > 30 else 2
        before = bool(flags[0])
        flags, full_ms = flag_regions(flags, full_ms, np.array([own]), np.array([3]), policy, second * 1000)
        if bool(flags[0]) != before:
            changes.append((second, bool(flags[0])))
    assert changes == [(1, True), (40, False)], "full for its half-life, ten seconds, since second 30"


@given(st.integers(0, 2**32), st.integers(0, 30), st.integers(1, 6))
def test_rest_is_the_least_bad_first(seed, nodes, groups):
    dice = np.random.default_rng(seed)
    group = np.sort(dice.integers(0, groups, nodes))
    starts = np.searchsorted(group, np.arange(groups + 1)).astype(np.int64)
    order = dice.permutation(nodes).astype(np.int64)
    flagged, out = dice.random(groups) < 0.6, dice.random(nodes) < 0.5
    statistic = dice.choice([1.0, 2.0, np.inf, np.nan], nodes)
    slots, counts = rest_of(order, starts, flagged, out, statistic)
    expected = []
    for index in range(groups):
        members = [slot for slot in order[starts[index] : starts[index + 1]] if flagged[index] and out[slot]]
        members.sort(
            key=lambda slot: (math.isnan(statistic[slot]), statistic[slot] if statistic[slot] == statistic[slot] else 0)
        )
        expected.append(members)
    assert counts.tolist() == [len(members) for members in expected]
    assert slots.tolist() == [slot for members in expected for slot in members]
