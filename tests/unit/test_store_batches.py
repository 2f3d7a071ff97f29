"""Shards that come whole, many at once: what a batch leaves when the disk fails at any point of it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from naive import shards as naive
from stores import FENCE, shard_files

from faultset_ray.errors import CorruptShard, InputError, ShardSizeError, StoreFailure, WriteAborted
from faultset_ray.objects import store_base
from faultset_ray.objects.store_values import SealReceipt, Whole
from faultset_ray.shards.digest import granule_digests, verify_block
from faultset_ray.shards.format import Header

K, BLOCK = 2, 8192
DATA = np.random.default_rng(5).integers(0, 256, 12_345, dtype=np.uint8).tobytes()
DIGEST = hashlib.sha256(DATA).digest()
[BLOCKS] = naive.data_blocks(DATA, K, BLOCK)
BLOCKS = [np.frombuffer(raw, np.uint8) for raw in (*BLOCKS, naive.xor(BLOCKS))]


def whole(index=0, write=0):
    head = Header(index, K, K + 1, BLOCK, bytes([write]) * 16, "xor:2+1", granule_bytes=4096)
    return Whole(head.pack(), BLOCKS[index], granule_digests(head, 0, BLOCKS[index]), len(DATA), DIGEST)


def empty(index=0, write=0):
    head = Header(index, K, K + 1, BLOCK, bytes([write]) * 16, "xor:2+1")
    return Whole(head.pack(), None, None, 0, hashlib.sha256(b"").digest())


def names(store):
    return sorted(path.name for folder in ("tmp", "shards") for path in Path(store.info().path, folder).rglob("*.*"))


def test_they_are_the_files_that_blocks_make(store):
    receipts = store.write([whole(2), whole(0), whole(1)], FENCE)
    assert [(receipt.index, receipt.store, receipt.durability) for receipt in receipts] == [
        (index, store.uuid, store.info().durability) for index in (2, 0, 1)
    ]
    expected = naive.xor_shards(DATA, K, BLOCK, bytes(16), 4096)
    for file in shard_files(store):
        assert file.path.read_bytes() == expected[file.header.index]
        assert file.path.stat().st_mode & 0o777 == 0o600
        assert receipts[0].file_bytes == file.path.stat().st_size
        block, digests = store.read(bytes(16), file.header.index, 0)
        assert verify_block(file.header, 0, block, digests) == ()
    [receipt] = store.write([empty(write=1)], FENCE)
    assert store.stat(bytes([1]) * 16, 0).trailer.size == 0
    assert store.info().used_bytes == receipt.file_bytes + 3 * receipts[0].file_bytes


def test_repeats_return_the_same(store):
    first = store.write([whole(0), whole(1)], FENCE)
    assert store.write([whole(0), whole(1), whole(2)], FENCE)[:2] == first
    assert store.seal(bytes(16), 0, len(DATA), 1, DIGEST, FENCE) == first[0]
    assert store.info().shards == 3
    assert store.write([], FENCE) == []


def test_one_that_was_begun_by_blocks_is_finished(store):
    each = whole()
    store.append(each.header, 0, each.block, each.digests)
    [receipt] = store.write([each], FENCE)
    assert names(store) == ["00" * 16 + ".000.shard"]
    assert store.seal(bytes(16), 0, len(DATA), 1, DIGEST) == receipt
    assert store.info().shards == 1


def test_what_is_wrong_with_one_is_told_of_that_one(store):
    sound, other = whole(), whole(1)
    flipped = BLOCKS[1].copy()
    flipped[5000] ^= 1
    batch = [
        (sound, SealReceipt, "index=0"),
        (sound, InputError, "twice"),
        (replace(other, block=flipped), CorruptShard, "granules [1]"),
        (replace(other, header=other.header[:-1] + b"?"), CorruptShard, "CRC"),
        (replace(other, header=other.header + b"?"), InputError, "header is of 257 bytes"),
        (replace(other, size=len(DATA) + 2 * BLOCK), ShardSizeError, "stripes"),
        (replace(other, size=len(DATA) - 500), ShardSizeError, "block"),
        (replace(other, size=-1), InputError, "size"),
        (replace(other, size=0), InputError, "neither"),
        (replace(other, digests=None), InputError, "neither"),
        (replace(empty(1), size=5), InputError, "neither"),
        (replace(other, sha256=b"short"), InputError, "digests"),
    ]
    results = store.write([each for each, _, _ in batch], FENCE)
    for result, (_, kind, text) in zip(results, batch, strict=True):
        assert type(result) is kind, result
        assert text in str(result)
    assert [file.header.index for file in shard_files(store)] == [0]
    assert names(store) == ["00" * 16 + ".000.shard"]


def test_another_shard_in_the_same_place_is_refused(store):
    store.write([whole()], FENCE)
    head = replace(Header.unpack(whole().header), generation=7)
    others = [
        replace(whole(), header=head.pack(), digests=granule_digests(head, 0, BLOCKS[0])),
        replace(whole(), sha256=bytes(32)),
    ]
    for other in others:
        [result] = store.write([other], FENCE)
        assert type(result) is InputError
    assert store.stat(bytes(16), 0).trailer.object_digest == DIGEST


def test_an_aborted_write_takes_no_more(store):
    store.abort(bytes(16))
    results = store.write([whole(), whole(write=1)], FENCE)
    assert [type(result) for result in results] == [WriteAborted, SealReceipt]
    assert names(store) == ["01" * 16 + ".000.shard"]


def test_one_that_is_aborted_while_its_data_are_made_durable(durable, monkeypatch):
    fsync = os.fsync

    def abort(fd):
        durable.abort(bytes(16))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", abort)
    results = durable.write([whole(), whole(write=1)], FENCE)
    assert [type(result) for result in results] == [WriteAborted, SealReceipt]
    assert names(durable) == ["01" * 16 + ".000.shard"]


def test_a_batch_is_made_durable_at_once(durable, monkeypatch):
    """One fsync for each file and each directory, where shards one by one take two each."""
    batch = [whole(index, write) for write in range(4) for index in range(3)]
    durable.write([whole(0, write) for write in range(4)], FENCE)
    synced = []
    fsync = os.fsync

    def count(fd):
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", count)
    durable.write(batch, FENCE)
    files = [name for name in synced if name.endswith(".whole")]
    assert len(files) == len(set(files)) == 8, "four stood there"
    assert len(synced) == 8 + 4, "the four directories"
    assert sorted(synced)[:4] == sorted({name for name in synced if not name.endswith(".whole")})


def fail(code):
    raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["fsync", "pwritev"])
def test_a_file_that_the_disk_fails_is_dropped_alone(durable, monkeypatch, call, code):
    real = getattr(os, call)
    doomed = "01" * 16

    def failing(fd, *rest):
        if doomed in str(Path(f"/proc/self/fd/{fd}").readlink()):
            fail(code)
        return real(fd, *rest)

    durable.write([whole(write=9)], FENCE)
    batch = [whole(index, write) for write in range(3) for index in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        results = durable.write(batch, FENCE)
    for each, result in zip(batch, results, strict=True):
        if Header.unpack(each.header).write_id.hex() == doomed:
            assert type(result) is StoreFailure
            assert (result.store, result.errno_name) == (durable.uuid, errno.errorcode[code])
        else:
            assert type(result) is SealReceipt
    assert not [name for name in names(durable) if doomed in name]
    assert durable.info().shards == len(shard_files(durable)) == 5
    assert all(type(result) is SealReceipt for result in durable.write(batch, FENCE))


def test_a_directory_that_the_disk_fails_takes_its_new_shards_along(durable, monkeypatch):
    durable.write([whole(0)], FENCE)
    fsync = os.fsync

    def failing(fd):
        if str(Path(f"/proc/self/fd/{fd}").readlink()).endswith("/shards/00"):
            fail(errno.EIO)
        fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        results = durable.write([whole(0), whole(1), whole(0, write=1)], FENCE)
    assert [type(result) for result in results] == [StoreFailure, StoreFailure, SealReceipt]
    assert names(durable) == ["00" * 16 + ".000.shard", "01" * 16 + ".000.shard"], "what was acknowledged stays"
    assert durable.info().shards == 2


def test_a_directory_that_can_not_be_made_fails_all(durable, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", lambda *_args, **_options: fail(errno.ENOSPC))
    results = durable.write([whole(0), whole(0, write=1)], FENCE)
    assert [(type(result), result.errno_name) for result in results] == [(StoreFailure, "ENOSPC")] * 2
    assert names(durable) == []


def test_shards_leave_room_for_records(durable, monkeypatch):
    disk = SimpleNamespace(f_bavail=201, f_frsize=100, f_blocks=10_000)
    monkeypatch.setattr(store_base.os, "statvfs", lambda _: disk)
    with pytest.raises(StoreFailure, match="ENOSPC"):
        durable.write([whole()], FENCE)
    each = whole()
    with pytest.raises(StoreFailure, match="ENOSPC"):
        durable.append(each.header, 0, each.block, each.digests)
    assert durable.write([empty()], FENCE)[0].index == 0
    assert (durable.info().free_bytes, durable.info().capacity_bytes) == (20_100, 1_000_000)


def test_two_batches_with_the_same_shards(durable):
    """They take turns, and both get the receipts."""
    start = threading.Barrier(4)
    batch = [whole(index, write) for write in range(10) for index in range(3)]
    results = []

    def work(turn):
        order = np.random.default_rng(turn).permutation(len(batch))
        start.wait()
        answers = durable.write([batch[at] for at in order], FENCE)
        results.append([answers[at] for at in np.argsort(order)])

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(answers == results[0] for answers in results)
    assert all(type(answer) is SealReceipt for answer in results[0])
    assert durable.info().shards == len(batch) == len(shard_files(durable))
    assert durable.info().used_bytes == sum(answer.file_bytes for answer in results[0])
