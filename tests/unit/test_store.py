import errno
import hashlib
import os
import pickle
import resource
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from naive import shards as naive
from stores import shard_files, store_at
from told import told

from faultset_ray.errors import (
    CorruptShard,
    IncompleteShard,
    InputError,
    ShardNotFound,
    ShardSizeError,
    StoreFailure,
    WriteAborted,
)
from faultset_ray.objects import store_shards, store_writing
from faultset_ray.shards import writer as writing
from faultset_ray.shards.digest import granule_digests, verify_block
from faultset_ray.shards.format import Header
from faultset_ray.shards.reader import inspect

K, BLOCK = 2, 4160
DATA = np.random.default_rng(5).integers(0, 256, 2 * K * BLOCK + 1000, dtype=np.uint8).tobytes()
DIGEST = hashlib.sha256(DATA).digest()
BLOCKS = [
    [np.frombuffer(raw, np.uint8) for raw in (*blocks, naive.xor(blocks))]
    for blocks in naive.data_blocks(DATA, K, BLOCK)
]
WRITE_ID = bytes(range(16))


def header(index=0, write_id=WRITE_ID):
    return Header(index, K, K + 1, BLOCK, write_id, "xor:2+1", granule_bytes=4096)


def append(store, stripe, index=0, write_id=WRITE_ID):
    head, block = header(index, write_id), BLOCKS[stripe][index]
    store.append(head.pack(), stripe, block, granule_digests(head, stripe, block))


def put(store, index=0, write_id=WRITE_ID):
    for stripe in (1, 0, 2):
        append(store, stripe, index, write_id)
    return store.seal(write_id, index, len(DATA), 3, DIGEST)


def files(store):
    """Every shard file of a store, sealed or not."""
    home = Path(store.info().path)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*.shard"))


def test_keeps_shards(store):
    receipts = [put(store, index) for index in (2, 0, 1)]
    assert [receipt.index for receipt in receipts] == [2, 0, 1]
    assert {receipt.store for receipt in receipts} == {store.info().uuid}
    expected = naive.xor_shards(DATA, K, BLOCK, WRITE_ID, 4096)
    for file in shard_files(store):
        assert file.reason == ""
        assert file.path.read_bytes() == expected[file.header.index]
        for stripe in range(3):
            block, digests = store.read(WRITE_ID, file.header.index, stripe)
            assert np.array_equal(block, BLOCKS[stripe][file.header.index])
            assert verify_block(file.header, stripe, block, digests) == ()
    block, digests = store.read(WRITE_ID, 1, 0, 1, 1)
    assert np.array_equal(block, BLOCKS[0][1][4096:])
    assert verify_block(header(1), 0, block, digests, 1) == ()


def test_tells_what_it_is(tmp_path):
    store = store_at(tmp_path)
    info = store.info()
    assert (info.place, info.region, info.durability) == ("place-1", "eu", "fsync")
    assert Path(info.path) == tmp_path / "system" / info.uuid
    disk = os.statvfs(tmp_path)
    assert 0 < info.free_bytes <= disk.f_blocks * disk.f_frsize
    receipt = put(store)
    assert (receipt.place, receipt.region, receipt.durability) == ("place-1", "eu", "fsync")
    assert receipt.file_bytes == shard_files(store)[0].path.stat().st_size
    for value in (info, receipt, store.stat(WRITE_ID, 0)):
        assert pickle.loads(pickle.dumps(value)) == value
    store.close()


def test_an_empty_object(store):
    head = header()
    store.begin(head.pack())
    store.begin(head.pack())
    digest = hashlib.sha256(b"").digest()
    receipt = store.seal(WRITE_ID, 0, 0, 0, digest)
    assert store.seal(WRITE_ID, 0, 0, 0, digest) == receipt
    assert store.stat(WRITE_ID, 0).trailer.object_digest == digest
    with pytest.raises(InputError):
        store.read(WRITE_ID, 0, 0)


