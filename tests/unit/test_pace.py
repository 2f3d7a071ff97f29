"""Which shards are read for how long their stores take."""

from __future__ import annotations

import math

import pytest

from faultset_ray import codes
from faultset_ray.limits import KIB, MIB, TRY_READS, TRY_SECONDS
from faultset_ray.objects.pace import Pace, Wait, far_shards


def far(spec, goal, milliseconds, *, spread=0.0, nbytes=4 * KIB, cost=None):
    waits = {index: Wait(ms / 1000, spread / 1000) for index, ms in enumerate(milliseconds)}
    return far_shards(codes.get(spec), goal, waits, cost or dict.fromkeys(waits, 0.0), nbytes)


def test_others_are_read_where_they_come_sooner_by_more_than_decoding_takes():
    assert far("rs:2+2", [0, 1], [4, 4, 4, 4]) == set()
    assert far("rs:2+2", [0, 1], [4, 40, 4, 40]) == {1, 3}
    assert far("rs:2+2", [0, 1], [40, 40, 4, 4]) == {0, 1}
    assert far("rs:2+2", [0, 1], [40, 40, 4, 40]) == set(), "it would be waited for all the same"
    assert far("rs:2+2", [0, 1], [4.4, 4.4, 4, 4]) == set()
    assert far("rs:2+2", [0, 1], [40, 40, 36, 36], nbytes=8 * MIB) == set(), "decoding takes longer"
    assert far("rs:2+4", [0, 1], [80, 80, 20, 20, 4, 4]) == {0, 1, 2, 3}, "the nearest"
    assert far("rs:2+4", [1], [40, 40, 40, 4, 4, 40]) == {0, 1, 2, 5}, "for one row as well"


def test_a_difference_is_to_be_more_than_times_vary():
    assert far("rs:2+2", [0, 1], [10, 10, 4, 4], spread=4) == set()
    assert far("rs:2+2", [0, 1], [20, 10, 4, 4], spread=4) == {0}


def test_copies_cost_nothing_to_decode():
    assert far("copy:3", [0], [4.0, 3.9, 3.8]) == {0, 1}


def test_what_does_not_survive_is_not_counted_on():
    assert far("rs:2+2", [0, 1], [40, 40, math.inf, 4]) == set()


def test_a_code_with_groups_needs_fewer():
    assert far("lrc:4+2+2", [0], [40, 4, 40, 40, 4, 40, 40, 40]) == {0, 2, 3, 5, 6, 7}


def seconds(pace, away=0.0, nbytes=4 * KIB):
    return pace.waits({0: "s"}, {0: away}, nbytes)[0].seconds


def test_a_store_that_was_not_read_counts_by_how_far_it_is():
    pace = Pace()
    assert seconds(pace, 0.030) == pytest.approx(0.030)
    pace.waits({1: "near"}, {1: 0.001}, 4 * KIB)
    for at in range(20):
        pace.note("near", 4 * KIB, 0.006, float(at))
    assert seconds(pace, 0.030) == pytest.approx(0.035), "what is read takes 5 ms beside the way"
    pace.note("s", 4 * KIB, 0.100, 20.0)
    assert seconds(pace, 0.030) == pytest.approx(0.100)
    assert seconds(pace, 0.030, MIB) == pytest.approx(0.100), "more bytes take no less"
    assert seconds(pace, math.inf) == math.inf


def test_a_store_that_is_quick_again_counts_as_that_after_one_try():
    pace = Pace()
    for at in range(10):
        pace.note("s", 4 * KIB, 0.040, at / 10)
    assert seconds(pace) == pytest.approx(0.040)
    pace.note("s", 4 * KIB, 0.004, 1.1)
    assert seconds(pace) > 0.020, "one of many"
    pace.note("s", 4 * KIB, 0.004, 1.2 + TRY_SECONDS, tried=True)
    assert seconds(pace) == pytest.approx(0.004)


def test_what_did_not_come_is_no_sign_that_times_vary():
    pace = Pace()
    pace.note("s", 4 * KIB, 0.25, 1.0, answered=False)
    assert pace.waits({0: "s"}, {0: 0.0}, 4 * KIB)[0] == Wait(1.0, 0.0)
    pace.note("s", 4 * KIB, 0.1, 1.1, answered=False)
    assert pace.waits({0: "s"}, {0: 0.0}, 4 * KIB)[0] == Wait(1.0, 0.0), "no less than before"


def test_what_was_given_up_soon_says_nothing_of_a_store():
    pace = Pace()
    pace.note("s", KIB, 0.040, 0.0)
    pace.note("s", KIB, 0.005, 0.5 + TRY_SECONDS, answered=False)
    pace.asked(TRY_READS)
    assert pace.to_try({4: "s"}, KIB, 1.0 + TRY_SECONDS) == 4, "it was not seen since"


def test_stores_are_tried_in_turn_and_seldom():
    pace, spared = Pace(), {4: "a", 5: "b"}
    assert pace.to_try(spared, KIB, 0.0) is None
    tried = []
    for at in range(100):
        pace.asked(4)
        tried.append(pace.to_try(spared, KIB, at / 10))
    expected = [None] * 100
    every = TRY_READS // 4
    expected[every - 1], expected[2 * every - 1] = 4, 5
    expected[every - 1 + int(10 * TRY_SECONDS)], expected[2 * every - 1 + int(10 * TRY_SECONDS)] = 4, 5
    assert tried == expected
    pace.note("a", KIB, 0.001, 100.0)
    pace.asked(TRY_READS)
    assert pace.to_try({4: "a"}, KIB, 101.0) is None, "it was read"
    assert pace.to_try({4: "a"}, MIB, 101.0) == 4, "but nothing as large"
    assert pace.tries == 5
