"""Nodes and fleets: what they take, what they refuse, and that nothing changes them."""

import math
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from faultset_ray import Fleet, Node
from faultset_ray.errors import (
    DuplicateIdError,
    EmptyNodesError,
    FaultsetError,
    InputError,
    InvalidNodeError,
    LengthMismatchError,
    LimitExceeded,
    MissingColumnError,
)

ROWS = [("a", 1.0, 2.0, 3.0), ("b", -90.0, 180.0, 0.0), ("c", 90.0, -180.0, math.inf)]
COLUMNS = {"id": ["a", "b", "c"], "lat": [1, -90, 90], "lon": [2, 180, -180], "latency_ms": [3.0, 0.0, math.inf]}


def renamed(columns):
    return {"latency" if name == "latency_ms" else name: column for name, column in columns.items()}


def records(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


SOURCES = {
    "tuples": ROWS,
    "lists": [list(row) for row in ROWS],
    "nodes": [Node(*row) for row in ROWS],
    "generator": (row for row in ROWS),
    "dicts": records(COLUMNS),
    "dicts with latency": records(renamed(COLUMNS)),
    "dicts of either kind": [records(COLUMNS)[0], *records(renamed(COLUMNS))[1:]],
    "columns": COLUMNS,
    "columns with more": {"provider": ["x", "y", "z"], **renamed(COLUMNS)},
    "columns called ids": {"ids" if name == "id" else name: column for name, column in COLUMNS.items()},
    "arrays": {name: np.array(column) for name, column in COLUMNS.items()},
    "pandas": pd.DataFrame(COLUMNS),
    "pandas, nullable": pd.DataFrame(renamed(COLUMNS)).convert_dtypes(),
    "polars": pl.DataFrame(COLUMNS, strict=False),
    "fleet": Fleet(*COLUMNS.values()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_fleet(source):
    fleet = Fleet.of(SOURCES[source])
    assert list(fleet) == ROWS
    assert len(fleet) == 3
    assert all(type(node) is Node and type(node.id) is str for node in fleet)
    assert [column.dtype for column in (fleet.lat, fleet.lon, fleet.latency_ms)] == [np.float64] * 3


@pytest.mark.parametrize(
    "missing",
    [
        [3.0, None],
        np.array([3.0, pd.NA], object),
        [3.0, math.nan],
        np.array([3.0, math.nan]),
        pd.Series([3.0, None], dtype="Float64"),
    ],
)
def test_no_measurement_is_nan(missing):
    fleet = Fleet.of({"id": ["a", "b"], "lat": [1, 2], "lon": [1, 2], "latency_ms": missing})
    assert fleet.latency_ms[0] == 3.0
    assert math.isnan(fleet.latency_ms[1])


def test_a_polars_null_is_no_measurement():
    frame = pl.DataFrame(
        {"id": ["a"], "lat": [1], "lon": [1], "latency": [None]}, schema_overrides={"latency": pl.Float64}
    )
    assert math.isnan(Fleet.of(frame).latency_ms[0])


def test_a_fleet_can_not_be_changed():
    fleet = Fleet.of(ROWS, name="edge")
    for column in (fleet.ids, fleet.lat, fleet.lon, fleet.latency_ms):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]
    for field in ("ids", "name", "handles", "other"):
        with pytest.raises(AttributeError):
            setattr(fleet, field, None)
    assert fleet.name == "edge"


def test_writable_columns_are_copied_and_read_only_ones_shared():
    lat, lon, latency_ms = np.zeros(2), np.ones(2), np.ones(2)
    lon.flags.writeable = False
    fleet = Fleet(["a", "b"], lat, lon, latency_ms)
    lat[0] = latency_ms[0] = 50.0
    assert fleet.lat[0] == 0.0
    assert fleet.latency_ms[0] == 1.0
    assert fleet.lon is lon
    assert lat.flags.writeable


def test_a_read_only_view_of_what_can_be_written_is_copied():
    lat = np.zeros(2)
    seen = lat[:]
    seen.flags.writeable = False
    fleet = Fleet(["a", "b"], seen, [0, 0], np.frombuffer(memoryview(buffer := bytearray(16)).toreadonly()))
    lat[0] = 50.0
    buffer[:] = b"\xff" * 16
    assert fleet.lat.tolist() == [0.0, 0.0]
    assert fleet.latency_ms.tolist() == [0.0, 0.0]


def test_a_data_frame_can_change_after_a_fleet_was_made_of_it():
    frame = pd.DataFrame(COLUMNS).astype({"lat": float, "lon": float})
    fleet = Fleet.of(frame)
    for column in ("lat", "lon", "latency_ms"):
        frame.loc[0, column] = 9.0
    assert list(fleet) == ROWS


def test_foreign_memory_that_is_read_only_is_shared():
    lat = np.frombuffer(bytes(16))
    assert Fleet(["a", "b"], lat, [0, 0], [0, 0]).lat is lat


def test_handles():
    fleet = Fleet.of(ROWS)
    assert fleet.handles is None
    registered = fleet.with_handles(np.array([7, 8, 9]))
    assert registered.handles.dtype == np.uint32
    assert registered.handles.tolist() == [7, 8, 9]
    assert registered.ids is fleet.ids
    assert fleet.handles is None
    with pytest.raises(LengthMismatchError):
        fleet.with_handles([1, 2])


@pytest.mark.parametrize("ids", [["a", "b", "c"], ["a\nb", "é", "\ud800"], ["\n", "\n\n", "x"]])
def test_pickling(ids):
    fleet = Fleet(ids, [1, 2, 3], [4, 5, 6], [math.nan, 0, 1], name="edge", handles=np.arange(3, dtype=np.uint32))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(fleet, protocol))
        assert repr(list(again)) == repr(list(fleet))
        assert again.name == "edge"
        assert again.handles.tolist() == [0, 1, 2]
        with pytest.raises(ValueError, match="read-only"):
            again.lat[0] = 0.0


def test_a_pickled_fleet_is_little_more_than_its_columns():
    count = 10_000
    fleet = Fleet([f"node-{i:05}" for i in range(count)], np.zeros(count), np.zeros(count), np.zeros(count))
    assert len(pickle.dumps(fleet, 5)) < count * (8 * 3 + len("node-00000") + 1) + 1000


@pytest.mark.parametrize(
    "nodes", [[], (), {}, {"id": [], "lat": [], "lon": [], "latency": []}, pd.DataFrame(renamed(COLUMNS))[:0]]
)
def test_no_nodes(nodes):
    with pytest.raises((EmptyNodesError, MissingColumnError)) as caught:
        Fleet.of(nodes)
    assert nodes == {} if caught.type is MissingColumnError else str(caught.value) == "nodes list is empty"


def test_columns_of_different_length():
    with pytest.raises(LengthMismatchError) as caught:
        Fleet(["a", "b"], [1, 2], [1], [1, 2])
    assert caught.value.lengths == {"id": 2, "lat": 2, "lon": 1, "latency_ms": 2}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("lat", value) for value in (90.1, -90.1, math.nan, math.inf, True, np.True_, "1", None, 1j, 10**400)),
        *(("lon", value) for value in (180.1, -181, math.nan, -math.inf, False, "x", None)),
        *(("latency_ms", value) for value in (-1, -5e-324, -math.inf, True, "1", b"1", [1], 10**400)),
        *(("id", value) for value in ("", None, 1, b"a", 1.5)),
    ],
)
def test_an_invalid_value_is_named(field, value):
    row = {"id": "bad", "lat": 0, "lon": 0.0, "latency_ms": 1, field: value}
    good = [{"id": f"n{place}", "lat": 1.0, "lon": 1, "latency_ms": 1.0} for place in range(2)]
    for source in ([*good, row, row | {"id": "worse"}], [tuple(each.values()) for each in (*good, row)]):
        with pytest.raises(InvalidNodeError) as caught:
            Fleet.of(source)
        error = caught.value
        assert (error.index, error.field) == (2, field)
        assert error.node_id == (None if field == "id" else "bad")
        assert error.value == value or math.isnan(error.value)
        assert str(error).startswith("node 2")


