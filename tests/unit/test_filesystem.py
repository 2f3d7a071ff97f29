"""``faultset://`` is a file system that fsspec, pandas, polars and pyarrow can use."""

import io
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from told import told

import faultset_ray as fs
from faultset_ray.filesystem import FaultsetFileSystem


@pytest.fixture(scope="module")
def driver() -> Iterator[fs.Driver]:
    with fs.connect(backend="local") as driver:
        yield driver


@pytest.fixture
def files(driver: fs.Driver) -> FaultsetFileSystem:
    found = FaultsetFileSystem(driver=driver, code="xor:2+1", tolerate=0)
    for name in found.find(""):
        found.rm_file(name)
    return found


def test_the_protocol_is_known() -> None:
    assert fsspec.get_filesystem_class("faultset") is FaultsetFileSystem


def test_directories_are_what_names_begin_with(files: FaultsetFileSystem) -> None:
    for name in ("a/b/c.txt", "a/b/d.txt", "a/e.txt", "ab", "z"):
        files.pipe_file(f"faultset://{name}", name.encode())
    assert files.ls("", detail=False) == ["a", "ab", "z"]
    assert files.ls("faultset://a/", detail=False) == ["a/b", "a/e.txt"]
    assert [entry["type"] for entry in files.ls("a")] == ["directory", "file"]
    assert files.ls("ab", detail=False) == ["ab"]
    assert files.find("a") == ["a/b/c.txt", "a/b/d.txt", "a/e.txt"]
    assert files.find("a", maxdepth=1) == ["a/e.txt"]
    assert files.find("ab") == ["ab"]
    assert files.glob("a/**/*.txt") == ["a/b/c.txt", "a/b/d.txt", "a/e.txt"]
    assert [entry[0] for entry in files.walk("a")] == ["a", "a/b"]
    assert files.isdir("a/b")
    assert files.isdir("")
    assert files.isfile("ab")
    assert not files.exists("a/b/nothing")
    assert files.du("a") == len("a/b/c.txt" + "a/b/d.txt" + "a/e.txt")
    for missing in ("none", "a/none"):
        with pytest.raises(FileNotFoundError):
            files.ls(missing)


def test_a_name_and_what_is_below_it(files: FaultsetFileSystem) -> None:
    files.pipe({"x": b"file", "x/y": b"below"})
    assert [(entry["name"], entry["type"]) for entry in files.ls("")] == [("x", "directory"), ("x", "file")]
    assert files.cat_file("x") == b"file"
    assert files.cat_file("x/y") == b"below"


def test_reads(files: FaultsetFileSystem) -> None:
    data = bytes(range(256)) * 1000
    files.pipe_file("data", data)
    assert files.cat_file("data") == data
    for start, end in ((0, 10), (5, None), (None, 7), (-10, None), (-10, -3), (100, 50), (0, len(data) + 5)):
        assert files.cat_file("data", start, end) == data[start:end]
    assert files.cat_ranges(["data", "data"], [0, 256], [3, 259]) == [data[:3], data[256:259]]
    with files.open("data") as file:
        assert file.seek(-6, io.SEEK_END) == len(data) - 6
        assert file.read() == data[-6:]
    assert files.head("data", 3) == data[:3]
    assert files.tail("data", 3) == data[-3:]
    with pytest.raises(FileNotFoundError):
        files.cat_file("nothing")
    with pytest.raises(FileNotFoundError):
        files.open("nothing")
    assert files.info("data")["size"] == len(data)
    assert datetime.now(tz=UTC) - files.modified("data") < timedelta(minutes=5)


def test_a_file_is_there_once_it_is_closed(files: FaultsetFileSystem) -> None:
    with files.open("new", "wb") as file:
        file.write(b"one ")
        assert not files.exists("new")
        file.write(b"two")
        assert file.tell() == 7
    assert files.cat_file("new") == b"one two"
    before = files.checksum("new"), files.ukey("new")
    with files.open("new", "ab") as file:
        file.write(b" three")
    assert files.cat_file("new") == b"one two three"
    assert before[0] < files.checksum("new")
    assert before[1] != files.ukey("new")
    with files.open("text", "wt", encoding="utf-8") as text:
        text.write("ä")
    assert files.cat_file("text") == "ä".encode()


def test_a_file_whose_writing_failed_is_not_there(files: FaultsetFileSystem) -> None:
    def fails() -> None:
        with files.open("half", "wb") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    forgotten = files.open("half", "wb")
    forgotten.write(b"half")
    del forgotten
    assert not files.exists("half")


def test_only_if_there_is_none(files: FaultsetFileSystem) -> None:
    files.pipe_file("once", b"1", mode="create")
    with pytest.raises(FileExistsError):
        files.pipe_file("once", b"2", mode="create")
    with pytest.raises(FileExistsError), files.open("once", "xb") as file:
        file.write(b"3")
    assert files.cat_file("once") == b"1"
    with pytest.raises(ValueError, match="r\\+b"):
        files.open("once", "r+b")


