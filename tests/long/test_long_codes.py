"""Any k of n shards give the data back, for random codes, sizes and losses."""

import numpy as np
import pytest

from faultset_ray import codes

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def test_long_codes(large):
    rng = np.random.default_rng(large.seed)
    for _ in range(large.count(200_000)):
        k = int(rng.integers(1, 17))
        m = int(rng.integers(1, 9))
        code = codes.get(f"rs:{k}+{m}")
        data = rng.integers(0, 256, (k, int(rng.integers(0, 200))), dtype=np.uint8)
        rows = [*data, *code.encode(data)]
        kept = rng.choice(k + m, k, replace=False)
        assert np.array_equal(code.decode({int(i): rows[i] for i in kept}), data)
