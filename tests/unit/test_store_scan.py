"""What a store tells of its shards: pages of both ends, deep checks, and what lies in quarantine."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from damaging import flip
from naive import shards as naive
from stores import FENCE, shard_files, store_at

from faultset_ray.errors import InputError, ShardNotFound, StoreFailure
from faultset_ray.objects.store_values import Held, Whole
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header

K, BLOCK = 2, 8192
DATA = np.random.default_rng(3).integers(0, 256, 3 * K * BLOCK - 1000, dtype=np.uint8).tobytes()
DIGEST = hashlib.sha256(DATA).digest()
ROWS = [[np.frombuffer(raw, np.uint8) for raw in (*row, naive.xor(row))] for row in naive.data_blocks(DATA, K, BLOCK)]
OBJECT_ID = bytes(range(32))


def header(index, write=1, generation=9):
    return Header(index, K, K + 1, BLOCK, bytes([write]) * 16, "xor:2+1", generation, OBJECT_ID, granule_bytes=4096)


def put(store, index, write=1):
    head = header(index, write)
    for stripe, blocks in enumerate(ROWS):
        store.append(head.pack(), stripe, blocks[index], granule_digests(head, stripe, blocks[index]))
    return store.seal(head.write_id, index, len(DATA), len(ROWS), DIGEST)


def pages(store, limit):
    """All pages, and the columns of all of them: write ids, indices and faults."""
    found, cursor = [], b""
    while not found or cursor:
        found.append(store.scan(cursor, limit))
        cursor = found[-1].next
    rows = [
        (write_id.tobytes(), index, fault)
        for page in found
        for write_id, index, fault in zip(page.write_id, page.index.tolist(), page.fault, strict=True)
    ]
    return found, rows


@pytest.fixture
def store(tmp_path):
    store = store_at(tmp_path)
    yield store
    store.close()


def test_pages_tell_every_shard_once_and_in_order(store):
    for write in (200, 3, 1):
        for index in (2, 0):
            receipt = put(store, index, write)
    [first], rows = pages(store, 100)
    assert rows == [(bytes([write]) * 16, index, "") for write in (1, 3, 200) for index in (0, 2)]
    assert (first.write_id.dtype, first.write_id.shape) == (np.uint8, (6, 16))
    assert [column.dtype for column in (first.index, first.generation, first.size, first.file_bytes)] == [
        np.uint16,
        np.uint64,
        np.uint64,
        np.uint64,
    ]
    assert set(first.generation.tolist()) == {9}
    assert {row.tobytes() for row in first.object_id} == {OBJECT_ID}
    assert set(first.size.tolist()) == {len(DATA)}
    assert set(first.file_bytes.tolist()) == {receipt.file_bytes}
    for limit in (1, 2, 3, 5, 6):
        found, again = pages(store, limit)
        assert again == rows
        assert len(found) == -(-6 // limit)


def test_an_empty_store_has_one_empty_page(store):
    [page], rows = pages(store, 10)
    assert rows == []
    assert (page.write_id.shape, page.object_id.shape, page.index.shape) == ((0, 16), (0, 32), (0,))


def test_shards_that_come_and_go_between_pages(store):
    for write in (1, 3, 5):
        put(store, 0, write)
    page = store.scan(b"", 2)
    store.drop([(bytes([3]) * 16, None)], FENCE)
    put(store, 0, 2)
    put(store, 0, 4)
    rest = store.scan(page.next, 10)
    assert [row[0] for row in rest.write_id] == [4, 5]


def test_damage_at_the_ends_is_told(store):
    for index in range(3):
        put(store, index)
        put(store, index, write=2)
    paths = [file.path for file in shard_files(store)]
    os.truncate(paths[0], 300)
    flip(paths[1], 20)
    paths[2].write_bytes(paths[3].read_bytes())
    paths[4].unlink()
    paths[4].mkdir()
    paths[5].unlink()
    paths[5].symlink_to(paths[3])
    [page], rows = pages(store, 100)
    faults = [fault for _, _, fault in rows]
    assert faults[0].startswith("has no trailer")
    assert "CRC" in faults[1]
    assert faults[2] == f"holds shard 0 of write {'02' * 16}"
    assert faults[3] == ""
    assert "not a regular file" in faults[4]
    assert "can't be read" in faults[5]
    assert page.generation.tolist() == [9, 0, 9, 9, 0, 0]
    assert page.size.tolist() == [0, 0, 0, len(DATA), 0, 0]


def test_a_deep_check_finds_every_flipped_granule(store):
    put(store, 1)
    [file] = shard_files(store)
    sound = store.check(bytes([1]) * 16, 1)
    assert (dict(sound.corrupt), sound.next_stripe, sound.stripes, sound.fault, sound.done) == ({}, 3, 3, "", True)
    assert sound.bytes_read == file.path.stat().st_size - 256 - 160
    layout = file.header.layout
    flip(file.path, layout.offset(0) + 4096)
    flip(file.path, layout.offset(2) + 1)
    flip(file.path, layout.offset(2) + 4097)
    check = store.check(bytes([1]) * 16, 1)
    assert dict(check.corrupt) == {0: (1,), 2: (0, 1)}
    assert (check.fault, check.done) == ("", True), "the digests are those that were sealed"
    parts, at = {}, 0
    while True:
        part = store.check(bytes([1]) * 16, 1, at, 1)
        parts |= part.corrupt
        assert part.next_stripe == at + 1
        if part.done:
            break
        at = part.next_stripe
    assert parts == check.corrupt


def test_a_deep_check_finds_digests_that_were_changed_together_with_their_block(store):
    """Every granule fits its digest, and the table is another."""
    put(store, 0)
    [file] = shard_files(store)
    block = np.zeros(BLOCK, np.uint8)
    raw = bytearray(file.path.read_bytes())
    start = file.header.layout.offset(1)
    raw[start : start + BLOCK + 8] = block.tobytes() + granule_digests(file.header, 1, block).tobytes()
    file.path.write_bytes(raw)
    check = store.check(bytes([1]) * 16, 0)
    assert not check.corrupt
    assert "table of digests" in check.fault
    assert store.check(bytes([1]) * 16, 0, 0, 1).fault == ""
    assert "table of digests" in store.check(bytes([1]) * 16, 0, 2, 1).fault


def test_a_deep_check_of_what_can_not_be_read(store, monkeypatch):
    put(store, 0)
    put(store, 1)
    one, two = (file.path for file in shard_files(store))
    os.truncate(one, 5000)
    check = store.check(bytes([1]) * 16, 0)
    assert "has no trailer" in check.fault
    assert check.done

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", fail)
        assert store.check(bytes([1]) * 16, 1).fault == "can't be read: Input/output error"
        with pytest.raises(StoreFailure, match="EIO"):
            store.read(bytes([1]) * 16, 1, 0)
    assert store.check(bytes([1]) * 16, 1).fault == ""
    assert two.exists()
    with pytest.raises(ShardNotFound):
        store.check(bytes([1]) * 16, 2)


def test_an_empty_object_is_checked(store):
    store.write([Whole(header(0).pack(), None, None, 0, DIGEST)], FENCE)
    check = store.check(bytes([1]) * 16, 0)
    assert (check.stripes, check.bytes_read, check.done, check.fault) == (0, 0, True, "")


def test_quarantine_is_told_of_and_never_read(store):
    for index in range(2):
        put(store, index)
    write_id = bytes([1]) * 16
    store.read(write_id, 0, 0)
    used = store.info().used_bytes
    store.quarantine(write_id, 0, "granule 3 of stripe 1\r\nis corrupt: é", FENCE)
    store.quarantine(write_id, 0, "another reason", FENCE)
    for act in (lambda: store.read(write_id, 0, 0), lambda: store.check(write_id, 0)):
        with pytest.raises(ShardNotFound):
            act()
    with pytest.raises(ShardNotFound):
        store.quarantine(write_id, 2, "", FENCE)
    assert store.held([write_id]) == [Held((1,), False)]
    assert (store.info().shards, store.info().used_bytes) == (1, used // 2)
    [page], rows = pages(store, 1)[0][:1], pages(store, 1)[1]
    assert rows == [
        (write_id, 0, "quarantined: granule 3 of stripe 1\r\nis corrupt: é"),
        (write_id, 1, ""),
    ]
    assert page.generation.tolist() == [9]
    put(store, 0)
    assert [fault for _, _, fault in pages(store, 5)[1]] == ["", ""], "what was made anew stands before it"
    assert store.check(write_id, 0).fault == ""
    home = Path(store.info().path)
    assert len(list((home / "quarantine").iterdir())) == 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (home / "quarantine").iterdir())
    [freed] = store.drop([(write_id, 0)], FENCE)
    assert freed == used
    assert list((home / "quarantine").iterdir()) == []


def test_dropping_a_write_takes_it_out_of_quarantine(store):
    put(store, 0)
    store.quarantine(bytes([1]) * 16, 0, "\ud800 no matter what", FENCE)
    assert store.drop([(bytes([1]) * 16, None)], FENCE) != [0]
    assert pages(store, 5)[1] == []
    assert store.drop([(bytes([1]) * 16, None)], FENCE) == [0]


def test_what_lies_in_quarantine_is_dropped_after_a_restart_too(tmp_path):
    """Its own directory is empty by then, and the restart has removed it."""
    before = store_at(tmp_path)
    put(before, 0)
    before.quarantine(bytes([1]) * 16, 0, "rotten", FENCE)
    before.close()
    store = store_at(tmp_path)
    assert not (Path(store.info().path) / "shards" / "01").exists()
    assert store.drop([(bytes([1]) * 16, None)], FENCE) != [0]
    assert pages(store, 5)[1] == []
    store.close()


@pytest.mark.parametrize("cursor", [b"x", bytes(17), bytes(19)])
def test_a_cursor_of_no_page_is_refused(store, cursor):
    with pytest.raises(InputError, match="cursor"):
        store.scan(cursor, 1)
