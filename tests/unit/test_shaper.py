"""When ranges are split and merged, and that it settles."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.control.ranges import RangeLoad, Reshape, Shaper, Sizing, range_of, ranges_for
from faultset_ray.limits import MERGE_SECONDS, RANGES_SPARED, SPLIT_SECONDS

SIZING = Sizing(nodes_max=100, samples_max=1000.0)
TICK_MS = 5_000


@given(st.integers(1, 5_000_000), st.integers(1, 64))
def test_what_a_new_fleet_is_cut_into_is_left_as_it_is(nodes, most):
    sizing = Sizing(ranges_min=RANGES_SPARED)
    count = ranges_for(nodes, most)
    assert RANGES_SPARED <= count <= max(RANGES_SPARED, most)
    loads = [RangeLoad(at, at, nodes // count, 0.0) for at in range(count)]
    shaper, cells = Shaper(sizing), np.arange(count, dtype=np.uint64)
    moves = [shaper.step(loads, cells, 1000 * seconds) for seconds in range(0, round(MERGE_SECONDS) + 20, 5)]
    assert not any(move is not None and len(move.bounds) < len(move.range_ids) for move in moves), "nothing is merged"


class Fleet:
    """Ranges over cells, each node observed ``rate`` times a second; moves are carried out at once."""

    def __init__(self, cells, bounds, rate=0.0):
        self.cells = np.array(cells, np.uint64)
        self.ranges = list(enumerate(bounds))
        self.next_id = len(bounds)
        self.rate = rate
        self.merged = set()
        """Ids of ranges that merges made."""

    def loads(self, noise=None):
        positions = range_of(np.array([lower for _, lower in self.ranges], np.uint64), self.cells)
        nodes = np.bincount(positions, minlength=len(self.ranges)).tolist()
        factors = [1.0] * len(nodes) if noise is None else noise(len(nodes))
        return [
            RangeLoad(range_id, lower, count, count * self.rate * factor)
            for (range_id, lower), count, factor in zip(self.ranges, nodes, factors, strict=True)
        ]

    def move(self, reshape):
        ids = [range_id for range_id, _ in self.ranges]
        at = ids.index(reshape.range_ids[0])
        assert tuple(ids[at : at + len(reshape.range_ids)]) == reshape.range_ids, "neighbours, in order"
        assert reshape.bounds[0] == self.ranges[at][1]
        fresh = [(self.next_id + index, lower) for index, lower in enumerate(reshape.bounds)]
        self.next_id += len(fresh)
        if len(reshape.range_ids) > 1:
            self.merged.add(fresh[0][0])
        self.ranges[at : at + len(reshape.range_ids)] = fresh


def run(fleet, shaper, seconds, begin_ms=0, noise=None):
    """Moves made in so many seconds."""
    made = []
    for now_ms in range(begin_ms, begin_ms + seconds * 1000, TICK_MS):
        reshape = shaper.step(fleet.loads(noise), fleet.cells, now_ms)
        if reshape is not None:
            fleet.move(reshape)
            made.append((now_ms, reshape))
    return made


def test_a_range_past_its_bound_is_split_after_a_while():
    fleet = Fleet(range(0, 2200, 10), [0])
    [(at_ms, reshape)] = run(fleet, Shaper(SIZING), 60)
    assert at_ms == SPLIT_SECONDS * 1000
    assert (reshape.range_ids, len(reshape.bounds)) == ((0,), 3)
    assert max(load.nodes for load in fleet.loads()) <= 75


def test_load_alone_splits_and_its_end_merges():
    fleet = Fleet(range(0, 800, 10), [0], rate=40.0)
    shaper = Shaper(Sizing(nodes_max=1000, samples_max=1000.0))
    assert [len(reshape.bounds) for _, reshape in run(fleet, shaper, 120)] == [5]
    fleet.rate = 1.0
    made = run(fleet, shaper, 300, begin_ms=120_000)
    assert [len(reshape.range_ids) for _, reshape in made] == [5]
    assert made[0][0] == 120_000 + MERGE_SECONDS * 1000


def test_a_short_burst_changes_nothing():
    fleet = Fleet(range(0, 800, 10), [0, 400], rate=1.0)
    shaper = Shaper(Sizing(nodes_max=100, samples_max=1000.0, ranges_min=2))
    for begin_ms in range(0, 600_000, 20_000):
        fleet.rate = 100.0
        assert run(fleet, shaper, 5, begin_ms) == []
        fleet.rate = 1.0
        assert run(fleet, shaper, 15, begin_ms + 5_000) == []


def test_one_cell_can_not_be_split_and_does_not_keep_others_from_it():
    fleet = Fleet([0] * 900 + list(range(1000, 1120)), [0, 1000])
    made = run(fleet, Shaper(SIZING), 60)
    assert [reshape.range_ids for _, reshape in made] == [(1,)]


def test_ranges_min_is_kept():
    fleet = Fleet(range(8), range(8))
    made = run(fleet, Shaper(Sizing(nodes_max=1000, ranges_min=3)), 300)
    assert [reshape for _, reshape in made] == [Reshape((0, 1, 2, 3, 4, 5), (0,))]
    assert len(fleet.ranges) == 3


@settings(max_examples=60)
@given(
    cells=st.lists(st.integers(0, 300), min_size=1, max_size=600),
    bounds=st.sets(st.integers(1, 300), max_size=12),
    rates=st.lists(st.floats(0.0, 50.0), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_it_never_swings_under_any_steady_load_with_noise(cells, bounds, rates, seed):
    """Each load is held for a while, give or take a twentieth: what was merged is not split again."""
    fleet = Fleet(cells, [0, *sorted(bounds)])
    shaper = Shaper(SIZING)
    dice = np.random.default_rng(seed)
    now_ms = 0
    for rate in rates:
        fleet.rate = rate
        made = run(fleet, shaper, 1800, now_ms, lambda count: dice.uniform(0.95, 1.05, count))
        for _, reshape in made:
            if len(reshape.bounds) > 1:
                assert not {*reshape.range_ids} & fleet.merged, "a merge was undone"
        fleet.merged.clear()
        now_ms += 1_800_000
        for load in fleet.loads():
            inside = len({cell for cell in cells if load.lower <= cell < upper(fleet, load)})
            assert SIZING.fill([load]) <= 1.1 or inside <= 1


def upper(fleet, load):
    return min((lower for _, lower in fleet.ranges if lower > load.lower), default=1 << 64)