def test_copies_and_removals(files: FaultsetFileSystem, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "f").write_bytes(b"deep")
    (tmp_path / "in" / "g").write_bytes(b"")
    files.put(str(tmp_path / "in"), "up", recursive=True)
    assert files.find("up") == ["up/deep/f", "up/g"]
    files.cp("up", "copy", recursive=True)
    files.mv("copy/deep/f", "moved")
    assert files.find("") == ["copy/g", "moved", "up/deep/f", "up/g"]
    files.get("up", str(tmp_path / "out"), recursive=True)
    assert (tmp_path / "out" / "deep" / "f").read_bytes() == b"deep"
    with pytest.raises(OSError, match="has objects in it"):
        files.rmdir("up")
    with pytest.raises(FileNotFoundError):
        files.rm("nothing")
    files.rm("up", recursive=True)
    assert files.find("") == ["copy/g", "moved"]


def test_another_process_connects_by_the_system_s_name(files: FaultsetFileSystem) -> None:
    copy = pickle.loads(pickle.dumps(files))
    assert isinstance(copy, FaultsetFileSystem)
    assert copy.fsid == files.fsid


def test_pandas(files: FaultsetFileSystem, driver: fs.Driver) -> None:
    table = pd.DataFrame({"city": ["Kraków", "Lyon"], "ms": [1.5, 2.5]})
    with files.open("t/cities.csv", "w") as file:
        table.to_csv(file, index=False)
    with files.open("t/cities.csv") as file:
        pd.testing.assert_frame_equal(pd.read_csv(file), table)
    table.to_parquet("t/cities.parquet", filesystem=files)
    pd.testing.assert_frame_equal(pd.read_parquet("t/cities.parquet", filesystem=files), table)
    options = {"driver": driver, "code": "xor:2+1", "tolerate": 0}
    table.to_csv("faultset://t/url.csv", index=False, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_csv("faultset://t/url.csv", storage_options=options), table)


def test_pyarrow(files: FaultsetFileSystem) -> None:
    table = pa.table({"n": list(range(10_000)), "part": [n % 3 for n in range(10_000)]})
    pq.write_to_dataset(table, "set", partition_cols=["part"], filesystem=files)
    found = pyarrow.dataset.dataset("set", filesystem=files, partitioning="hive")
    assert found.count_rows() == 10_000
    assert found.to_table(filter=pyarrow.dataset.field("part") == 2).num_rows == 3_333


def test_polars(files: FaultsetFileSystem, driver: fs.Driver) -> None:
    table = pl.DataFrame({"n": range(1000)})
    with files.open("t/polars.parquet", "wb") as file:
        table.write_parquet(file)
    with files.open("t/polars.parquet") as file:
        assert pl.read_parquet(file).equals(table)
    options = {"driver": driver, "code": "xor:2+1", "tolerate": 0}
    assert pl.read_parquet("faultset://t/polars.parquet", use_pyarrow=True, storage_options=options).equals(table)
    found = pl.scan_pyarrow_dataset(pyarrow.dataset.dataset("t/polars.parquet", filesystem=files))
    assert found.filter(pl.col("n") > 990).collect().height == 9


def test_polars_own_readers_know_no_other_file_systems() -> None:
    """Where this fails, they do, and the guide is to say so."""
    with pytest.raises(FileNotFoundError):
        pl.scan_parquet("faultset://t/polars.parquet").collect()


def test_names_that_are_no_paths_are_no_files(
    files: FaultsetFileSystem, driver: fs.Driver, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    odd = ["/lead", "tail/", "x//y", "/"]
    for name in ("a", "b/c", *odd):
        driver.put(name, name.encode(), code="xor:2+1", tolerate=0)
    assert files.find("") == ["a", "b/c"]
    assert [each["count"] for each in told(caplog, "names_no_files")] == [4]
    assert files.ls("", detail=False) == ["a", "b"]
    assert files.cat("", recursive=True) == {"a": b"a", "b/c": b"b/c"}
    assert [entry[0] for entry in files.walk("")] == ["", "b"]
    files.get("", str(tmp_path / "out"), recursive=True)
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == [
        "a",
        "b",
        "b/c",
    ]
    for nothing in ("x", "tail"):
        assert not files.exists(nothing)
        with pytest.raises(FileNotFoundError):
            files.rm(nothing, recursive=True)
    driver.put("x/z", b"", code="xor:2+1", tolerate=0)
    assert files.isdir("x"), "a path is below, though the first name is none"
    files.rm("x", recursive=True)
    files.rmdir("x")
    assert [each.name for each in driver.list()] == sorted(["a", "b/c", *odd])
    for name in odd:
        driver.delete(name)


def test_a_look_at_a_directory_does_not_list_it(
    files: FaultsetFileSystem, driver: fs.Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        files.pipe_file(f"many/{number}", b"")
    asked: list[int | None] = []
    listed = driver.list

    def spied(prefix: str = "", *, limit: int | None = None, **options: object) -> object:
        asked.append(limit)
        return listed(prefix, limit=limit, **options)

    monkeypatch.setattr(driver, "list", spied)
    assert files.info("many")["type"] == "directory"
    assert not files.exists("many/none")
    with pytest.raises(OSError, match="has objects in it"):
        files.rmdir("many")
    assert asked == [1, 1, 1]
