"""Records on a store: needed by shards, kept through failures of the disk and ends of the process."""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import FENCE, crash, store_at
from told import told

from faultset_ray.errors import CorruptShard, InputError, ShardNotFound, StoreFailure, UnsupportedFormat
from faultset_ray.objects.record import Record, object_id
from faultset_ray.objects.store_values import Held, Whole
from faultset_ray.shards.format import Header

DIGEST = b"d" * 32


def write_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def put(number: int, name: str | None = None, generation: int = 1) -> Record:
    name = f"object {number}" if name is None else name
    return Record("put", name, generation, write_id(number), 0, DIGEST, "xor:2+1", 2, 3, 64, 1, 5, "fsync")


def gone(name: str, generation: int, number: int = 99) -> Record:
    return Record("delete", name, generation, write_id(number), 0, bytes(32), "", 0, 0, 0, 0, 5, "fsync")


def hold(store, *numbers, index=0):
    headers = [Header(index, 2, 3, 64, write_id(number), "xor:2+1").pack() for number in numbers]
    for result in store.write([Whole(header, None, None, 0, DIGEST) for header in headers], FENCE):
        assert result.index == index


def keep(store, *records):
    assert store.record([record.pack() for record in records], FENCE) == [None] * len(records)


def kept(store):
    raws, cursor = [], b""
    while True:
        more, cursor = store.scan_records(cursor, 3)
        raws += more
        if not cursor:
            return [Record.unpack(raw) for raw in raws]


def sorted_records(*records):
    return sorted(records, key=lambda record: (record.object_id, record.generation))


def test_they_are_found_by_name_and_in_order(store):
    hold(store, 1, 2, 3)
    records = [put(1, "a", 5), put(2, "a", 1 << 63), gone("a", 7), put(3, "b", 1)]
    keep(store, *records)
    keep(store, *records)
    packed = [record.pack() for record in records]
    found = store.records([object_id("b"), object_id("c"), object_id("a")])
    assert found == [[packed[3]], [], [packed[1], packed[2], packed[0]]]
    assert kept(store) == sorted_records(*records)
    assert store.records([]) == []


def test_a_put_needs_a_shard_and_a_tombstone_none(store):
    hold(store, 1, index=2)
    results = store.record([put(1).pack(), put(2).pack(), gone("x", 1).pack()], FENCE)
    assert [type(result) for result in results] == [type(None), ShardNotFound, type(None)]
    assert str(results[1]) == f"store {store.uuid} holds no shard of write {write_id(2).hex()}"
    begun = Header(0, 2, 3, 64, write_id(2), "xor:2+1").pack()
    store.begin(begun)
    assert type(store.record([put(2).pack()], FENCE)[0]) is ShardNotFound
    store.seal(write_id(2), 0, 0, 0, DIGEST)
    keep(store, put(2))
    store.quarantine(write_id(1), 2, "rotten", FENCE)
    assert type(store.record([put(1, generation=2).pack()], FENCE)[0]) is ShardNotFound


def test_a_code_of_many_shards(store):
    many = Record("put", "many", 1, write_id(7), 0, DIGEST, "ldpc", 2, 5000, 64, 1, 5, "fsync")
    assert type(store.record([many.pack()], FENCE)[0]) is ShardNotFound
    header = Header(4321, 2, 5000, 64, write_id(7), "ldpc").pack()
    store.write([Whole(header, None, None, 0, DIGEST)], FENCE)
    keep(store, many)
    assert store.held([write_id(7)]) == [Held((4321,), True)]


@pytest.mark.parametrize("clean", [True, False])
def test_the_highest_generation_is_told(tmp_path, clean):
    store = store_at(tmp_path)
    assert store.info().generation == 0
    keep(store, gone("a", 7 << 32 | 3), gone("b", 5))
    assert store.info().generation == 7 << 32 | 3
    store.close() if clean else crash(store)
    again = store_at(tmp_path)
    assert again.info().generation == 7 << 32 | 3
    again.close()