@pytest.mark.parametrize(
    "column",
    [
        np.array([True, False]),
        pd.Series([True, False]),
        pd.array([True, False]),
        pl.Series([True, False]),
        np.array([1, 2], "m8[ns]"),
        np.array(["1", "2"]),
        np.array([1j, 2j]),
    ],
)
def test_columns_of_what_is_no_number(column):
    with pytest.raises(InvalidNodeError):
        Fleet(["a", "b"], column, [1, 2], [1, 2])


def test_the_first_invalid_node_of_many():
    count = 5000
    latency_ms = np.ones(count)
    latency_ms[[4000, 3000]] = -1.0
    with pytest.raises(InvalidNodeError, match=r"node 3000 \('n3000'\)"):
        Fleet([f"n{i}" for i in range(count)], np.zeros(count), np.zeros(count), latency_ms)


@pytest.mark.parametrize("row", [("b", 1, 2), ("b", 1, 2, 3, 4), "b:1:2:3", 5, None, {"id": "b"}])
def test_a_row_of_another_shape(row):
    with pytest.raises(InvalidNodeError) as caught:
        Fleet.of([("a", 1, 2, 3), row])
    assert (caught.value.index, caught.value.field) == (1, "row")


def test_a_missing_key():
    with pytest.raises(MissingColumnError, match="node 1 has no column 'lon'; it has id, lat and latency") as caught:
        Fleet.of([{"id": "a", "lat": 1, "lon": 1, "latency": 1}, {"id": "b", "lat": 1, "latency": 1}])
    assert caught.value.column == "lon"


