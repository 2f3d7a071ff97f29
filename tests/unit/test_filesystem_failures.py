"""Files whose writers fail, however they were opened: what was there before stays."""

from __future__ import annotations

import gc

import fsspec
import pandas as pd
import pytest

import faultset_ray as fs
from faultset_ray.errors import InputError, PreconditionFailed
from faultset_ray.filesystem import FaultsetFileSystem


@pytest.fixture(scope="module")
def files():
    with fs.connect(backend="local") as driver:
        yield FaultsetFileSystem(driver=driver, code="copy:2", tolerate=0, skip_instance_cache=True)


OPENERS = {
    "binary": lambda files: files.open("x", "wb"),
    "text": lambda files: files.open("x", "w"),
    "gzip": lambda files: files.open("x", "wb", compression="gzip"),
    "gzip text": lambda files: files.open("x", "wt", compression="gzip"),
    "append": lambda files: files.open("x", "ab"),
    "fsspec": lambda files: fsspec.core.OpenFile(files, "x", mode="wb"),
    "fsspec text": lambda files: fsspec.core.OpenFile(files, "x", mode="w"),
    "fsspec gzip": lambda files: fsspec.core.OpenFile(files, "x", mode="wb", compression="gzip"),
}


@pytest.mark.parametrize("opened", OPENERS)
def test_a_block_that_raises_stores_nothing_and_one_that_ends_stores_all(files, opened):
    files.pipe_file("x", b"good")
    half = "half" if "text" in opened else b"half"

    def fails():
        with OPENERS[opened](files) as file:
            file.write(half)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fails()
    gc.collect()
    assert files.cat_file("x") == b"good"
    try:
        fails()
    except RuntimeError:  # one that was there before the file is not the file's
        with OPENERS[opened](files) as file:
            file.write(half)
    with files.open("x", "rb", compression="gzip" if "gzip" in opened else None) as file:
        assert file.read() == (b"goodhalf" if opened == "append" else b"half")


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_is_only_forgotten(files, mode):
    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def write():
        handle = files.open("c.csv", mode)
        pd.DataFrame({"a": [1] * 50_000 + [Unprintable()]}).to_csv(handle, chunksize=1_000)

    files.pipe_file("c.csv", b"id\n1\n")
    with pytest.raises(RuntimeError, match="no text"):
        write()
    gc.collect()
    assert files.cat_file("c.csv") == b"id\n1\n"


def test_transactions(files):
    with files.transaction:
        for name in ("t1", "t2"):
            with files.open(name, "w") as file:
                file.write(name)
        assert not files.exists("t1")
    assert (files.cat_file("t1"), files.cat_file("t2")) == (b"t1", b"t2")

    def fails():
        with files.transaction:
            files.open("t1", "wb").close()
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fails()
    assert files.cat_file("t1") == b"t1"


def test_of_two_appends_none_is_lost_silently(files):
    files.pipe_file("x", b"0")
    one, two = files.open("x", "ab"), files.open("x", "ab")
    one.write(b"1")
    two.write(b"2")
    one.close()
    with pytest.raises(PreconditionFailed):
        two.close()
    assert files.cat_file("x") == b"01"


WRITERS = {
    "pipe": lambda files, path: files.pipe_file(path, b"x"),
    "open": lambda files, path: files.open(path, "wb"),
    "exclusive": lambda files, path: files.open(path, "xb"),
    "append": lambda files, path: files.open(path, "ab"),
    "text": lambda files, path: files.open(path, "w"),
    "touch": lambda files, path: files.touch(path),
    "copy": lambda files, path: files.cp_file("there", path),
}


@pytest.mark.parametrize("write", WRITERS)
def test_a_path_with_an_empty_step_is_refused_before_a_byte_is_written(files, write):
    """No directory would show the file."""
    files.pipe_file("there", b"here")
    with pytest.raises(InputError, match="'dir//name' has an empty step"):
        WRITERS[write](files, "faultset://dir//name")
    assert not files.driver.list("dir")


def test_touch_writes_an_empty_file_and_changes_none_that_is_there(files):
    files.touch("touched", truncate=False)
    assert files.cat_file("touched") == b""
    files.pipe_file("touched", b"full")
    with pytest.raises(NotImplementedError, match="its time is when it was written"):
        files.touch("touched", truncate=False)
    assert files.cat_file("touched") == b"full"
    files.touch("touched")
    assert files.cat_file("touched") == b""
