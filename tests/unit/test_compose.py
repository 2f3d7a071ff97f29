"""However a fleet is cut into ranges, the composed answer is the one of ``faultset()``."""

import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.control.answer import Survivors
from faultset_ray.control.compose import Composed, RegionPart, compose
from faultset_ray.control.decisions import decide, live_survivors
from faultset_ray.control.health import Health, absorb
from faultset_ray.control.ladder import flag_regions
from faultset_ray.control.messages import Members, Orders
from faultset_ray.control.region import Region
from faultset_ray.errors import NoSurvivorsError
from faultset_ray.geohash import cells_to_strings, encode_many
from faultset_ray.kernels.health import NEVER
from faultset_ray.model import Fleet
from faultset_ray.pipeline import faultset
from faultset_ray.policy import Policy

ORDERS = Orders(1, Policy())


def fleet_of(seed, count):
    dice = np.random.default_rng(seed)
    return Fleet(
        [f"n{index}" for index in range(count)],
        dice.uniform(-90, 90, count),
        dice.uniform(-180, 180, count),
        dice.integers(0, 40, count) * 5.0,
    )


def answer(fleet, precision, threshold, owner):
    """Ask the regions that ``owner`` deals the cells to, and compose; and the regions' geohashes."""
    cells = encode_many(fleet.lat, fleet.lon, precision)
    owners = owner(cells)
    parts = []
    for index in np.unique(owners):
        members = np.flatnonzero(owners == index)
        region = Region(1)
        zeros = np.zeros(len(members), np.int64)
        columns = members.astype(np.uint32), cells[members], fleet.latency_ms[members], zeros, zeros.astype(np.uint8)
        region.load(1, ORDERS, 0, Members(1, *columns), None)
        parts.append(region.survivors(1, ORDERS, 0, threshold))
    return Survivors("f", threshold, 0, fleet.ids, compose(parts), {0: (1, 1)}, []), cells_to_strings(cells)


@settings(max_examples=60)
@given(
    st.integers(0, 99),
    st.integers(1, 120),
    st.integers(1, 3),
    st.sampled_from([0.0, 40.0, 120.0, np.inf]),
    st.integers(1, 7),
)
def test_any_split_gives_the_order_of_faultset(seed, count, precision, threshold, ranges):
    fleet = fleet_of(seed, count)
    dice = np.random.default_rng(seed)

    def owner(cells):
        occupied, inverse = np.unique(cells, return_inverse=True)
        return dice.integers(0, ranges, len(occupied))[inverse]

    found, region_of = answer(fleet, precision, threshold, owner)
    try:
        expected = faultset(fleet, threshold, precision)
    except NoSurvivorsError:
        expected = []
    assert found.ids.tolist() == expected
    assert fleet.ids[found.handles].tolist() == expected
    assert len(found) == len(expected)
    by_region = {}
    for node_id in expected:
        by_region.setdefault(region_of[int(node_id[1:])], []).append(node_id)
    assert {region: ids.tolist() for region, ids in found.by_region.items()} == by_region
    assert list(found.by_region) == list(by_region)
    assert set(found.empty_regions) == set(region_of) - by_region.keys()
    assert len(found.empty_regions) == len(set(found.empty_regions))


def test_no_parts():
    composed = compose([])
    assert (len(composed.cells), composed.starts.tolist(), len(composed.handles)) == (0, [0], 0)
    nobody = Survivors("f", 1.0, 0, np.array(["a"], object), composed, {}, ["u"])
    assert (nobody.ids.tolist(), dict(nobody.by_region), nobody.empty_regions, nobody.whole) == ([], {}, [], False)


@pytest.mark.parametrize("looked_at", [False, True])
def test_an_answer_travels_without_the_rest_of_the_fleet(looked_at):
    fleet = fleet_of(1, 300)
    found, _ = answer(fleet, 1, 20.0, lambda cells: np.zeros(len(cells), np.intp))
    by_region = {region: ids.tolist() for region, ids in found.by_region.items()} if looked_at else None
    packed = pickle.dumps(found)
    carried = {name for op in pickletools.genops(packed) if isinstance(op[1], str) for name in op[1].split("\n")}
    assert set(found.ids) <= carried
    assert not carried & (set(fleet.ids) - set(found.ids))
    again = pickle.loads(packed)
    assert again.ids.tolist() == found.ids.tolist()
    assert {region: ids.tolist() for region, ids in again.by_region.items()} == (
        by_region or {region: ids.tolist() for region, ids in found.by_region.items()}
    )
    assert (again.empty_regions, again.versions, len(again)) == (found.empty_regions, found.versions, len(found))