def test_a_missing_column():
    with pytest.raises(MissingColumnError, match="latency_ms"):
        Fleet.of(pd.DataFrame({"id": ["a"], "lat": [1], "lon": [1]}))


@pytest.mark.parametrize(
    "source",
    [5, None, {"id": "a", "lat": 1, "lon": 1, "latency": 1}, {"id": ["a"], "lat": "1", "lon": [1], "latency": [1]}],
)
def test_what_holds_no_nodes(source):
    with pytest.raises(InputError):
        Fleet.of(source)


def test_a_lazy_frame_is_to_be_collected():
    with pytest.raises(InputError, match="LazyFrame; collect it"):
        Fleet.of(pl.DataFrame(COLUMNS, strict=False).lazy())


def test_columns_have_one_dimension():
    with pytest.raises(InputError, match="one dimension"):
        Fleet(["a"], [1], np.ones((1, 1)), [1])


DUPLICATES = [
    ("a", 0, 0, 5.0),
    ("b", 1, 1, math.nan),
    ("a", 2, 2, 2.0),
    ("b", 3, 3, 9.0),
    ("c", 4, 4, math.nan),
    ("a", 5, 5, 2.0),
]


def test_duplicates_are_an_error():
    with pytest.raises(DuplicateIdError) as caught:
        Fleet.of(DUPLICATES)
    assert (caught.value.node_id, caught.value.first, caught.value.second, caught.value.count) == ("a", 0, 2, 3)


def test_duplicates_keep():
    assert [node[:2] for node in Fleet.of(DUPLICATES, on_duplicate="keep")] == [("a", 0), ("b", 1), ("c", 4)]


def test_duplicates_min():
    """The lowest latency, any rather than none, the earlier of equals; where the id first stood."""
    assert [node[:2] for node in Fleet.of(DUPLICATES, on_duplicate="min")] == [("a", 2), ("b", 3), ("c", 4)]


def test_on_duplicate_is_checked_even_if_there_is_none():
    with pytest.raises(InputError):
        Fleet.of(ROWS, on_duplicate="max")


def test_order_of_checks():
    """Empty, lengths, values, then distinctness."""
    cases = [
        (EmptyNodesError, ([], [99.0], [0.0], [1.0])),
        (LengthMismatchError, (["a"], [99.0], [0.0], [])),
        (InvalidNodeError, (["a", "a"], [99.0, 0.0], [0.0, 0.0], [1.0, 1.0])),
        (DuplicateIdError, (["a", "a"], [9.0, 0.0], [0.0, 0.0], [1.0, 1.0])),
    ]
    for error, columns in cases:
        with pytest.raises(FaultsetError) as caught:
            Fleet(*columns)
        assert caught.type is error


def test_too_many(monkeypatch):
    monkeypatch.setattr("faultset_ray.fleet_io.FLEET_NODES_MAX", 2)
    with pytest.raises(LimitExceeded):
        Fleet.of(ROWS)
