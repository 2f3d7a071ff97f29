"""The columns of health: copies, parts, files, rosters, and what a node costs."""

import math

import numpy as np
import pytest
from health_range import BAD, FAILED, GOOD, Range
from region_bytes import a_day

from faultset_ray.control.decisions import live_survivors
from faultset_ray.control.health import Health, absorb
from faultset_ray.control.health_columns import NO_THRESHOLDS, NUMBERS_MAX, numbered
from faultset_ray.errors import InputError
from faultset_ray.kernels import health as kernels
from faultset_ray.policy import Policy


def columns_equal(one, other):
    assert one.to_columns().keys() == other.to_columns().keys()
    for name, column in one.to_columns().items():
        assert column.tobytes() == other.to_columns()[name].tobytes(), name


@pytest.mark.parametrize("statistic", ["last", "p95"])
def test_columns_come_back_and_parts_make_the_whole(statistic):
    nodes = Range([3, 1, 4], statistic=statistic, samples=(2, 5, 3), hold_s=(1, 5))
    rng = np.random.default_rng(1)
    for _ in range(20):
        nodes.hear(
            {slot: latency for slot, latency in enumerate(rng.choice([GOOD, BAD, FAILED], 8)) if rng.random() < 0.8}
        )
    whole = nodes.health
    columns = whole.to_columns()
    for column in columns.values():
        column.flags.writeable = False
    columns_equal(Health.from_columns(columns), whole)
    mask = rng.random(8) < 0.5
    columns_equal(Health.joined([whole.take(mask), whole.take(~mask)]), whole)
    columns_equal(Health.joined([whole.take(np.flatnonzero(~mask)), whole.take(np.flatnonzero(mask))]), whole)
    copy = whole.copy()
    absorb(copy, np.arange(8), np.full(8, BAD), None, nodes.now_ms + 1, nodes.rules)
    columns_equal(Health.from_columns(columns), whole)


def test_columns_of_another_format_or_length_are_refused():
    columns = Range([2]).health.to_columns()
    with pytest.raises(InputError, match="format 3; this version reads up to 2"):
        Health.from_columns({**columns, "format": np.array([3])})
    with pytest.raises(InputError, match="lack peak"):
        Health.from_columns({name: column for name, column in columns.items() if name != "peak"})
    with pytest.raises(InputError, match="differ in length"):
        Health.from_columns({**columns, "last": np.zeros(1)})
    with pytest.raises(InputError, match="differ in length"):
        Health.from_columns({**columns, "sketch": np.zeros((1, 8), np.uint64)})


def test_a_roster_keeps_what_is_known_and_forgets_who_is_gone():
    nodes = Range([4], samples=(2, 3, 1))
    nodes.hear({0: GOOD, 1: BAD, 2: BAD, 3: BAD})
    old = nodes.health
    handles, cells = np.array([1, 2, 3, 7], np.uint32), np.full(4, 1, np.uint64)
    latency, at_ms = (
        np.array([GOOD, GOOD, math.nan, BAD]),
        np.array([nodes.now_ms, nodes.now_ms + 1, nodes.now_ms + 1, 5]),
    )
    new = old.enroll(handles, cells, latency, at_ms, nodes.rules)
    assert new.last.tolist()[:2] == [BAD, GOOD], "a registration counts if it is newer than the last sample"
    assert new.last[2] == BAD, "and one without a measurement says nothing"
    assert new.window.tolist() == [1, 2, 1, 1]
    sketched = new.enroll(handles, cells, latency, at_ms, Policy(statistic="p95").rules)
    columns_equal(sketched, new.with_sketch(wanted=True))
    again = new.enroll(handles, cells, latency, at_ms, nodes.rules)
    columns_equal(again, new)
    nodes.health = new
    assert nodes.decide(after_s=1) == [(2, "unknown", "suspect", "some_bad")]
    assert nodes.states == ["unknown", "suspect", "unknown", "unknown"], "a bad sample makes no survivor"


def test_no_nodes_at_all():
    nodes = Range([])
    assert nodes.hear({}) == []
    assert [part.tolist() for part in live_survivors(nodes.health, nodes.rules)] == [[], []]
    assert nodes.health.find(np.array([3], np.uint32)).tolist() == [-1]
    columns_equal(Health.from_columns(nodes.health.to_columns()), nodes.health)
    assert (
        nodes.health.enroll(
            *(np.empty(0, kind) for kind in (np.uint32, np.uint64, float, np.int64)), nodes.rules
        ).state.size
        == 0
    )


def test_a_node_takes_at_most_200_bytes_at_any_time():
    """At its dearest: with the sketch of p95, a third as many regions as nodes, and all of them just turned."""
    found = dict(a_day(70_000))
    assert max(found.values()) <= 200, found


def test_thresholds_are_kept_whatever_came_before():
    """More of them than there is room for: those that no node has any more make room."""
    nodes = Range([3])
    for turn in range(20):
        first = np.arange(10_000, dtype=np.float64) + turn * 10_000
        for number in (first[0], math.nan, first[-1]):
            nodes.health.note(np.array([turn % 3]), np.array([1.0]), np.array([number]))
        table, numbers = numbered(nodes.health.thresholds, first, nodes.health.halves[:, kernels.THRESHOLD])
        assert table[numbers].tolist() == first.tolist()
        nodes.health.thresholds = table
    assert nodes.health.threshold.tolist() == [189_999.0, 199_999.0, 179_999.0]
    assert len(nodes.health.thresholds) <= NUMBERS_MAX
    table, numbers = numbered(NO_THRESHOLDS, np.arange(100_000.0), np.zeros(3, np.uint16))
    assert len(table) == NUMBERS_MAX
    assert np.count_nonzero(np.isnan(table[numbers])) == 100_000 - NUMBERS_MAX + 1
