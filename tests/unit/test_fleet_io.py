"""Fleets from files: what is read, and that what is wrong is named with its line."""

import math

import pytest

from faultset_ray import Fleet
from faultset_ray.errors import DuplicateIdError, EmptyNodesError, InputError, InvalidNodeError, MissingColumnError

NODES = [("a", 1.0, 2.0, 3.5), ("b,c", -1.5, 2.0, 0.0)]


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.csv", 'id,lat,lon,latency_ms\na,1,2,3.5\n"b,c",-1.5,2,0\n'),
        ("n.csv", '\ufeffid,lat,lon,latency\r\na,1,2,3.5\r\n\r\n"b,c",-1.5,2,0'),
        ("N.CSV", 'city, latency , lon,lat,id\nx, 3.5 ,2,1,a\n"two\nlines",0,2,-1.5,"b,c"\n'),
        (
            "n.jsonl",
            '{"id":"a","lat":1,"lon":2,"latency_ms":3.5}\n\n{"id":"b,c","lat":-1.5,"lon":2,"latency":0,"x":[]}',
        ),
        (
            "n.ndjson",
            '\ufeff{"id":"a","lat":1,"lon":2,"latency_ms":3.5}\n{"id":"b,c","lat":-1.5,"lon":2,"latency":0}\n',
        ),
    ],
)
def test_files(file, name, text):
    path = file(name, text)
    assert list(Fleet.of(path)) == NODES
    assert list(Fleet.of(str(path))) == NODES


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.csv", "id,lat,lon,latency\na,1,2,\nb,1,2,nan\n"),
        ("n.jsonl", '{"id":"a","lat":1,"lon":2,"latency":null}\n{"id":"b","lat":1,"lon":2,"latency":NaN}'),
    ],
)
def test_no_measurement(file, name, text):
    assert all(math.isnan(latency) for latency in Fleet.of(file(name, text)).latency_ms)


@pytest.mark.parametrize(
    ("name", "text", "line", "field", "node_id"),
    [
        ("n.csv", "id,lat,lon,latency\na,1,2,3\nb,x,2,3\nc,y,2,3", 3, "lat", "b"),
        ("n.csv", "id,lat,lon,latency\na,1,2,3\nb,,2,3", 3, "lat", "b"),
        ("n.csv", "id,lat,lon,latency\n\na,1,2,3\nb,1,200,3", 4, "lon", "b"),
        ("n.csv", 'id,lat,lon,latency\n"a\na",1,2,3\nb,1,2,-3', 4, "latency_ms", "b"),
        ("n.csv", "id,lat,lon,latency\na,1,2,3\n,1,2,3", 3, "id", None),
        ("n.csv", "id,lat,lon,latency\na,1,2,3\nb,1,2", 3, "row", None),
        ("n.csv", "id,lat,lon,latency\na,1,2,3,4\n", 2, "row", None),
        ("n.jsonl", '\n{"id":"a","lat":true,"lon":2,"latency":3}', 2, "lat", "a"),
        ("n.jsonl", '{"id":"a","lat":1,"lon":2,"latency":3}\n{"id":"b","lat":1,"lon":-181,"latency":3}', 2, "lon", "b"),
        ("n.jsonl", '{"id":"a","lat":1,"lon":2,"latency":3}\n[1]', 2, "row", None),
        ("n.jsonl", '{"id":"a","lat":"1","lon":2,"latency":3}', 1, "lat", "a"),
        ("n.jsonl", '{"id":7,"lat":1,"lon":2,"latency":3}', 1, "id", None),
    ],
)
def test_a_bad_row_is_named_with_its_line(file, name, text, line, field, node_id):
    path = file(name, text)
    with pytest.raises(InvalidNodeError) as caught:
        Fleet.of(path)
    assert (caught.value.field, caught.value.node_id) == (field, node_id)
    assert str(caught.value).startswith(f"{path}, line {line}")


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        (
            "n.csv",
            "id,lat,latency\na,1,2\n",
            MissingColumnError,
            "n.csv has no column 'lon'; it has id, lat and latency",
        ),
        ("n.csv", "a,1,2,3\n", MissingColumnError, "has no column 'id'; it has a, 1, 2 and 3"),
        ("n.csv", "", EmptyNodesError, "nodes list is empty"),
        ("n.csv", "id,lat,lon,latency\n", EmptyNodesError, "nodes list is empty"),
        ("n.csv", 'id,lat,lon,latency\na,1,2,3\n"b,1,2,3', InputError, "n.csv, line 3: unexpected end of data"),
        ("n.csv", b"id,lat,lon,latency\n\xff,1,2,3\n", InputError, "n.csv is not UTF-8"),
        ("n.csv", "id,lat,lon,latency\na,1,2,3\na,1,2,3", DuplicateIdError, "id 'a' stands at 0 and again at 1"),
        ("n.jsonl", "\n", EmptyNodesError, "nodes list is empty"),
        ("n.jsonl", '{"id":"a","lat":1,"lon":2,"latency":3}\n{"id":', InputError, "n.jsonl, line 2: Expecting value"),
        ("n.jsonl", '{"id":"a","lat":1,"lon":2}', MissingColumnError, "n.jsonl, line 1 has no column 'latency_ms'"),
        ("n.jsonl", b'{"id":"\xff"}', InputError, "n.jsonl is not UTF-8"),
        ("n.txt", "", InputError, r"n\.txt: nodes are read from \.csv, \.jsonl, \.ndjson files"),
    ],
)
def test_what_is_wrong_with_a_file(file, name, text, error, words):
    with pytest.raises(error, match=words):
        Fleet.of(file(name, text))


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Fleet.of(tmp_path / "n.csv")


def test_on_duplicate(file):
    path = file("n.csv", "id,lat,lon,latency\na,1,2,3\na,4,5,1\n")
    assert Fleet.of(path, on_duplicate="keep").lat.tolist() == [1]
    assert Fleet.of(path, on_duplicate="min", name="edge").lat.tolist() == [4]


def test_json_nested_too_deeply(file):
    path = file("n.jsonl", '{"id":"a","lat":1,"lon":2,"latency":3}\n{"x":' + "[" * 100_000)
    with pytest.raises(InputError, match="line 2"):
        Fleet.of(path)
