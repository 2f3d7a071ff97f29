"""Segments of columns where they belong: as a loop puts them there, one by one."""

import numpy as np
import pytest
from naive import segments

from faultset_ray.kernels.segments import place_segments


@pytest.mark.parametrize("seed", range(20))
def test_as_one_by_one(seed):
    dice = np.random.default_rng(seed)
    counts = dice.integers(0, 5, dice.integers(0, 40))
    taken = np.minimum(counts, dice.integers(0, 6, len(counts)))
    pool = dice.integers(0, 1 << 32, counts.sum(), np.uint32)
    pool.flags.writeable = seed % 2 > 0  # as what Ray brings is not
    gaps = dice.integers(0, 3, len(counts))
    order = dice.permutation(len(counts))
    to = np.empty(len(counts), np.int64)
    to[order] = np.cumsum((taken + gaps)[order]) - taken[order]
    found, expected = (np.zeros(int((taken + gaps).sum()) + 1, np.uint32) for _ in range(2))
    place_segments(pool, counts, taken, to, found)
    segments.place_segments(pool.tolist(), counts.tolist(), taken.tolist(), to.tolist(), expected)
    assert found.tolist() == expected.tolist()
