"""Where values are in a sorted column."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultset_ray.kernels.find import find, index_of

handles = st.integers(0, 2**32 - 1) | st.integers(0, 50) | st.integers(2**32 - 20, 2**32 - 1)


@given(st.sets(handles), st.lists(handles))
def test_every_value_is_found_where_it_is(column, others):
    column = np.array(sorted(column), np.uint32)
    sought = np.array([*column.tolist(), *others], np.uint32)
    expected = [column.tolist().index(value) if value in column else -1 for value in sought.tolist()]
    assert find(column, sought, *index_of(column)).tolist() == expected


@pytest.mark.parametrize("top", [0, 1, 1_000, 2**31, 2**32 - 1])
def test_the_table_is_small(top):
    """However the values are spread, so that its memory is bounded."""
    column = np.unique(np.array([*range(1000), top], np.uint32))
    starts, _ = index_of(column)
    assert len(starts) <= len(column) / 2 + 3
