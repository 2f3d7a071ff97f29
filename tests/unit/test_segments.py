"""Segments in another order: as a loop puts them there, one by one."""

import numpy as np
import pytest
from naive import segments

from faultset_ray.kernels.segments import reorder_segments


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
@pytest.mark.parametrize("seed", range(20))
def test_as_one_by_one(seed, dtype):
    dice = np.random.default_rng(seed)
    counts = dice.integers(0, 5, dice.integers(0, 40)).astype(dtype)
    pool = dice.integers(0, 1 << 32, counts.sum(), np.uint32)
    pool.flags.writeable = seed % 2 > 0  # as what Ray brings is not
    order = dice.permutation(len(counts)).astype(np.uint32)
    starts, out = reorder_segments(pool, counts, order)
    assert (starts.dtype, out.dtype) == (np.int64, np.uint32)
    assert (starts.tolist(), out.tolist()) == segments.reorder_segments(pool.tolist(), counts.tolist(), order.tolist())
