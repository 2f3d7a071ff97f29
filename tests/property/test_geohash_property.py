"""geohash against pygeohash and against halving intervals of fractions."""

import math

import numpy as np
import pygeohash
from hypothesis import given
from hypothesis import strategies as st
from naive import geohash as naive

from faultset_ray import geohash
from faultset_ray.kernels.group import _unique, group_cells

precisions = st.integers(1, 12)


def degrees(span):
    """Anywhere, on edges of cells, and one ulp beside them."""

    def edge(bits, column, towards):
        value = (column % (2**bits + 1)) * (2 * span / 2**bits) - span
        return min(max(math.nextafter(value, towards), -span), span) if towards else value

    edges = st.builds(edge, st.integers(1, 30), st.integers(0, 2**30), st.sampled_from([0, -math.inf, math.inf]))
    return st.floats(-span, span) | edges


points = st.tuples(degrees(90.0), degrees(180.0))
texts = st.text(naive.ALPHABET, min_size=1, max_size=12)


@given(st.lists(points, min_size=1, max_size=50), precisions)
def test_encoding_is_pygeohashs_and_the_definition(places, precision):
    cells = geohash.encode_many(*zip(*places, strict=True), precision)
    found = geohash.cells_to_strings(cells).tolist()
    assert found == [pygeohash.encode(lat, lon, precision) for lat, lon in places]
    assert found == [naive.encode(lat, lon, precision) for lat, lon in places]
    assert found == [geohash.encode(lat, lon, precision) for lat, lon in places]


@given(st.lists(texts, min_size=1, max_size=30))
def test_reading_undoes_spelling(strings):
    assert geohash.cells_to_strings(geohash.strings_to_cells(strings)).tolist() == strings


@given(st.lists(texts, min_size=1, max_size=30))
def test_cells_sort_like_their_strings(strings):
    cells = geohash.strings_to_cells(strings)
    assert geohash.cells_to_strings(np.sort(cells)).tolist() == sorted(strings)


@given(st.lists(texts, min_size=1, max_size=30), precisions)
def test_parents_are_prefixes(strings, precision):
    long_enough = [text for text in strings if len(text) >= precision]
    cells = geohash.parents(geohash.strings_to_cells(long_enough), precision)
    assert geohash.cells_to_strings(cells).tolist() == [text[:precision] for text in long_enough]


@given(st.lists(texts, min_size=1, max_size=20))
def test_centres_are_exact(strings):
    lat, lon = geohash.centers(geohash.strings_to_cells(strings))
    for text, *found in zip(strings, lat.tolist(), lon.tolist(), strict=True):
        (west, east), (south, north) = naive.bounds(text)
        assert found == [(south + north) / 2, (west + east) / 2]
        assert found == list(pygeohash.decode(text))


@given(st.lists(texts, min_size=1, max_size=20))
def test_neighbours(strings):
    for text, around in zip(strings, geohash.neighbours(geohash.strings_to_cells(strings)), strict=True):
        found = iter(geohash.cells_to_strings(around[around != 0]).tolist())
        assert [next(found) if cell else "" for cell in around] == naive.neighbours(text)


@given(st.lists(st.sampled_from(["ezs42", "ezs4", "u", "0", "zzzzzzzzzzzz", "zzzzzzzzzzzy"]) | texts, min_size=1))
def test_grouping(strings):
    groups = geohash.group(geohash.strings_to_cells(strings))
    expected = {}
    for place, text in enumerate(strings):
        expected.setdefault(text, []).append(place)
    assert geohash.cells_to_strings(groups.cells).tolist() == list(expected)
    members = [groups.order[a:b].tolist() for a, b in zip(groups.starts, groups.starts[1:], strict=False)]
    assert members == list(expected.values())


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1))
def test_grouping_survives_colliding_hashes(numbers, picks):
    """Cells made so that their hashes differ in nothing but the last bits, where the index stands."""
    golden, size = 0x9E3779B97F4A7C15, 2**64
    inverse = pow(golden, -1, size)
    cells = [(number * golden + offset) * inverse % size for number in numbers for offset in range(4)]
    column = np.array([cells[pick % len(cells)] for pick in picks], np.uint64)
    for fast, plain in zip(group_cells(column), _unique(column), strict=True):
        assert fast.dtype == plain.dtype
        assert fast.tolist() == plain.tolist()
