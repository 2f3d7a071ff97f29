"""Packing: which places are filled up first, and which servants move so that places become empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultset_ray.backend.protocol import LABEL_ELASTIC, At, Load, Place
from faultset_ray.backend.spread import choose_place, to_pack_onto
from faultset_ray.control.packing import plan_packing

CPUS = 0.1


def load(name, ranges=0, *, cpus=1.0, busy=0.0, fixed=(), others=0, stays=False, draining=False):
    """A place with so many ranges of 0.1 CPUs, and tasks that keep ``busy`` CPUs."""
    servants = frozenset({f"{name}-{number}" for number in range(ranges)} | set(fixed))
    labels = {} if stays else {LABEL_ELASTIC: "true"}
    return Load(Place(name, labels, cpus, draining), cpus - busy - CPUS * ranges, servants, others)


def movable(loads):
    return {name: CPUS for each in loads for name in each.servants if name.startswith(f"{each.place.id}-")}


def plan(*loads):
    return plan_packing(loads, movable(loads))


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ([load("a"), load("b", 1)], "b"),
        ([load("a", 3), load("b", 1), load("c", stays=True)], "c"),
        ([load("a", 10), load("b", 1)], "b"),
        ([load("a", 2, draining=True), load("b")], "b"),
        ([load("a", 1), load("b", others=2)], "b"),
        ([load("a", 1), load("b", 1)], "a"),
        ([load("a", 10), load("b", busy=1.0)], None),
    ],
)
def test_what_is_packed_goes_where_something_is_and_room(loads, chosen):
    found = to_pack_onto(loads, CPUS)
    assert (found and found.place.id) == chosen


def test_in_process_backends_pack_and_spread():
    loads = [load("a"), load("b", 2), load("c")]
    assert choose_place("x", At(cpus=CPUS), loads) == "a"
    assert choose_place("x", At(cpus=CPUS, pack=True), loads) == "b"
    assert choose_place("x", At(cpus=0.9, pack=True), loads) == "a"
    assert choose_place("x", At(cpus=2.0, pack=True), loads) == "a", "with room nowhere it is spread, and not refused"


def test_the_emptiest_places_are_emptied_onto_the_fullest():
    assert plan(load("a", 4), load("b", 1), load("c", 2)) == {"b-0": "a", "c-0": "a", "c-1": "a"}


def test_ranges_move_to_places_that_stay_anyhow():
    assert plan(load("a", 4), load("s", stays=True), load("t", 1, stays=True)) == {f"a-{n}": "t" for n in range(4)}


def test_a_cluster_whose_places_stay_is_left_as_it_is():
    assert plan(load("a", 4, stays=True), load("b", 1, stays=True)) == {}


def test_a_place_is_emptied_wholly_or_not_at_all():
    assert plan(load("a", 8), load("b", 3)) == {}
    assert plan(load("a", 8), load("b", 3), load("c", 3)) == {"c-0": "a", "c-1": "a", "c-2": "b"}


def test_places_with_tasks_or_foreign_servants_are_filled_not_emptied():
    assert plan(load("a", 1, busy=0.5), load("b", 3)) == {f"b-{n}": "a" for n in range(3)}
    assert plan(load("a", 1, others=1), load("b", 3)) == {f"b-{n}": "a" for n in range(3)}
    assert plan(load("a", 1, fixed=["coordinator"]), load("b", 3)) == {f"b-{n}": "a" for n in range(3)}


def test_nothing_moves_to_an_empty_place_but_from_a_drained_one():
    assert plan(load("a"), load("b", 1)) == {}
    assert plan(load("a"), load("b", 2, draining=True)) == {"b-0": "a", "b-1": "a"}
    assert plan(load("a"), load("b", 1, draining=True, fixed=["store"]), load("c", 1)) == {"b-0": "c"}


places = st.lists(
    st.tuples(
        st.integers(0, 10),
        st.sampled_from([0.0, 0.0, 0.0, 0.5]),
        st.integers(0, 1),
        st.booleans(),
        st.sampled_from([False] * 4 + [True]),
    ),
    min_size=1,
    max_size=8,
)


@given(places)
def test_plans_keep_their_promises_and_come_to_an_end(drawn):
    loads = [
        load(f"p{index}", ranges, cpus=2.0, busy=busy, others=others, stays=stays, draining=draining)
        for index, (ranges, busy, others, stays, draining) in enumerate(drawn)
    ]
    ours = movable(loads)
    for _ in range(len(loads) + 1):
        moves = plan_packing(loads, ours)
        if not moves:
            return
        at = {each.place.id: each for each in loads}
        sources = [each for each in loads if each.servants & moves.keys()]
        assert all(each.servants <= moves.keys() for each in sources), "wholly or not at all"
        assert not any(at[target].place.draining for target in moves.values())
        assert not {each.place.id for each in sources} & set(moves.values()), "what is emptied stays empty"
        if not any(each.place.draining for each in sources):
            assert not any(is_kept(each) for each in sources)
            assert all(is_kept(at[target]) or at[target].servants for target in moves.values())
        loads = moved(loads, moves)
        assert sorted(name for each in loads for name in each.servants) == sorted(ours), "none lost, none doubled"
        assert all(each.free_cpus > -1e-6 for each in loads)
    pytest.fail("the plans go on for ever")


def is_kept(each):
    """Whether the place would not become empty without its ranges, or stays although it is empty."""
    busy = each.free_cpus + CPUS * len(each.servants) < each.place.cpus - 1e-6
    return busy or each.others > 0 or not each.place.elastic


def moved(loads, moves):
    after = []
    for each in loads:
        stay = {name for name in each.servants if name not in moves}
        come = {name for name, place in moves.items() if place == each.place.id}
        free = each.free_cpus + CPUS * (len(each.servants) - len(stay) - len(come))
        after.append(Load(each.place, free, frozenset(stay | come), each.others))
    return after
