"""Where decoded bytes go: all of them, or none to be seen."""

import os
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from faultset_ray.errors import InputError, ShardSizeError
from faultset_ray.objects import sink as sink_module
from faultset_ray.objects.sink import sink_for


def data(text):
    return np.frombuffer(text, np.uint8)


def fill(sink):
    sink.write(3, data(b"def"))
    sink.write(0, data(b"abc"))
    sink.write(6, data(b""))


def test_bytes():
    with sink_for(None, 6) as sink:
        fill(sink)
        assert sink.finish() == b"abcdef"


@pytest.mark.parametrize(
    "out",
    [bytearray(6), memoryview(bytearray(6)), np.zeros(6, np.uint8), np.zeros((3, 1), np.int16), np.zeros(1, "V6")],
)
def test_a_buffer_is_filled_where_it_lies(out):
    with sink_for(out, 6) as sink:
        fill(sink)
        assert sink.finish() is None
    assert bytes(memoryview(out).cast("B")) == b"abcdef"


@pytest.mark.parametrize("size", [5, 7])
def test_a_buffer_of_another_size(size):
    with pytest.raises(ShardSizeError, match=f"out is {size}; expected 6 bytes"), sink_for(bytearray(size), 6):
        pytest.fail("must not open")


@pytest.mark.parametrize(
    ("out", "why"),
    [
        (b"abcdef", "out is read-only"),
        (np.broadcast_to(np.uint8(0), 6), "not contiguous"),
        (np.zeros(12, np.uint8)[::2], "not contiguous"),
        (np.zeros(6, object), "Python objects"),
        (7, "out is int; expected a path or a writable buffer"),
        ([0] * 6, "out is list"),
    ],
)
def test_what_can_not_be_written_to(out, why):
    with pytest.raises(InputError, match=why), sink_for(out, 6):
        pytest.fail("must not open")


def test_a_file_appears_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with sink_for("out", 6) as sink:
        fill(sink)
        assert not (tmp_path / "out").exists()
        [unfinished] = tmp_path.iterdir()
        assert unfinished.name.startswith(".out.")
        sink.finish()
        assert (tmp_path / "out").read_bytes() == b"abcdef"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("before", [None, b"older"])
@pytest.mark.parametrize("cut", [ValueError, KeyboardInterrupt, None])
def test_nothing_is_left_of_an_unfinished_file(tmp_path, before, cut):
    out = tmp_path / "out"
    if before:
        out.write_bytes(before)
    with pytest.raises(cut) if cut else nullcontext(), sink_for(out, 6) as sink:
        fill(sink)
        if cut:
            raise cut
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_a_disk_that_fails_leaves_the_older_file(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.write_bytes(b"older")

    def fsync(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sink_module.os, "fsync", fsync)
    with sink_for(out, 6) as sink:
        fill(sink)
        with pytest.raises(OSError, match="No space"):
            sink.finish()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with sink_for(tmp_path / "out", 6) as sink:
            fill(sink)
            sink.finish()
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_leaves_its_mode(tmp_path, mode):
    out = tmp_path / "out"
    out.write_bytes(b"older")
    out.chmod(mode)
    with sink_for(out, 6) as sink:
        fill(sink)
        [unfinished] = set(tmp_path.iterdir()) - {out}
        assert unfinished.stat().st_mode & 0o777 == mode
        sink.finish()
    assert out.stat().st_mode & 0o777 == mode
    assert out.read_bytes() == b"abcdef"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_leaves_its_owner(tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"older")
    os.chown(out, 1234, 2345)
    with sink_for(out, 6) as sink:
        fill(sink)
        sink.finish()
    assert (out.stat().st_uid, out.stat().st_gid) == (1234, 2345)


@pytest.mark.parametrize("before", [b"older", None])
def test_links_are_followed_and_stay(tmp_path, before):
    (tmp_path / "far").mkdir()
    file, link, other = tmp_path / "far" / "file", tmp_path / "link", tmp_path / "other"
    link.symlink_to("far/file")
    other.symlink_to(link)
    if before:
        file.write_bytes(before)
    with sink_for(other, 6) as sink:
        fill(sink)
        sink.finish()
    assert other.is_symlink()
    assert link.is_symlink()
    assert not file.is_symlink()
    assert file.read_bytes() == b"abcdef"
    assert [path.name for path in file.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("through_a_link", [False, True])
def test_what_is_no_file_is_left_as_it_is(tmp_path, through_a_link):
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    out = link if through_a_link else fifo
    with pytest.raises(InputError, match=f"no regular file.*use `-o - > {out}`"), sink_for(out, 6):
        pytest.fail("must not open")
    assert fifo.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "link"]


def test_what_has_no_name_is_left_as_it_is(tmp_path):
    out = tmp_path / "out"
    with out.open("wb") as held:
        out.unlink()
        link = f"/proc/self/fd/{held.fileno()}"
        with pytest.raises(InputError, match="no regular file"), sink_for(link, 6):
            pytest.fail("must not open")
    assert not list(tmp_path.iterdir())


def test_short_writes_are_gone_on_with(tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(sink_module.os, "pwrite", lambda fd, view, start: whole(fd, view[:2], start))
    with sink_for(tmp_path / "out", 6) as sink:
        fill(sink)
        sink.finish()
    assert (tmp_path / "out").read_bytes() == b"abcdef"


def test_no_directory_to_write_to(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for out, why in [
        (tmp_path, "is a directory; pass the path of a file"),
        (tmp_path / "none" / "out", "none is not a directory; out can't be written there"),
        (tmp_path / "file" / "out", "file is not a directory"),
    ]:
        with pytest.raises(InputError, match=why), sink_for(out, 6):
            pytest.fail("must not open")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("target", ["file", "buffer"])
def test_late_pieces_reach_nothing(tmp_path, target):
    """A descriptor's number is soon another file's; a buffer is the caller's again."""
    out = tmp_path / "out" if target == "file" else bytearray(6)
    with sink_for(out, 6) as sink:
        descriptor = getattr(sink, "_descriptor", None)
    victim = os.open(tmp_path / "victim", os.O_RDWR | os.O_CREAT)
    try:
        assert descriptor in (None, victim), "the number was not used again; the test shows nothing"
        fill(sink)
        assert os.fstat(victim).st_size == 0
        assert target == "file" or out == bytearray(6)
    finally:
        os.close(victim)


def test_closing_waits_for_the_piece_that_is_written(tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    whole = os.pwrite

    def slow(descriptor, view, start):
        begun.set()
        assert go_on.wait(10)
        return whole(descriptor, view, start)

    monkeypatch.setattr(sink_module.os, "pwrite", slow)
    closed = []
    with sink_for(tmp_path / "out", 6) as sink:
        writer = threading.Thread(target=fill, args=(sink,))
        writer.start()
        assert begun.wait(10)
        closer = threading.Thread(target=lambda: closed.append(sink.close()))
        closer.start()
        assert not closed
        go_on.set()
        closer.join(10)
        writer.join(10)
        assert closed == [None]
        sink.close = lambda: None
    assert not Path(sink._unfinished).exists()
