"""Bulk geohash of 1,000,000 points, beside a loop of pygeohash."""

import pytest
from peers import points, pygeohash_loop

from faultset_ray import geohash

COUNT = 1_000_000


@pytest.mark.parametrize("precision", [6, 12])
def test_encode_many(benchmark, precision):
    benchmark.group = f"geohash of {COUNT:,} at precision {precision}"
    benchmark.pedantic(geohash.encode_many, setup=lambda: ((*points(COUNT), precision), {}), rounds=50, warmup_rounds=2)


@pytest.mark.parametrize("precision", [6, 12])
def test_pygeohash(benchmark, precision):
    benchmark.group = f"geohash of {COUNT:,} at precision {precision}"

    def setup():
        lat, lon = points(COUNT)
        return (lat.tolist(), lon.tolist(), precision), {}

    benchmark.pedantic(pygeohash_loop, setup=setup, rounds=3)


def test_cells_to_strings(benchmark):
    benchmark.group = f"cells of {COUNT:,}"
    setup = lambda: ((geohash.encode_many(*points(COUNT), 6),), {})  # noqa: E731
    benchmark.pedantic(geohash.cells_to_strings, setup=setup, rounds=10, warmup_rounds=1)


def test_group(benchmark):
    benchmark.group = f"cells of {COUNT:,}"
    setup = lambda: ((geohash.encode_many(*points(COUNT), 3),), {})  # noqa: E731
    benchmark.pedantic(geohash.group, setup=setup, rounds=10, warmup_rounds=1)
