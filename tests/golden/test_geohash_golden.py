"""Geohashes that pygeohash 3.5 gave (tests/golden/geohash/make.py), frozen."""

import csv
from pathlib import Path

import numpy as np
import pytest

from faultset_ray import geohash

with (Path(__file__).parent / "geohash" / "cases.csv").open() as file:
    CASES = [(float.fromhex(lat), float.fromhex(lon), text) for lat, lon, text in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("precision", range(1, 13))
def test_cells_are_spelt_as_ever(precision):
    lat, lon, texts = zip(*CASES, strict=True)
    cells = geohash.encode_many(np.array(lat), np.array(lon), precision)
    assert geohash.cells_to_strings(cells).tolist() == [text[:precision] for text in texts]


def test_one_by_one():
    for lat, lon, text in CASES:
        assert geohash.encode(lat, lon, 12) == text


def test_the_bits_of_a_cell():
    """The number itself goes over wires and onto disks: u4pruydqqvj is the example of the geohash article."""
    morton55 = 0
    for letter in "u4pruydqqvj":
        morton55 = morton55 << 5 | geohash.BASE32.index(letter)
    (cell,) = geohash.encode_many([57.64911], [10.40744], 11).tolist()
    assert cell == morton55 << 9 | 11
