"""Where bytes come from: memory as it lies, files as they were."""

import array
import hashlib
import os

import numpy as np
import pytest

from faultset_ray.errors import InputError
from faultset_ray.objects.source import Source

ARRAYS = [
    np.arange(24, dtype=np.uint8),
    np.arange(24, dtype=np.float64).reshape(2, 3, 4),
    np.arange(3, dtype=">i4"),
    np.array(5.5),
    np.zeros(3, bool),
    np.zeros((0, 4)),
    np.array(["héllo", "b"]),
    np.array([b"ab", b"c"]),
    np.array(["2026-01-01", "NaT"], "datetime64[D]"),
    np.array([(1, 2.5)], [("a", "u1"), ("b", "f4")]),
    np.arange(6, dtype=np.complex64)[2:5],
]


def pieces(source, sizes):
    return b"".join(source.read(size).tobytes() for size in sizes)


@pytest.mark.parametrize("data", ARRAYS, ids=lambda data: f"{data.dtype}{list(data.shape)}")
def test_arrays_are_their_bytes(data):
    source = Source(data)
    assert source.size == data.nbytes
    piece = source.read(data.nbytes)
    assert (piece.dtype, piece.tobytes()) == (np.uint8, data.tobytes())


@pytest.mark.parametrize(
    "data",
    [
        b"abcdef",
        bytearray(b"abcdef"),
        memoryview(b"abcdef"),
        array.array("B", b"abcdef"),
        memoryview(b"xabcdefx")[1:-1],
    ],
)
def test_buffers_are_read_in_order_and_hashed_on_the_way(data):
    source = Source(data)
    assert source.sha256() == hashlib.sha256().digest()
    assert pieces(source, [2, 3]) == b"abcde"
    assert source.sha256() == hashlib.sha256(b"abcde").digest()
    assert pieces(source, [1, 0]) == b"f"
    assert source.sha256() == hashlib.sha256(b"abcdef").digest()


def test_memory_that_can_still_be_written_to_is_copied():
    data = bytearray(b"abcd")
    piece = Source(data).read(4)
    data[0] = ord("X")
    assert piece.tobytes() == b"abcd"


def test_memory_that_nobody_can_write_to_is_not_copied():
    data = b"abcd"
    assert np.shares_memory(Source(data).read(4), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (5, "data is int; expected bytes, an array, or the path of a file"),
        (None, "data is NoneType"),
        ([1, 2], "data is list"),
        (np.array(["a", 1], object), "an array of Python objects"),
        (memoryview(np.array([None], object)), "an array of Python objects"),
        (np.zeros((4, 4), np.uint8)[:, :2], "not contiguous; pass numpy.ascontiguousarray"),
        (np.zeros((2, 3), order="F"), "not contiguous"),
        (memoryview(b"abcdef")[::2], "not contiguous"),
        (np.arange(5)[::-1], "not contiguous"),
    ],
)
def test_what_has_no_bytes_in_a_row_is_refused(data, why):
    with pytest.raises(InputError, match=why):
        Source(data)


def test_a_released_view_is_refused():
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(InputError, match="data is memoryview"):
        Source(view)


@pytest.mark.parametrize("kind", [str, lambda path: path, os.fspath])
def test_a_file(tmp_path, kind):
    content = os.urandom(10_000)
    path = tmp_path / "f.bin"
    path.write_bytes(content)
    with Source(kind(path)) as source:
        assert (source.size, source.name) == (10_000, "f.bin")
        assert pieces(source, [4096, 1, 5903]) == content
        assert source.sha256() == hashlib.sha256(content).digest()
        file = source.file
    assert file.closed


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "there is no file .*x"),
        (lambda path: path.mkdir(), "x is a directory; expected a file"),
        (os.mkfifo, "x is no regular file; expected a file"),
    ],
)
def test_what_is_no_file_is_refused_at_once(tmp_path, make, told):
    make(tmp_path / "x")
    with pytest.raises(InputError, match=told):
        Source(tmp_path / "x")


def test_a_file_that_shrinks_is_told(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(100))
    with Source(path) as source:
        source.read(30)
        os.truncate(path, 70)
        with pytest.raises(InputError, match="f ended at byte 70 of 100: it changed while it was read"):
            source.read(70)


def test_a_file_that_grows_is_read_as_it_was(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with Source(path) as source:
        with path.open("ab") as file:
            file.write(b"new")
        assert (source.size, pieces(source, [3])) == (3, b"old")
