"""Shards that are made again beside damaged ones, and what is on the disk of the directories that they stand in."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from damaging import flip
from stores import FENCE, crash, shard_files, store_at
from unit.test_store_batches import BLOCKS, DATA, DIGEST, whole

from faultset_ray.errors import IncompleteShard, ShardNotFound, StoreFailure
from faultset_ray.objects.store_values import SealReceipt

WRITE = bytes(16)


def make(store, index=0):
    """Seal a shard beside the one that is there."""
    each = whole(index)
    store.append(each.header, 0, each.block, each.digests, True)
    return store.seal(WRITE, index, len(DATA), 1, DIGEST, FENCE, True)


def names(store, folder):
    return sorted(path.name for path in Path(store.info().path, folder).iterdir())


def failing(code):
    """A call that the system refuses."""

    def fail(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture
def damaged(store):
    """A store with a shard that is damaged."""
    store.write([whole(0), whole(1)], FENCE)
    flip(store.stat(WRITE, 0).path)
    return store


def test_it_stands_in_its_place_only_when_it_is_swapped(damaged):
    info = damaged.info()
    assert damaged.check(WRITE, 0).corrupt
    receipt = make(damaged)
    assert make(damaged) == receipt, "again does nothing"
    assert damaged.check(WRITE, 0).corrupt, "the old one is still there"
    assert damaged.check(WRITE, 0, 0, None, True).corrupt == {}
    damaged.read(WRITE, 0, 0)  # the store has the file open
    damaged.swap(WRITE, 0, "granule 0 was corrupt", FENCE)
    assert damaged.check(WRITE, 0).corrupt == {}
    assert damaged.read(WRITE, 0, 0)[0].tobytes() == BLOCKS[0].tobytes()
    assert (damaged.info().shards, damaged.info().used_bytes) == (info.shards, info.used_bytes)
    name = f"{WRITE.hex()}.000.shard"
    assert names(damaged, "quarantine") == [name, f"{name}.reason"]
    assert names(damaged, "tmp") == []
    for act in (lambda: damaged.swap(WRITE, 0, "", FENCE), lambda: damaged.check(WRITE, 0, 0, None, True)):
        with pytest.raises(ShardNotFound):
            act()
    assert damaged.drop([(WRITE, None)], FENCE) == [3 * receipt.file_bytes]


def test_what_is_not_whole_is_never_swapped(damaged):
    each = whole()
    with pytest.raises(ShardNotFound):
        damaged.seal(WRITE, 0, len(DATA), 1, DIGEST, FENCE, True)
    damaged.begin(each.header, True)
    with pytest.raises(IncompleteShard):
        damaged.seal(WRITE, 0, len(DATA), 1, DIGEST, FENCE, True)
    with pytest.raises(ShardNotFound):
        damaged.swap(WRITE, 0, "", FENCE)
    assert damaged.discard(WRITE, 0) > 0
    assert damaged.discard(WRITE, 0) == 0
    assert names(damaged, "tmp") == []


def test_where_none_stands_it_is_the_first(store):
    make(store)
    store.swap(WRITE, 0, "missing", FENCE)
    assert store.info().shards == 1
    assert names(store, "quarantine") == []


def test_what_is_beside_goes_with_the_shard_and_with_the_process(damaged, tmp_path):
    for drop in ([(WRITE, 0)], [(WRITE, None)]):
        damaged.write([whole(0)], FENCE)
        make(damaged)
        damaged.drop(drop, FENCE)
        assert names(damaged, "tmp") == []


def test_a_crash_leaves_the_old_one(durable, tmp_path):
    durable.write([whole(0)], FENCE)
    flip(durable.stat(WRITE, 0).path)
    make(durable)
    crash(durable)
    again = store_at(tmp_path)
    assert again.uuid == durable.uuid
    assert again.check(WRITE, 0).corrupt
    assert names(again, "tmp") == []
    again.close()


@pytest.mark.parametrize("call", ["link", "fsync"])
def test_a_disk_that_fails_a_swap_leaves_one_of_them(durable, monkeypatch, call):
    durable.write([whole(0)], FENCE)
    flip(durable.stat(WRITE, 0).path)
    make(durable)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.EIO))
        with pytest.raises(StoreFailure, match="EIO"):
            durable.swap(WRITE, 0, "corrupt", FENCE)
    assert durable.stat(WRITE, 0).reason == ""
    assert names(durable, "tmp") == []
    make(durable)
    durable.swap(WRITE, 0, "corrupt", FENCE)
    assert durable.check(WRITE, 0).corrupt == {}
    assert durable.info().shards == 1


def test_a_file_system_without_links_keeps_no_copy(durable, monkeypatch):
    durable.write([whole(0)], FENCE)
    flip(durable.stat(WRITE, 0).path)
    make(durable)
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    durable.swap(WRITE, 0, "corrupt", FENCE)
    assert durable.check(WRITE, 0).corrupt == {}


def test_a_link_in_the_place_of_a_reason_is_not_followed(durable, tmp_path):
    """Neither to write, nor to tell what stands there."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for index, act in ((0, durable.quarantine), (1, durable.swap)):
        durable.write([whole(index)], FENCE)
        make(durable, index)
        reason = Path(durable.info().path, "quarantine", f"{WRITE.hex()}.{index:03d}.shard.reason")
        reason.symlink_to(victim)
        act(WRITE, index, "corrupt", FENCE)
        assert victim.read_text() == "precious"
        assert not reason.is_symlink()
        assert reason.read_text() == "corrupt"
    reason = Path(durable.info().path, "quarantine", f"{WRITE.hex()}.000.shard.reason")
    reason.unlink()
    reason.symlink_to(victim)
    assert "precious" not in durable.stat(WRITE, 0).reason


