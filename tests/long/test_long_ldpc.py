"""LDPC-Staircase, k = 1000, n = 1500: how many symbols above k random receptions need."""

import numpy as np
import pytest

from faultset_ray import codes

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