def test_repeats_do_nothing(store):
    receipt = put(store)
    append(store, 0)
    store.begin(header().pack())
    assert store.seal(WRITE_ID, 0, len(DATA), 3, DIGEST) == receipt
    assert len(files(store)) == 1
    assert store.delete(WRITE_ID) == receipt.file_bytes
    assert store.delete(WRITE_ID) == 0
    assert store.abort(WRITE_ID) == 0
    assert files(store) == []


def test_what_is_not_sealed_is_not_there(store):
    append(store, 0)
    assert shard_files(store) == []
    assert store.stat(WRITE_ID, 0) is None
    with pytest.raises(ShardNotFound) as caught:
        store.read(WRITE_ID, 0, 0)
    assert (caught.value.write_id, caught.value.index) == (WRITE_ID.hex(), 0)
    with pytest.raises(IncompleteShard):
        store.seal(WRITE_ID, 0, len(DATA), 3, DIGEST)
    append(store, 1)
    append(store, 2)
    store.seal(WRITE_ID, 0, len(DATA), 3, DIGEST)


def test_sealing_what_was_never_begun(store):
    with pytest.raises(ShardNotFound):
        store.seal(WRITE_ID, 0, len(DATA), 3, DIGEST)


def test_sealing_with_other_values(store):
    put(store)
    with pytest.raises(InputError):
        store.seal(WRITE_ID, 0, len(DATA), 3, bytes(32))
    with pytest.raises(InputError):
        store.seal(WRITE_ID, 0, len(DATA) - 1, 3, DIGEST)


def test_another_header_for_the_same_shard(store):
    append(store, 0)
    other = replace(header(), generation=1)
    digests = granule_digests(other, 1, BLOCKS[1][0])
    for _ in ("unsealed", "sealed"):
        with pytest.raises(InputError, match="another header"):
            store.append(other.pack(), 1, BLOCKS[1][0], digests)
        put(store)
    assert inspect(shard_files(store)[0].path).header.generation == 0


def test_damage_on_the_way_is_refused(store):
    head = header().pack()
    digests = granule_digests(header(), 0, BLOCKS[0][0])
    flipped = BLOCKS[0][0].copy()
    flipped[4100] ^= 1
    with pytest.raises(CorruptShard, match=r"granules \[1\]"):
        store.append(head, 0, flipped, digests)
    with pytest.raises(CorruptShard):
        store.append(head, 1, BLOCKS[0][0], digests)
    with pytest.raises(CorruptShard):
        store.append(head[:-1] + b"?", 0, BLOCKS[0][0], digests)
    with pytest.raises(ShardSizeError):
        store.append(head, 0, BLOCKS[0][0][:4096], digests)
    assert files(store) == []


@pytest.mark.parametrize(
    ("write_id", "index"),
    [("x" * 16, 0), (b"short", 0), (WRITE_ID, -1), (WRITE_ID, True), (WRITE_ID, 65_535), (WRITE_ID, 1.0)],
)
def test_refuses_what_names_no_shard(durable, write_id, index):
    with pytest.raises(InputError):
        durable.read(write_id, index, 0)
    with pytest.raises(InputError):
        durable.seal(write_id, index, 0, 0, DIGEST)
    assert durable.stat(WRITE_ID, 0) is None


def test_aborting_drops_only_that_write(store):
    other = bytes(16)
    append(store, 0)
    append(store, 0, index=1)
    append(store, 0, write_id=other)
    assert store.abort(WRITE_ID) >= 2 * BLOCK
    assert len(files(store)) == 1
    put(store, write_id=other)
    assert len(shard_files(store)) == 1


def test_an_aborted_write_takes_no_late_blocks(store):
    """Those may be on their way while the write is given up."""
    append(store, 0, index=1)
    put(store, 0)
    assert store.abort(WRITE_ID) > 0
    with pytest.raises(WriteAborted):
        append(store, 1, index=1)
    with pytest.raises(WriteAborted):
        store.begin(header(2).pack())
    assert len(files(store)) == 1, "what was sealed stays"
    store.delete(WRITE_ID)
    assert files(store) == []
    with pytest.raises(WriteAborted):
        append(store, 0)