# -- Directories


def syncs(patch, failures):
    """Note the directories that are made durable; the first ones fail."""
    done, fsync = [], os.fsync

    def noted(fd):
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        if path.endswith("/shards") and len(failures) > 0:
            raise failures.pop()
        fsync(fd)
        done.append(path)

    patch.setattr(os, "fsync", noted)
    return done


def test_a_directory_whose_fsync_failed_is_made_again(durable, monkeypatch):
    root = durable.info().path
    done = syncs(monkeypatch, [OSError(errno.EIO, "EIO")])
    [first] = durable.write([whole(0)], FENCE)
    assert isinstance(first, StoreFailure)
    assert not Path(root, "shards/00").exists()
    [second] = durable.write([whole(0)], FENCE)
    assert isinstance(second, SealReceipt)
    assert done.count(f"{root}/shards") == 1
    durable.write([whole(1)], FENCE)
    assert done.count(f"{root}/shards") == 1, "once is enough"


def test_a_directory_that_was_made_before_a_crash_is_not_taken_for_granted(durable, tmp_path, monkeypatch):
    root = Path(durable.info().path)
    (root / "shards/00").mkdir(mode=0o700)
    crash(durable)
    done = syncs(monkeypatch, [])
    again = store_at(tmp_path)
    assert again.uuid == durable.uuid
    done.clear()
    [receipt] = again.write([whole(0)], FENCE)
    assert isinstance(receipt, SealReceipt)
    assert f"{root}/shards" in done
    again.close()


def test_a_store_that_starts_makes_durable_what_a_start_before_may_not_have(tmp_path, monkeypatch):
    """Starts before failed when directories were made: these are there, and need not be on the disk."""
    root, fsync = tmp_path / "a" / "b", os.fsync
    done, broken = [], [tmp_path, root, root / "system", root / "system"]

    def noted(fd):
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if broken and path == broken[0]:
            raise OSError(errno.EIO, "EIO")
        fsync(fd)
        done.append(path)

    monkeypatch.setattr(os, "fsync", noted)
    while broken:
        with pytest.raises(StoreFailure, match="EIO"):
            store_at(root)
        broken.pop(0)
    done.clear()
    store = store_at(root)
    path = Path(store.info().path)
    assert {path, path.parent, root, path / "shards"} <= set(done)
    store.close()


def test_of_two_threads_neither_is_told_before_the_directory_is_on_the_disk(durable, monkeypatch):
    root, fsync = durable.info().path, os.fsync
    order, begun, go_on = [], threading.Event(), threading.Event()

    def slow(fd):
        if str(Path(f"/proc/self/fd/{fd}").readlink()) == f"{root}/shards":
            begun.set()
            assert go_on.wait(20)
            order.append("directory")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", slow)

    def write(index):
        [receipt] = durable.write([whole(index)], FENCE)
        assert isinstance(receipt, SealReceipt)
        order.append("told")

    threads = [threading.Thread(target=write, args=(index,)) for index in range(2)]
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    threads[1].join(0.3)  # as far as it gets
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert order == ["directory", "told", "told"]
    assert len(shard_files(durable)) == 2
