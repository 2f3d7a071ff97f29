"""What becomes durable together: all of it, each with its own error."""

import errno
import os
import threading
from pathlib import Path

import pytest

from faultset_ray.shards import disk
from faultset_ray.shards.disk import begin_to_sync, fsync_directories, fsync_files, replace_file, write_all


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 50])
def test_every_file_is_synced_once_and_keeps_its_error(monkeypatch, count):
    synced, lock = [], threading.Lock()

    def fsync(fd):
        with lock:
            synced.append(fd)
        if fd % 3 == 1:
            raise OSError(errno.EIO, str(fd))

    monkeypatch.setattr(os, "fsync", fsync)
    errors = fsync_files(range(count))
    assert sorted(synced) == list(range(count))
    assert [error and error.strerror for error in errors] == [str(fd) if fd % 3 == 1 else None for fd in range(count)]


def test_an_error_that_is_not_the_disk_s_is_raised(monkeypatch):
    def fsync(fd):
        raise KeyError(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    for count in (1, 20):
        with pytest.raises(KeyError):
            fsync_files(range(count))


def test_directories(tmp_path):
    (tmp_path / "one").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    failed = fsync_directories([tmp_path / "one", tmp_path / "none", tmp_path])
    assert {path.name: error.errno for path, error in failed.items()} == {"none": errno.ENOENT}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("offset", "nbytes", "pages"),
    [(0, 8192, (0, 8192)), (256, 8192, (4096, 4096)), (4096, 9000, (4096, 8192)), (100, 4096, None), (0, 0, None)],
)
def test_whole_pages_begin_to_go_to_the_disk(monkeypatch, offset, nbytes, pages):
    begun = []
    monkeypatch.setattr(disk, "_sync_file_range", lambda: lambda *given: begun.append(given))
    begin_to_sync(7, offset, nbytes)
    assert begun == ([] if pages is None else [(7, *pages, 2)])


def test_what_begins_to_go_to_the_disk_goes_there(tmp_path):
    """The system takes the call as it is declared, and an fsync tells what it does not."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    write_all(fd, [bytes(10_000)], 0)
    begin_to_sync(fd, 0, 10_000)
    assert disk._sync_file_range()(fd, 0, 8192, 2) == 0
    os.close(fd)
    begin_to_sync(fd, 0, 10_000)
    assert disk._sync_file_range()(fd, 0, 8192, 2) == -1


def test_a_system_that_can_not_begin_does_without(monkeypatch):
    monkeypatch.setattr(disk, "_sync_file_range", lambda: None)
    begin_to_sync(-1, 0, 8192)


def test_a_part_that_is_written_is_gone_on_from(tmp_path, monkeypatch):
    """Near the end of a disk, or past 2 GiB, the system takes a part."""
    pwritev = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, at: pwritev(fd, [bytes(parts[0])[:3]], at))
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    write_all(fd, [b"abcdefg", b"", memoryview(b"hi"), b"jklm"], 2)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"\0\0abcdefghijklm"


def test_a_file_is_replaced_wholly_or_not(tmp_path, monkeypatch):
    path, fresh = tmp_path / "file", tmp_path / "fresh"
    replace_file(path, b"old", fresh)
    assert path.stat().st_mode & 0o777 == 0o600

    def fail(_):
        raise OSError(errno.EIO, "the disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="the disk"):
            replace_file(path, b"new", fresh)
        assert path.read_bytes() == b"old"
        replace_file(path, b"newer", fresh, durable=False)
    assert path.read_bytes() == b"newer"
    fresh.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(path, b"newest", fresh)
    assert not (tmp_path / "elsewhere").exists()
