"""Ranges of cells: they cover every cell once, and are about as large as each other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from faultset_ray.control.ranges import plan_bounds, range_of

crowds = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 200)), min_size=1, max_size=30)


def cells_of(crowd):
    return np.concatenate([np.full(count, cell, np.uint64) for cell, count in crowd])


@given(crowds, st.integers(1, 12))
def test_every_cell_has_one_range_and_none_is_much_too_large(crowd, ranges_max):
    cells = cells_of(crowd)
    bounds = plan_bounds(cells, ranges_max)
    assert bounds.dtype == np.uint64
    assert bounds[0] == 0
    assert (np.diff(bounds.astype(object)) > 0).all()
    _, cell_nodes = np.unique(cells, return_counts=True)
    assert len(bounds) <= min(ranges_max, len(cell_nodes))
    range_nodes = np.bincount(range_of(bounds, cells), minlength=len(bounds))
    assert range_nodes.min() >= 1
    assert range_nodes.max() <= len(cells) / ranges_max + cell_nodes.max()


@given(crowds, st.integers(0, 5))
def test_few_cells_have_a_range_each(crowd, spare):
    occupied = np.unique(cells_of(crowd))
    bounds = plan_bounds(cells_of(crowd), len(occupied) + spare)
    assert range_of(bounds, occupied).tolist() == list(range(len(occupied)))


@given(crowds, st.integers(1, 12), st.integers(0, 2**64 - 1))
def test_a_cell_that_was_empty_has_a_range_too(crowd, ranges_max, cell):
    bounds = plan_bounds(cells_of(crowd), ranges_max)
    index = int(range_of(bounds, np.array([cell], np.uint64))[0])
    assert int(bounds[index]) <= cell
    assert index == len(bounds) - 1 or cell < int(bounds[index + 1])


def test_most_nodes_in_the_last_cell():
    assert plan_bounds(np.array([16, 32] + [48] * 100, np.uint64), 2).tolist() == [0, 48]
