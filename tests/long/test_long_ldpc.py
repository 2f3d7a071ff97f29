"""LDPC-Staircase: how many symbols above k random receptions need, and whole objects of 12,000 shards."""

import random
import time
import tracemalloc

import numpy as np
import pytest

from faultset_ray import codes, pack_shards, unpack_shards

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def needed(code, order):
    """The fewest first symbols of ``order`` that give the data."""
    low, high = code.k, code.n
    while low < high:
        middle = (low + high) // 2 if high < code.n else min(low + 4, (low + high) // 2)
        known = np.zeros(code.n, dtype=np.bool_)
        known[order[:middle]] = True
        _, found = code.checks.solve(known)
        if found[: code.k].all():
            high = middle
        else:
            low = middle + 1
    return low


def test_long_ldpc(large):
    code = codes.get("ldpc:1000+500")
    rng = np.random.default_rng(large.seed)
    extra = np.array([needed(code, rng.permutation(code.n)) - code.k for _ in range(large.count(2_000))])
    assert (extra > 10).mean() <= 0.01
    assert (extra > 20).mean() <= 0.001
    assert extra.mean() / code.k <= 0.005


@pytest.mark.parametrize("lost", [200, 3_000, 3_800])
def test_long_ldpc_object(large, lost):
    """What decoding an object takes is of the order of what the code itself takes for its stripe."""
    code = codes.get("ldpc:8000+4000")
    chance = random.Random(large.seed)
    data = chance.randbytes(8_000 * 64)
    shards = pack_shards(data, code)
    left = chance.sample(range(code.n), code.n - lost)
    begin = time.process_time()
    code.decode({index: np.zeros(64, dtype=np.uint8) for index in left})
    alone = time.process_time() - begin
    begin = time.process_time()
    assert unpack_shards([shards[index] for index in left]) == data
    whole = time.process_time() - begin
    lost_data = sorted(set(range(code.k)).difference(left))
    tracemalloc.start()  # apart: it takes many times as long
    code.reads(lost_data, left[:-1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole < 12 * alone + 3, f"{whole:.2f} s in place of some {alone:.2f}"
    assert peak < 200 << 20
