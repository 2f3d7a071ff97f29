"""Numbering cells by a hash table against sorting, and the survivors that come of it."""

import gc
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from faultset_ray.kernels import number
from faultset_ray.kernels import objects as kernel_objects
from faultset_ray.kernels.group import _unique, group_cells
from faultset_ray.kernels.jit import HAVE_NUMBA
from faultset_ray.kernels.objects import pick, pick_list
from faultset_ray.kernels.select import select_grouped, select_numbered

compiled = pytest.mark.skipif(not HAVE_NUMBA, reason="nothing is compiled")


def same(cells):
    expected = _unique(cells)
    groups = group_cells(cells)
    for mine, theirs in zip(groups, expected, strict=True):
        assert np.array_equal(mine, theirs)
    numbered = number.number_cells(cells)
    if numbered is not None:
        assert np.array_equal(numbered.cells, expected.cells)
        assert np.array_equal(numbered.cells[numbered.number], cells)
    return expected, numbered


@given(arrays.arrays(np.uint64, st.integers(0, 200), elements=st.integers(0, 40) | st.integers(0, 2**64 - 1)))
def test_numbers_follow_first_appearance(cells):
    same(cells)


@pytest.mark.parametrize("distinct", [1, 2, 65_535, 65_536, 65_537, 150_000])
def test_up_to_the_most_cells_and_beyond(distinct):
    chance = np.random.default_rng(distinct)
    pool = chance.integers(0, 2**64, distinct, dtype=np.uint64)
    cells = np.concatenate([pool, pool[chance.integers(0, distinct, 100_000)]])
    _, numbered = same(cells)
    assert (numbered is not None) == (HAVE_NUMBA and distinct <= 65_536)


@compiled
@pytest.mark.parametrize("width", [1, 3, 15, 16, 17])
@pytest.mark.parametrize("shift", [0, 7, 47])
@pytest.mark.parametrize("count", [5, 100_000])
def test_cells_that_differ_in_few_bits(width, shift, count):
    chance = np.random.default_rng(width)
    low = chance.integers(0, 2**64, dtype=np.uint64)
    cells = low ^ (chance.integers(0, 1 << width, count, dtype=np.uint64) << np.uint64(shift))
    cells[:2] = low, low ^ np.uint64((1 << width) - 1 << shift)  # whatever chance says, all of them differ
    same(cells)


@compiled
def test_cells_that_were_chosen_to_collide_are_sorted():
    """All of them hash to slot 0; a table would take a quadratic time."""
    inverse = pow(int(number.GOLDEN), -1, 1 << 64)
    cells = np.array([inverse * low % (1 << 64) for low in range(20_000)], np.uint64)
    assert number.number_cells(cells) is None
    same(cells)


@compiled
@given(st.data())
def test_survivors_are_those_of_groups(data):
    cells = data.draw(arrays.arrays(np.uint64, st.integers(1, 100), elements=st.integers(0, 9)))
    values = st.sampled_from([0.0, -0.0, 1.0, 1.5, np.nextafter(1.5, 2), 1e300, 5e-324, np.inf, np.nan])
    latency = data.draw(arrays.arrays(np.float64, len(cells), elements=values))
    threshold = data.draw(st.sampled_from([0.0, 1.5, 1e308, np.inf]))
    groups, numbered = same(cells)
    expected, _ = select_grouped(latency, groups.order, groups.starts, threshold)
    found = select_numbered(latency, numbered.number, len(numbered.cells), threshold)
    assert np.array_equal(found, expected)


@compiled
def test_latencies_that_hardly_differ_are_in_exact_order():
    """So many agree in the bits that go into a key that the survivors are sorted anew."""
    chance = np.random.default_rng(3)
    latency = 1.0 + chance.integers(0, 1 << 20, 200_000) * np.finfo(float).eps
    latency[0] = 1e-300
    cells = chance.integers(0, 3, 200_000).astype(np.uint64)
    groups, numbered = same(cells)
    expected, _ = select_grouped(latency, groups.order, groups.starts, 2.0)
    assert np.array_equal(select_numbered(latency, numbered.number, len(numbered.cells), 2.0), expected)


def scattered(count):
    """Texts that do not lie in the order of their array."""
    objects = np.array([f"text-{i}" for i in range(count)], object)
    return objects[np.random.default_rng(5).permutation(count)]


@pytest.mark.parametrize(
    "made",
    [
        lambda count: np.array(sorted((f"text-{i}" for i in range(count)), key=id), object),
        scattered,
        lambda count: np.array([None if i % 3 else [i] for i in range(count)] + [0], object)[:-1],
    ],
    ids=["in order", "scattered", "what a collection of garbage looks at"],
)
def test_objects_are_picked_whole(made):
    """References move, counts are raised: as numpy does it, for few and for many, in any order, twice too."""
    chance = np.random.default_rng(4)
    for count, picked in ((0, 0), (100, 3), (100, 90), (70_000, 0), (70_000, 9), (70_000, 40_000), (70_000, 90_000)):
        objects = made(count)
        drawn = [chance.integers(0, max(count, 1), picked)]
        if picked <= count:
            drawn += [chance.permutation(count)[:picked], np.sort(chance.permutation(count)[:picked])]
        for indices in (each.astype(kind) for each in drawn for kind in (np.int64, np.uint32)):
            before = [sys.getrefcount(each) for each in objects if each is not None]
            expected = [objects[i] for i in indices.tolist()]
            array, listed = pick(objects, indices), pick_list(objects, indices)
            assert array.tolist() == listed == expected
            assert array.base is None
            assert pick_list(objects[::-1], indices) == objects[::-1][indices].tolist()
            listed.append(None)
            listed.sort(key=id)  # a list as any other
            gc.collect()
            del expected, array, listed
            assert [sys.getrefcount(each) for each in objects if each is not None] == before


@compiled
def test_what_lies_in_order_is_known():
    texts = [f"text-{i}" for i in range(70_000)]  # where freed memory is used again they are in no order
    assert kernel_objects._lie_in_order(np.array(sorted(texts, key=id), object))
    assert not kernel_objects._lie_in_order(scattered(70_000))
    assert kernel_objects._ITEMS > 0, "CPython's lists are as they were"
