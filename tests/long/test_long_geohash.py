"""Cells are bit-identical with pygeohash, at random places and one ulp around cell edges."""

import numpy as np
import pygeohash
import pytest

from faultset_ray import geohash

BATCH = 100_000

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def around_edges(rng: np.random.Generator, span: float, bits: int, count: int) -> np.ndarray:
    """Coordinates on the edges of cells of ``bits`` bits, and one ulp to either side."""
    edge = rng.integers(0, 2**bits, count, endpoint=True) * (2 * span / 2**bits) - span
    beside = np.nextafter(edge, rng.choice([-np.inf, np.inf], count))
    return np.clip(np.where(rng.random(count) < 0.5, edge, beside), -span, span)


def test_long_geohash(large):
    count = large.count(6_000_000)
    rng = np.random.default_rng(large.seed)
    for start in range(0, count, BATCH):
        precision = int(rng.integers(1, 13))
        half = min(BATCH, count - start) // 2
        lat = np.concatenate([rng.uniform(-90, 90, half), around_edges(rng, 90.0, 5 * precision // 2, half)])
        lon = np.concatenate([rng.uniform(-180, 180, half), around_edges(rng, 180.0, (5 * precision + 1) // 2, half)])
        found = geohash.cells_to_strings(geohash.encode_many(lat, lon, precision))
        expected = [pygeohash.encode(y, x, precision) for y, x in zip(lat.tolist(), lon.tolist(), strict=True)]
        assert found.tolist() == expected