@pytest.mark.parametrize("body", ["CAST(x'ff41' || body AS TEXT)", "7", "2.5", "x'00'", "substr(body, 2)"])
def test_a_damaged_record_is_none_and_is_replaced(store, body):
    hold(store, 1, 2)
    record = put(1, "a", 5)
    keep(store, record, put(2, "b", 1), gone("c", 3))
    for name in ("a", "c"):
        store._records._db.execute(f"UPDATE records SET body = {body} WHERE object_id = ?", [object_id(name)])
    [[found]] = store.records([record.object_id])
    with pytest.raises(CorruptShard):
        Record.unpack(found)
    raws, cursor = store.scan_records(b"", 9)
    assert (len(raws), cursor) == (3, b"")
    keep(store, record, gone("c", 3))
    assert kept(store) == sorted_records(record, put(2, "b", 1), gone("c", 3))


def test_another_record_of_the_same_generation_is_refused(store):
    hold(store, 1, 2)
    keep(store, put(1, "a", 5))
    [same, other] = store.record([put(1, "a", 5).pack(), put(2, "a", 5).pack()], FENCE)
    assert same is None
    assert type(other) is InputError
    assert "another record of 'a', generation 5" in str(other)
    assert kept(store) == [put(1, "a", 5)]


def test_tombstones_of_one_write_are_the_same_whoever_made_them(store):
    mine = gone("a", 5)
    others = [replace(mine, created_ms=mine.created_ms + 1, spec="", k=0), replace(mine, write_id=write_id(9))]
    keep(store, mine)
    [same, other] = store.record([each.pack() for each in others], FENCE)
    assert same is None
    assert type(other) is InputError
    assert kept(store) == [mine]


def test_what_is_no_record_is_refused_alone(store):
    raw = gone("a", 1).pack()
    newer = Record.pack(gone("a", 2))
    results = store.record([raw[:-1] + b"?", b"", raw, newer[:100]], FENCE)
    assert [type(result) for result in results] == [CorruptShard, CorruptShard, type(None), CorruptShard]
    assert kept(store) == [gone("a", 1)]
    assert not issubclass(UnsupportedFormat, CorruptShard)


def test_forgetting_takes_only_what_is_named(store):
    hold(store, 1)
    keep(store, put(1, "a", 1), put(1, "a", 2), gone("a", 3))
    keys = [(object_id("a"), 1), (object_id("a"), 3), (object_id("b"), 2)]
    assert store.forget(keys, FENCE) == 2
    assert store.forget(keys, FENCE) == 0
    assert kept(store) == [put(1, "a", 2)]
    assert store.held([write_id(1), write_id(2)]) == [Held((0,), True), Held((), False)]


def test_dropping_a_write_takes_its_records_and_refuses_late_ones(store):
    """An undeleted object has two records of one write; the tombstone is another write's."""
    hold(store, 1, 2)
    hold(store, 1, index=1)
    keep(store, put(1, "a", 1), gone("a", 2, 50), put(1, "a", 3), put(2, "b", 1))
    [freed, other] = store.drop([(write_id(1), None), (write_id(77), None)], FENCE)
    assert (freed, other) == (2 * 416, 0)
    assert kept(store) == sorted_records(gone("a", 2, 50), put(2, "b", 1))
    assert type(store.record([put(1, "a", 4).pack()], FENCE)[0]) is ShardNotFound
    assert store.drop([(write_id(50), None)], FENCE) == [0]
    assert kept(store) == [put(2, "b", 1)]


def test_dropping_a_shard_leaves_the_rest(store):
    hold(store, 1)
    hold(store, 1, index=1)
    keep(store, put(1))
    assert store.drop([(write_id(1), 1), (write_id(1), 1), (write_id(1), 2)], FENCE) == [416, 416, 0]
    assert store.held([write_id(1)]) == [Held((0,), True)]
    hold(store, 1, index=1)


