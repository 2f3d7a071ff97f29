"""Who is there: the vote of those who measured a place, and who measures whom."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultset_ray.backend.protocol import Place
from faultset_ray.control.prober import (
    HERE,
    NOWHERE,
    Trip,
    Votes,
    node_of,
    observers_of,
    peers_of,
    stretched,
)

NOW, WINDOW = 100.0, 5.0


def votes(target, reports, also_reached=True):
    """``reports``: round trip or None by source; each source reached another place too, unless not."""
    made = Votes()
    for source, rtt_ms in reports.items():
        made.add(source, target, Trip(NOW - 1, rtt_ms))
        if also_reached:
            made.add(source, "another", Trip(NOW - 1, 1.0))
    return made


@pytest.mark.parametrize(
    ("reports", "reached"),
    [
        ({HERE: 1.0}, True),
        ({HERE: None}, False),
        ({HERE: None, "a": 1.0, "b": 2.0}, True),
        ({HERE: None, "a": 1.0, "b": None}, False),
        ({HERE: 1.0, "a": None}, True),
        ({HERE: None, "a": 1.0}, True),
        ({"a": 1.0, "b": None}, True),
        ({HERE: None, "a": None, "b": 1.0}, False),
        ({HERE: 1.0, "a": None, "b": None}, False),
        ({HERE: 1.0, "a": None, "b": None, "c": 3.0}, True),
    ],
)
def test_a_place_is_lost_when_more_missed_it_than_reached_it(reports, reached):
    finding = votes("p", reports).judge("p", 0.0, NOW, WINDOW)
    assert finding.reached is reached
    assert np.isnan(finding.latency_ms) == (not reached)


def test_who_reaches_nobody_has_no_vote():
    lonely = votes("p", {"a": None, "b": None}, also_reached=False)
    assert lonely.judge("p", 0.0, NOW, WINDOW) is None
    lonely.add(HERE, "p", Trip(NOW, 4.0))
    assert lonely.judge("p", 0.0, NOW, WINDOW) == (True, 4.0), "a firewall between places: the driver's word alone"


def test_what_was_measured_before_counts_no_more():
    made = votes("p", {HERE: 1.0, "a": 1.0, "b": 1.0})
    made.add(HERE, "p", Trip(NOW, None))
    assert made.judge("p", since_s=NOW, now_s=NOW, window_s=WINDOW).reached is False, (
        "what others saw before that says nothing"
    )
    assert made.judge("p", since_s=0.0, now_s=NOW, window_s=WINDOW).reached is True
    assert made.judge("p", since_s=0.0, now_s=NOW + 6.0, window_s=WINDOW) is None, "and all of it is old at last"


def test_the_latency_is_the_median_of_the_places_and_remembered():
    made = votes("p", {HERE: 50.0, "a": 1.0, "b": 7.0, "c": 3.0})
    assert made.judge("p", 0.0, NOW, WINDOW) == (True, 3.0)
    made.add(HERE, "p", Trip(NOW + 20, 60.0))
    assert made.judge("p", 0.0, NOW + 20, WINDOW) == (True, 3.0)
    made.add(HERE, "p", Trip(NOW + 70, 60.0))
    assert made.judge("p", 0.0, NOW + 70, WINDOW) == (True, 60.0)


def test_a_place_that_went_is_forgotten():
    made = votes("p", {HERE: 1.0, "a": 1.0})
    made.add("p", "a", Trip(NOW, 1.0))
    made.forget("p")
    assert made.judge("p", 0.0, NOW, WINDOW) is None
    assert "p" not in {name for source, target, _ in made.table() for name in (source, target)}


@given(st.integers(1, 12), st.integers(1, 5))
def test_every_pair_is_surveyed_equally_often(count, most):
    places = [f"p{number:02d}" for number in range(count)]
    pairs = Counter(
        (place, peer)
        for turn in range(max(count - 1, 1))
        for place in places
        for peer in peers_of(place, places, turn, most)
    )
    assert len(pairs) == count * (count - 1)
    assert len(set(pairs.values())) <= 1
    assert all(len(peers_of(place, places, 3, most)) == min(most, count - 1) for place in places)


def test_a_target_keeps_its_observers():
    places = [f"p{number}" for number in range(20)]
    load = Counter()
    for number in range(400):
        target = f"t{number}"
        first, second = observers_of(target, places, 2)
        load[first] += 1
        assert observers_of(target, places[::-1], 1) == [first]
        assert observers_of(target, [place for place in places if place != first], 1) == [second]
        assert observers_of(target, [place for place in places if place != second], 1) == [first]
    assert len(load) == 20
    assert max(load.values()) < 3 * min(load.values()), load


def test_the_rate_is_a_bound():
    assert stretched(0.2, rate=100.0, demand=50.0) == 0.2
    assert stretched(0.2, rate=100.0, demand=400.0) == pytest.approx(0.8)


def test_places_are_nodes_where_their_cell_says(caplog):
    labelled = node_of(Place("a", {"faultset.io/cell": "u33d"}), 7.0)
    bare = node_of(Place("b", {"faultset.io/region": "rack-1"}), np.nan)
    wrong = node_of(Place("c", {"faultset.io/cell": "atlantis"}), np.nan)
    assert (round(labelled.lat), round(labelled.lon)) == (52, 14)
    assert (bare.lat, bare.lon) == (wrong.lat, wrong.lon) == NOWHERE
    assert (labelled.id, labelled.latency_ms) == ("a", 7.0)
    assert "atlantis" in caplog.text