@pytest.mark.parametrize("protocol", [None, *range(2, pickle.HIGHEST_PROTOCOL + 1)])
def test_an_answer_does_not_change(protocol):
    handles, missing = np.array([1], np.uint32), ["u"]
    cells = encode_many([10.0], [10.0], 3)
    ids = np.array(["a", "b"], object)
    found = Survivors("f", 1.0, 0, ids, Composed(cells, np.array([0, 1]), handles), {0: (1, 1)}, missing)
    if protocol is not None:
        found = pickle.loads(pickle.dumps(found, protocol))
    handles[0], ids[1] = 0, "c"
    missing.append("v")
    found.missing_regions.append("v")
    found.versions[1] = (1, 1)
    found.versions.birth = "another"
    (region,) = cells_to_strings(cells).tolist()
    for column in (found.handles, found.ids, found.by_region[region]):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[0]
    for name in ("fleet", "ids", "handles", "by_region", "missing_regions", "other"):
        with pytest.raises(AttributeError):
            setattr(found, name, None)
    with pytest.raises(AttributeError):
        del found.fleet
    assert (found.handles.tolist(), found.ids.tolist(), found.missing_regions) == ([1], ["b"], ["u"])
    assert found.versions == {0: (1, 1)}


def test_parts_are_put_together_once_whichever_thread_asks_first():
    asked = []

    def composing():
        asked.append(1)
        return Composed(encode_many([10.0], [10.0], 3), np.array([0, 1]), np.array([1], np.uint32))

    found = Survivors("f", 1.0, 0, np.array(["a", "b"], object), composing, {}, [])
    assert asked == []
    assert (found.handles.tolist(), found.ids.tolist(), len(asked)) == ([1], ["b"], 1)
    assert found.__getattr__("handles") is found.handles, "looked for before the other thread was done, asked after"
    for name in ("other", "_all"):
        with pytest.raises(AttributeError):
            getattr(found, name)


def test_by_region_is_a_mapping():
    fleet = Fleet(["a", "b", "c"], [10, 10, -10], [10, 10, 50], [3, 2, 1])
    found, region_of = answer(fleet, 3, 10.0, lambda cells: np.arange(len(cells)) // 2)
    assert found.by_region[region_of[0]].tolist() == ["b", "a"]
    assert len(found.by_region) == 2
    assert "zzz" not in found.by_region
    with pytest.raises(KeyError):
        found.by_region["zzz"]


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(1, 120), st.integers(1, 3), st.integers(1, 4))
def test_under_the_default_policy_the_answer_is_the_one_of_faultset(seed, count, precision, ranges):
    fleet, policy = fleet_of(seed, count), Policy()
    cells = encode_many(fleet.lat, fleet.lon, precision)
    owner = np.unique(cells, return_inverse=True)[1] % ranges
    parts = []
    for index in range(ranges):
        slots = np.flatnonzero(owner == index)
        health = Health.empty(slots.astype(np.uint32), cells[slots])
        absorb(health, np.arange(len(slots)), fleet.latency_ms[slots], None, 1, policy.rules)
        decide(health, policy.rules, 1)
        survivors, counts = live_survivors(health, policy.rules)
        order, starts, own_cells = health.groups
        none = np.zeros(len(counts), np.bool_)
        flagged, _ = flag_regions(none, np.full(len(counts), NEVER), counts, np.diff(starts), policy, 1)
        first = health.handles[order[starts[:-1]]]
        parts.append(RegionPart(1, 1, 1, own_cells, first, counts, health.handles[survivors], flagged))
    found = Survivors("f", policy.threshold_ms, 0, fleet.ids, compose(parts, policy), {}, [], policy=policy)
    try:
        expected = faultset(fleet, policy.threshold_ms, precision)
    except NoSurvivorsError:
        expected = []
    assert found.ids.tolist() == expected
    assert not found.tiers.any()
    assert (found.short, found.panic, found.frozen_until_ms) == ({}, {}, None)
