"""The whole pipeline equals the naive one on random fleets: crowded cells, ties, gaps, edges of the threshold."""

import numpy as np
import pytest
from naive.failover import faultset as naive_faultset

import faultset_ray as fs

EDGE_MS = 50.0
LATENCIES_MS = (0.0, 10.0, EDGE_MS, np.nextafter(EDGE_MS, 51), 99.0, np.inf, np.nan)

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def test_long_failover(large):
    rng = np.random.default_rng(large.seed)
    for _ in range(large.count(100_000)):
        n = int(rng.integers(1, 17))
        lat, lon = rng.uniform(-90, 90, n), rng.uniform(-180, 180, n)
        crowd = rng.random(n) < 0.7
        lat[crowd], lon[crowd] = lat[0], lon[0]
        latency_ms = rng.choice(LATENCIES_MS, n)
        nodes = list(zip((f"n{i}" for i in range(n)), lat.tolist(), lon.tolist(), latency_ms.tolist(), strict=True))
        threshold = float(rng.choice([0.0, EDGE_MS, 1000.0, np.inf]))
        precision = int(rng.integers(1, 9))
        expected = naive_faultset(nodes, threshold, precision)
        if expected:
            assert fs.faultset(nodes, threshold, precision) == expected
        else:
            with pytest.raises(fs.errors.NoSurvivorsError):
                fs.faultset(nodes, threshold, precision)
