"""What geohash accepts, refuses and does at the ends of the earth."""

import math

import numpy as np
import pygeohash
import pytest

from faultset_ray import Fleet, Node, geohash
from faultset_ray.errors import InputError, InvalidGeohashError, InvalidNodeError, LengthMismatchError

BAD_DEGREES = [math.nan, math.inf, -math.inf, 180.00000000000003, -180.00000000000003, 1e17, 10**400, True, "1", None]


@pytest.mark.parametrize("value", BAD_DEGREES)
def test_a_bad_coordinate_is_named(value):
    for field, point in (("lat", (value, 1.0)), ("lon", (1.0, value))):
        with pytest.raises(InvalidNodeError) as caught:
            geohash.encode(*point, 5)
        assert (caught.value.index, caught.value.field) == (0, field)
        assert caught.value.value is value
        with pytest.raises(InvalidNodeError) as caught:
            geohash.encode_many(*([0.0, 1.0, each, each] for each in point), 5)
        assert caught.value.field == field
        assert caught.value.index == 2


def test_the_first_bad_point_of_many_is_named():
    lat, lon = np.zeros(1000), np.zeros(1000)
    lat[700], lon[600] = 91.0, np.nan
    with pytest.raises(InvalidNodeError) as caught:
        geohash.encode_many(lat, lon, 6)
    assert (caught.value.index, caught.value.field) == (600, "lon")
    assert "node 600" in str(caught.value)


def test_a_fleet_names_the_id_too():
    with pytest.raises(InvalidNodeError) as caught:
        geohash.geohash_cluster([("a", 0.0, 0.0, 1.0), ("b", 90.5, 0.0, 1.0)], 3)
    assert (caught.value.index, caught.value.node_id) == (1, "b")


@pytest.mark.parametrize("precision", [0, 13, -1, True, 5.0, "5", None, np.True_])
def test_precision_is_1_to_12(precision):
    calls = [
        lambda: geohash.encode(0.0, 0.0, precision),
        lambda: geohash.encode_many([0.0], [0.0], precision),
        lambda: geohash.geohash_cluster([("a", 0, 0, 1)], precision),
        lambda: geohash.parents(geohash.strings_to_cells(["ezs42"]), precision),
    ]
    for call in calls:
        with pytest.raises(InvalidGeohashError):
            call()


def test_numpy_integers_are_precisions():
    assert geohash.encode(0.0, 0.0, np.int64(3)) == "s00"


def test_lengths_must_agree():
    with pytest.raises(LengthMismatchError):
        geohash.encode_many([0.0], [0.0, 1.0], 5)


def test_no_points_no_cells():
    cells = geohash.encode_many([], [], 5)
    assert cells.dtype == np.uint64
    assert len(cells) == 0
    assert geohash.cells_to_strings(cells).tolist() == []
    assert geohash.strings_to_cells([]).tolist() == []
    assert geohash.neighbours(cells).shape == (0, 8)
    assert len(geohash.group(cells).order) == 0


def test_read_only_and_strided_columns():
    lat, lon = np.linspace(-90, 90, 100)[::2], np.linspace(-180, 180, 50)
    lon.flags.writeable = False
    expected = [pygeohash.encode(y, x, 7) for y, x in zip(lat.tolist(), lon.tolist(), strict=True)]
    assert geohash.cells_to_strings(geohash.encode_many(lat, lon, 7)).tolist() == expected


def test_clusters_in_order_of_first_appearance():
    nodes = [("x", 50.0, 50.0, 1.0), ("a", 0.0, 0.0, 2.0), ("y", 50.0, 50.0, 0.5), ("b", 0.0, 0.0, 1.0)]
    clusters = geohash.geohash_cluster(nodes, 5)
    assert list(clusters) == ["v0gs3", "s0000"]
    assert clusters["v0gs3"] == [Node("x", 50.0, 50.0, 1.0), Node("y", 50.0, 50.0, 0.5)]
    assert [node.id for node in clusters["s0000"]] == ["a", "b"]
    assert all(type(node) is Node for members in clusters.values() for node in members)
    assert geohash.geohash_cluster(Fleet.of(nodes), 5) == clusters


def test_order_is_z_order():
    """A parent stands before its children, and the descendants of a cell are one interval."""
    texts = ["ezs42", "ezs4", "ezs40", "ezs4zzzz", "ezs5", "ezs3zzzzzzzz", "e", "f"]
    cells = np.sort(geohash.strings_to_cells(texts))
    assert geohash.cells_to_strings(cells).tolist() == sorted(texts)