def test_deleting_drops_sealed_and_unsealed(store):
    put(store)
    append(store, 0, index=1)
    put(store, write_id=bytes([0]) + WRITE_ID[1:-1] + b"x")
    store.read(WRITE_ID, 0, 0)
    assert store.delete(WRITE_ID) > 0
    assert len(files(store)) == 1
    with pytest.raises(ShardNotFound):
        store.read(WRITE_ID, 0, 0)
    put(store)
    assert np.array_equal(store.read(WRITE_ID, 0, 0)[0], BLOCKS[0][0])


def test_files_and_directories_are_private(durable):
    put(durable)
    append(durable, 0, index=1)
    home = Path(durable.info().path)
    for path in (home, *home.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert home.parent.stat().st_mode & 0o777 in {0o700, 0o755, 0o775}


def test_damaged_shards_are_listed_with_the_reason(durable):
    put(durable, 0)
    put(durable, 1)
    put(durable, 2)
    zero, one, two = (file.path for file in shard_files(durable))
    os.truncate(zero, 300)
    one.write_bytes(two.read_bytes())
    found = shard_files(durable)
    assert [bool(file.reason) for file in found] == [True, True, False]
    assert found[0].reason.startswith("has no trailer")
    assert found[1].reason == f"holds shard 2 of write {WRITE_ID.hex()}"
    assert durable.stat(WRITE_ID, 0) == found[0]
    for index in (0, 1):
        with pytest.raises(CorruptShard):
            durable.read(WRITE_ID, index, 0)


def test_links_are_not_followed(durable, tmp_path):
    put(durable)
    path = shard_files(durable)[0].path
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    path.rename(moved / path.name)
    path.symlink_to(moved / path.name)
    with pytest.raises(StoreFailure, match="ELOOP"):
        durable.read(WRITE_ID, 0, 0)
    path.unlink()
    bucket = path.parent
    bucket.rmdir()
    bucket.symlink_to(moved)
    assert shard_files(durable) == []
    for act in (
        lambda: durable.read(WRITE_ID, 0, 0),
        lambda: durable.delete(WRITE_ID),
        lambda: put(durable),
    ):
        with pytest.raises(StoreFailure, match="ENOTDIR"):
            act()
    assert (moved / path.name).exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(("call", "act"), [("pwritev", "append"), ("pwritev", "seal"), ("fsync", "seal")])
def test_a_failing_disk_leaves_no_half_shard(durable, monkeypatch, code, call, act, caplog):
    append(durable, 0)
    append(durable, 1)
    if act == "seal":
        append(durable, 2)

    def fail(*_):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreFailure) as caught:
            durable.seal(WRITE_ID, 0, len(DATA), 3, DIGEST) if act == "seal" else append(durable, 2)
    assert caught.value.errno_name == errno.errorcode[code]
    assert caught.value.store == durable.info().uuid
    [failed] = told(caplog, "store_full" if code == errno.ENOSPC else "store_failed")
    assert (failed["store"], failed["error"]) == (durable.info().uuid, errno.errorcode[code])
    assert files(durable) == []
    put(durable)
    assert inspect(shard_files(durable)[0].path).reason == ""


def test_a_failure_after_the_rename_is_not_a_receipt(durable, monkeypatch):
    """The file stands in its place, but the directory may not be on disk."""
    for stripe in range(3):
        append(durable, stripe)
    fsync = os.fsync
    calls = []

    def fail_second(fd):
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(errno.EIO, "")
        fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_second)
        with pytest.raises(StoreFailure):
            durable.seal(WRITE_ID, 0, len(DATA), 3, DIGEST)
    assert len(calls) == 2, "the file, the directory"
    assert files(durable) == []


