"""What objects need when stores are away, damaged or leaving, and where it goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.needs import Needs, margin, mending, need_of
from faultset_ray.objects.record import Record
from faultset_ray.objects.sites import Site

GIB = 1 << 30


def entry(layout, spec="rs:4+2", name="a", created_ms=1):
    k, m = map(int, spec.split(":")[1].split("+"))
    full = "rs:4+2,matrix=cauchy" if spec == "rs:4+2" else spec
    record = Record("put", name, 7, bytes(16), 100, bytes(32), full, k, k + m, 64, m, created_ms, "fsync")
    return Entry(record, tuple(layout), 0)


def sites(names, *, free=GIB, draining=()):
    return [Site(name, f"p-{name}", f"r-{name}", GIB, free, name in draining) for name in names]


def test_an_object_that_stands_as_promised_needs_nothing():
    assert need_of(entry("abcdef"), away={"g"}, leaving={"h"}) is None
    assert margin(entry("abcdef")) == 2


def test_what_is_lost_and_what_is_leaving():
    need = need_of(entry("abcdef"), away={"a"}, leaving={"b"}, damaged={5})
    assert (need.lost, need.leaving, need.margin) == (frozenset({0, 5}), frozenset({1}), -1)
    assert need_of(entry(["a", "", "c", "d", "e", "f"]), away=()).lost == {1}


def test_the_least_margin_first_and_of_those_the_oldest():
    young, old, risky = (
        entry("abcdef", created_ms=9, name="young"),
        entry("abcdef", created_ms=3, name="old"),
        entry("axcdef", created_ms=99, name="risky"),
    )
    needs = [need_of(each, away={"a", "x"}) for each in (young, old, risky)]
    names = [need.entry.record.name for need in sorted(needs, key=lambda need: need.urgency)]
    assert names == ["risky", "old", "young"]
    assert sorted(need.margin for need in needs) == [0, 1, 1]


def test_all_needs_are_counted_and_the_most_urgent_kept():
    """However many there are, and in whatever order they come; those beyond mending take no place of the others."""
    needs, found = [], Needs(keep=5, names=3)
    for number in range(300):
        each = entry(("axydef", "axcdeg", "abcdeg")[number % 3], name=f"o{number:03}", created_ms=1000 - number)
        needs.append(need_of(each, away={"a", "x", "y"}, leaving={"f", "g"}))
        found.add(needs[-1])
    assert found.margins == Counter(need.margin for need in needs)
    assert len(found.margins) == 2
    assert (found.count, found.leaving) == (300, 300)
    lost = sorted(need.entry.record.name for need in needs if need.margin < 0)
    assert found.lost == lost[:3]
    ranked = sorted(needs, key=lambda need: need.urgency)
    beyond, others = ([need for need in ranked if (need.margin < 0) == is_beyond][:5] for is_beyond in (True, False))
    assert found.first == [*beyond, *others]
    found.add(replace(needs[0], margin=-1, lost=frozenset(range(6))), keep=False)
    assert (found.count, found.first) == (301, [*beyond, *others])


def test_only_what_is_lost_moves():
    need = need_of(entry("abcdef"), away={"a"}, leaving={"c"})
    targets = mending(need, sites("bcdefgh", draining="c"), 1000)
    assert set(targets) == {0, 2}
    assert set(targets.values()) == {"g", "h"}


def test_a_store_that_is_away_but_not_given_up_keeps_its_shards_and_gets_none():
    need = need_of(entry("abcdef"), away={"a"})
    waiting = Site("b", "p-b", "r-b", GIB, 0)
    assert mending(need, [*sites("cdefg"), waiting], 1000) == {0: "g"}


def test_a_damaged_shard_may_be_made_again_where_it_was():
    need = need_of(entry("abcdef"), (), (), damaged={3})
    assert mending(need, sites("abcdef"), 1000) == {3: "d"}


def test_where_no_move_makes_it_safer_none_is_made():
    need = need_of(entry("abcdef"), away={"a"})
    assert mending(need, sites("bcdef"), 1000) == {}
    with pytest.raises(NotEnoughPlaces) as caught:
        mending(need, sites("bcdef"), 1000, promised=True)
    assert (caught.value.have, caught.value.need) == (5, 6)


def test_what_makes_it_safer_is_done_though_the_promise_can_not_be_kept():
    need = need_of(entry("abcdef"), away={"a", "b"})
    targets = mending(need, sites("cdefg"), 1000)
    assert set(targets) == {0, 1}
    assert need.margin == 0
    moved = ["?"] * 6
    for index, store in {**dict(enumerate("abcdef")), **targets}.items():
        moved[index] = store
    assert margin(entry(moved)) == 1