def test_a_batch_is_one_transaction(durable):
    """Many records in the time of one; and readers on other threads see all of them or none."""
    hold(durable, 1)
    batch = [put(1, f"object {number}").pack() for number in range(500)]
    commits = []
    durable._records._db.set_trace_callback(
        lambda statement: commits.append(statement) if statement == "COMMIT" else None
    )
    assert durable.record(batch, FENCE) == [None] * 500
    assert commits == ["COMMIT"]
    assert len(kept(durable)) == 500


def test_records_and_drops_at_once(durable):
    """Whoever is first: there is never a record without its shard."""
    done = threading.Event()
    wrong = []

    def look():
        while not done.is_set():
            for number, held in enumerate(durable.held([write_id(number) for number in range(4)])):
                if held.recorded and not held.indices and not durable.held([write_id(number)])[0].indices:
                    wrong.append(number)

    def record():
        for turn in range(40):
            durable.record([put(number, generation=turn + 1).pack() for number in range(4)], FENCE)

    hold(durable, *range(4))
    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(4):
        durable.drop([(write_id(number), None)], FENCE)
    for thread in threads:
        thread.join()
    done.set()
    assert kept(durable) == []
    assert wrong == []


@pytest.mark.parametrize("clean", [True, False])
def test_they_outlive_the_process(tmp_path, clean):
    store = store_at(tmp_path)
    hold(store, 1)
    keep(store, put(1, "a", 1), gone("b", 1))
    home = Path(store.info().path)
    if clean:
        store.close()
        assert not list(home.glob("*-wal"))
    else:
        crash(store)
    again = store_at(tmp_path)
    assert kept(again) == sorted_records(put(1, "a", 1), gone("b", 1))
    databases = [path.name for path in home.glob("records-*.db")]
    assert databases == ["records-0.db" if clean else "records-1.db"], "what is not surely on disk is written anew"
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in home.glob("records-*"))
    keep(again, gone("c", 1))
    again.close()
    third = store_at(tmp_path)
    assert len(kept(third)) == 3
    third.close()


class Failing:
    """A database whose disk fails at one statement."""

    def __init__(self, db, statement, name):
        self._db, self._statement, self._name = db, statement, name

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, *values):
        if statement == self._statement:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = self._name
            raise error
        return self._db.execute(statement, *values)


@pytest.mark.parametrize(
    ("name", "told", "number"),
    [
        ("SQLITE_IOERR_FSYNC", "EIO (SQLITE_IOERR_FSYNC)", 1),
        ("SQLITE_FULL", "ENOSPC", 0),
        ("SQLITE_BUSY", "SQLITE_BUSY", 0),
    ],
)
def test_a_commit_that_fails_keeps_nothing_and_its_file_is_not_trusted(durable, name, told, number):
    """Where it was refused before anything was to be on the disk, the file is as good as before."""
    keep(durable, gone("a", 1))
    sound = durable._records._db
    durable._records._db = Failing(sound, "COMMIT", name)
    with pytest.raises(StoreFailure) as caught:
        durable.record([gone("b", 1).pack()], FENCE)
    assert (caught.value.store, caught.value.errno_name) == (durable.uuid, told)
    assert kept(durable) == [gone("a", 1)]
    home = Path(durable.info().path)
    assert [path.name for path in home.glob("records-*.db")] == [f"records-{number}.db"]
    if not number:
        durable._records._db = sound
    keep(durable, gone("b", 1))
    crash(durable)
    again = store_at(home.parents[1])
    assert kept(again) == sorted_records(gone("a", 1), gone("b", 1))
    again.close()


