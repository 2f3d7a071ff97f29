"""Blocks that are read together come apart as they were."""

import numpy as np
import pytest

from faultset_ray.errors import ShardNotFound
from faultset_ray.objects.store_values import Blocks

LOST = ShardNotFound("store", "ab", 1)


def block(nbytes, granules):
    dice = np.random.default_rng(nbytes)
    return dice.integers(0, 256, nbytes, np.uint8), dice.integers(0, 256, (granules, 4), np.uint8)


@pytest.mark.parametrize(
    "read",
    [[], [LOST], [block(64, 1)], [block(100, 2), LOST, block(64, 1), block(1, 1), LOST], [LOST, block(7, 3)]],
    ids=len,
)
def test_together_and_apart(read):
    together = Blocks.of(read)
    assert together.data.size == sum(each[0].size for each in read if each is not LOST)
    parts = together.split()
    assert len(parts) == len(read)
    for part, each in zip(parts, read, strict=True):
        if each is LOST:
            assert part is LOST
        else:
            assert all(np.array_equal(got, given) for got, given in zip(part, each, strict=True))


def test_one_block_is_not_copied():
    alone = block(4096, 1)
    assert Blocks.of([alone]).data is alone[0]