def test_a_seal_finds_done_what_could_be_done_before(durable, monkeypatch):
    """The directory's name is on the disk, and the blocks are on their way."""
    bucket = Path(durable.info().path) / "shards" / WRITE_ID[:1].hex()
    synced, begun, fsync = [], [], os.fsync

    def note(fd):
        synced.append(Path(f"/proc/self/fd/{fd}").readlink())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(writing, "begin_to_sync", lambda _fd, offset, nbytes: begun.append((offset, nbytes)))
    for stripe in range(3):
        append(durable, stripe)
    assert synced == [bucket.parent]
    assert bucket.is_dir()
    layout = header().layout
    assert begun == [(layout.offset(at), layout.record_bytes(len(BLOCKS[at][0]))) for at in range(3)]
    durable.seal(WRITE_ID, 0, len(DATA), 3, DIGEST)
    assert len(synced) == 3, "the file, the directory"
    assert synced[2] == bucket


def test_only_what_is_to_last_is_hurried_to_the_disk(store, monkeypatch):
    begun = []
    monkeypatch.setattr(writing, "begin_to_sync", lambda *given: begun.append(given))
    append(store, 0)
    assert len(begun) == (store.info().durability == "fsync")


def test_a_disk_that_is_full_for_real(durable):
    """A file size limit acts as a full disk does: a part is written, then nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        append(durable, 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK * 2, hard))
        with pytest.raises(StoreFailure, match="EFBIG"):
            append(durable, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert files(durable) == []
    put(durable)


def test_few_files_are_open_however_many_shards(durable, monkeypatch):
    for module in (store_shards, store_writing):
        monkeypatch.setattr(module, "STORE_OPEN_FILES_MAX", 4)
    write_ids = [bytes([turn]) * 16 for turn in range(30)]
    before = len(list(Path("/proc/self/fd").iterdir()))

    def opened():
        return len(list(Path("/proc/self/fd").iterdir())) - before

    for stripe in range(3):
        for write_id in write_ids:
            append(durable, stripe, write_id=write_id)
            assert opened() <= 4
    for write_id in write_ids:
        durable.seal(write_id, 0, len(DATA), 3, DIGEST)
    assert opened() == 0
    for write_id in write_ids * 2:
        assert np.array_equal(durable.read(write_id, 0, 1)[0], BLOCKS[1][0])
        assert opened() <= 4


def test_a_shard_whose_write_back_failed_is_never_sealed(durable, monkeypatch):
    """Its file was closed to make room, and only then did the disk tell; the call that made room goes on."""
    monkeypatch.setattr(store_writing, "STORE_OPEN_FILES_MAX", 1)
    for stripe in range(3):
        append(durable, stripe)

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        append(durable, 0, index=1)
    assert len(files(durable)) == 1
    with pytest.raises(IncompleteShard):
        durable.seal(WRITE_ID, 0, len(DATA), 3, DIGEST)
    durable.delete(WRITE_ID)
    put(durable)


def test_many_threads(store):
    """Every thread does everything to shards that all of them share."""
    write_ids = [bytes([turn]) * 16 for turn in range(6)]
    start = threading.Barrier(6)
    errors = []

    def work(turn):
        try:
            start.wait()
            order = np.random.default_rng(turn).permutation(len(write_ids) * K)
            for shard in order:
                write_id, index = write_ids[shard // K], int(shard % K)
                put(store, index, write_id)
                block, digests = store.read(write_id, index, 1)
                assert verify_block(header(index, write_id), 1, block, digests) == ()
                shard_files(store)
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(shard_files(store)) == len(write_ids) * K


def test_deleting_while_others_read_and_write(durable):
    """A reader has the shard whole or not at all; no file is left open or behind."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    done = threading.Event()
    errors = []

    def read():
        while not done.is_set():
            try:
                block, digests = durable.read(WRITE_ID, 0, 2)
                assert verify_block(header(), 2, block, digests) == ()
            except ShardNotFound:
                pass
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        put(durable)
        assert durable.delete(WRITE_ID) > 0
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert files(durable) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_closed_store_refuses(store):
    put(store)
    store.close()
    store.close()
    for act in (
        store.info,
        lambda: store.scan(b"", 1),
        lambda: put(store),
        lambda: store.read(WRITE_ID, 0, 0),
        lambda: store.delete(WRITE_ID),
    ):
        with pytest.raises(StoreFailure, match="closed"):
            act()