def test_a_file_that_is_not_trusted_is_read_while_there_is_no_room_for_another(durable, monkeypatch):
    keep(durable, gone("a", 1))
    durable._records._db = Failing(durable._records._db, "COMMIT", "SQLITE_IOERR_WRITE")
    with pytest.raises(StoreFailure):
        durable.record([gone("b", 1).pack()], FENCE)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert kept(durable) == [gone("a", 1)]
        with pytest.raises(StoreFailure, match="ENOSPC"):
            durable.record([gone("b", 1).pack()], FENCE)
    home = Path(durable.info().path)
    assert not list((home / "tmp").iterdir())
    keep(durable, gone("b", 1))
    assert [path.name for path in home.glob("records-*.db")] == ["records-1.db"]


def test_a_full_disk_can_be_emptied(durable):
    """Removing records takes room, which removing shards makes."""
    hold(durable, 1, 2)
    keep(durable, put(1), put(2))
    sound = durable._records._db

    class Full(Failing):
        def execute(self, statement, *values):
            if statement == "COMMIT" and durable.info().shards:
                return super().execute(statement, *values)
            return self._db.execute(statement, *values)

    durable._records._db = Full(sound, "COMMIT", "SQLITE_FULL")
    with pytest.raises(StoreFailure, match="ENOSPC"):
        durable.forget([(object_id("object 1"), 1)], FENCE)
    assert durable.drop([(write_id(1), None), (write_id(2), None)], FENCE) == [416, 416]
    assert kept(durable) == []


def test_a_disk_that_is_full_for_real(durable):
    """A file size limit acts as a full disk does. When there is room again, records are taken again."""
    keep(durable, gone("a", 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
        batches = ([gone(f"{turn}-{number}", 1).pack() for number in range(50)] for turn in range(100))
        with pytest.raises(StoreFailure):
            list(map(durable.record, batches, [FENCE] * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    before = kept(durable)
    assert gone("a", 1) in before
    assert (len(before) - 1) % 50 == 0, "batches are there wholly or not at all"
    keep(durable, gone("b", 1))
    assert len(kept(durable)) == len(before) + 1


@pytest.mark.parametrize("damage", ["start", "middle"])
def test_a_damaged_database_goes_to_quarantine(tmp_path, caplog, damage):
    store = store_at(tmp_path)
    hold(store, 1)
    for start in range(0, 2000, 500):
        keep(store, *(put(1, f"object {number}") for number in range(start, start + 500)))
    home = Path(store.info().path)
    store.close()
    path = home / "records-0.db"
    pages = np.fromfile(path, np.uint8).reshape(-1, 4096)
    rows = [page for page, body in enumerate(pages) if b"\x89FSRREC" in body.tobytes()]  # the others are of indices
    with path.open("r+b") as file:
        file.seek(0 if damage == "start" else 4096 * rows[len(rows) // 2])
        file.write(b"\xff" * 4096 if damage == "middle" else b"\xff" * 100)
    with caplog.at_level(logging.ERROR):
        again = store_at(tmp_path)
        if damage == "middle":  # which is found when it is come upon
            with pytest.raises(StoreFailure, match="SQLITE_CORRUPT"):
                kept(again)
        assert kept(again) == []
    [damaged] = told(caplog, "records_damaged")
    assert damaged["path"] == str(home / "records-0.db")
    assert (home / "quarantine" / "records-0.db").exists()
    assert again.held([write_id(1)]) == [Held((0,), False)], "shards are there as before"
    keep(again, put(1))
    again.close()
    third = store_at(tmp_path)
    assert kept(third) == [put(1)]
    third.close()


@pytest.mark.parametrize(("cursor", "limit"), [(b"", 0), (b"", True), (b"", -1)])
def test_pages_of_nothing_are_refused(store, cursor, limit):
    with pytest.raises(InputError):
        store.scan_records(cursor, limit)
    with pytest.raises(InputError):
        store.scan(cursor, limit)
    with pytest.raises(InputError):
        store.scan(b"short", 1)
    assert store.scan_records(b"", 1) == ([], b"")