def test_parents():
    cells = geohash.strings_to_cells(["u4pruydqqvj", "ezs42", "u4pru"])
    assert geohash.cells_to_strings(geohash.parents(cells, 5)).tolist() == ["u4pru", "ezs42", "u4pru"]
    assert geohash.cells_to_strings(cells, 2).tolist() == ["u4", "ez", "u4"]
    with pytest.raises(InvalidGeohashError, match="'ezs42'"):
        geohash.parents(cells, 6)


def test_mixed_precisions_are_spelt_each_at_its_own():
    texts = ["b", "bb", "zzzzzzzzzzzz", "0"]
    cells = geohash.strings_to_cells(texts)
    assert geohash.precisions(cells).tolist() == [1, 2, 12, 1]
    assert geohash.cells_to_strings(cells).tolist() == texts


def test_upper_case_is_read():
    assert geohash.strings_to_cells(["EZS42"]).tolist() == geohash.strings_to_cells(np.array(["ezs42"])).tolist()


@pytest.mark.parametrize(
    "text", ["", "a", "ezs4i", "ezs4l", "ezs4o", "0" * 13, "é", "ab\0", "b\0", "b b", "٣", None, 5, b"b"]
)
def test_what_is_no_geohash_is_named(text):
    with pytest.raises(InvalidGeohashError) as caught:
        geohash.strings_to_cells(["ezs42", text])
    assert caught.value.value == text


@pytest.mark.parametrize("text", ["ezs42", b"ezs42", np.array("ezs42"), None, 5])
def test_one_text_is_no_sequence_of_geohashes(text):
    with pytest.raises(InputError, match="sequence"):
        geohash.strings_to_cells(text)


@pytest.mark.parametrize("cell", [-5, 5.5, True, None, "5", 1 << 64, np.float64(5.0)])
def test_a_listed_cell_is_an_integer_of_64_bits(cell):
    with pytest.raises(InvalidGeohashError, match="not a cell") as caught:
        geohash.cells_to_strings([geohash.strings_to_cells(["s"])[0], cell])
    assert caught.value.value is cell


@pytest.mark.parametrize("cells", [None, 5, "5"])
def test_cells_are_a_column(cells):
    with pytest.raises(InputError):
        geohash.cells_to_strings(cells)


def test_listed_cells():
    texts = ["s0", "zzzzzzzzzzzz", "0"]
    assert geohash.cells_to_strings(geohash.strings_to_cells(texts).tolist()).tolist() == texts


@pytest.mark.parametrize("digits", range(1, 13))
def test_each_bit_past_the_precision_is_zero(digits):
    cell = int(geohash.strings_to_cells(["z" * digits])[0])
    for bit in range(4, 64 - 5 * digits):
        with pytest.raises(InvalidGeohashError, match="bits past its precision"):
            geohash.precisions(np.array([cell | 1 << bit], np.uint64))


def test_a_bad_precision_is_called_one():
    with pytest.raises(InvalidGeohashError, match=r"^precision 13: "):
        geohash.encode(0.0, 0.0, 13)


@pytest.mark.parametrize("cell", [0, 13, 1 << 60])
def test_what_is_no_cell_is_named(cell):
    cells = np.array([geohash.encode_many([0.0], [0.0], 5)[0], cell], np.uint64)
    for use in (geohash.cells_to_strings, geohash.neighbours, geohash.centers, geohash.group, geohash.precisions):
        with pytest.raises(InvalidGeohashError) as caught:
            use(cells)
        assert caught.value.value == cell


def test_cells_are_uint64():
    with pytest.raises(InputError):
        geohash.cells_to_strings(np.array([1.5]))
    with pytest.raises(InputError):
        geohash.cells_to_strings(np.array([[5]], np.uint64))


def test_neighbours_wrap_at_the_antimeridian_and_end_at_the_poles():
    around = geohash.neighbours(geohash.encode_many([89.0, 0.1, -89.0], [179.9, -179.9, 0.1], 3))
    north, wrapped, south = around
    assert (north[[7, 0, 1]] == 0).all()
    assert (north[2:7] != 0).all()
    assert (south[3:6] == 0).all()
    assert (south[[0, 1, 2, 6, 7]] != 0).all()
    assert geohash.cells_to_strings(wrapped[[2, 6]]).tolist() == [
        pygeohash.get_adjacent("800", "right"),
        pygeohash.get_adjacent("800", "left"),
    ]


def test_around_a_neighbour_is_back():
    cells = geohash.encode_many(np.linspace(-80, 80, 40), np.linspace(-180, 180, 40), 4)
    around = geohash.neighbours(cells)
    opposite = [4, 5, 6, 7, 0, 1, 2, 3]
    for direction in range(8):
        assert (geohash.neighbours(around[:, direction])[:, opposite[direction]] == cells).all()
