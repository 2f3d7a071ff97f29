"""The records of one store, in SQLite: small, many, and gone again, which files of their own would be too dear for.

A batch is one transaction, on the disk (write-ahead log, ``synchronous=FULL``) before it is acknowledged. After a
commit that failed, and after a process that died, nobody knows which pages of a file are on the disk: what the kernel
still shows of them may be lost with the power. Then the rows that are there are written to a new file, which takes
the place of the old one.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from faultset_ray.errors import CorruptShard, UnsupportedFormat
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_home import StoreHome
from faultset_ray.shards.disk import fsync_directory
from faultset_ray.telemetry import events

SCHEMA: Final = 1
APPLICATION: Final = 0x46535252
"""``FSRR``, by which `file` tells the database from others."""
_NAME = re.compile(r"records-(\d{1,9})\.db")
_TABLE: Final = """
CREATE TABLE records (
    object_id BLOB NOT NULL, generation BLOB NOT NULL, write_id BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (object_id, generation)
) WITHOUT ROWID;
CREATE INDEX records_of_write ON records (write_id);
"""
_HARMLESS: Final = {"SQLITE_FULL", "SQLITE_BUSY"}
"""Errors before anything was to be made durable."""
_MANY: Final = 500
"""Values in one query: old SQLites take 999."""

RecordKey = tuple[bytes, int]
"""Object id and generation: what a record is found by."""


class Records:
    """See the module's text. Calls from several threads take turns.

    Raises
    ------
    OSError, sqlite3.Error
        From the constructor and every method, if the disk fails; a batch is then not there.
    """

    def __init__(self, home: StoreHome) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._suspect = False
        self._number = 0
        self.newest = 0
        """The highest generation that there is, or was since this began."""
        if not home.durable:
            self._db = _connect(":memory:")
            self._db.executescript(_TABLE)
            return
        numbers = sorted(int(match[1]) for path in home.path.iterdir() if (match := _NAME.fullmatch(path.name)))
        self._number = numbers[-1] if numbers else 0
        for number in numbers[:-1]:
            _remove(self._path(number))
        path = self._path(self._number)
        self._suspect = _wal(path).exists()
        try:
            self._db = self._open(path)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            self._set_aside(error)
        with self._turn():
            pass
        try:
            self.newest = self._highest()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            self.newest = self._highest()  # of what could be saved

    def add(self, records: Sequence[tuple[Record, bytes]]) -> list[bool]:
        """Add records with their packed form, all or none; False for each whose key another record has.

        Tombstones of one write are the same, whoever made them: a driver's, and that of who carries its write on. A
        damaged record is none, and is replaced.
        """
        rows = [(*_key(record.object_id, record.generation), record.write_id, raw) for record, raw in records]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", rows)
            query = "SELECT write_id, body FROM records WHERE object_id = ? AND generation = ?"
            kept = [db.execute(query, row[:2]).fetchone() for row in rows]
            damaged = [at for at, (_, body) in enumerate(kept) if body != rows[at][-1] and _is_damaged(body)]
            db.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", [rows[at] for at in damaged])
            for at in damaged:
                kept[at] = rows[at][2:]
        self.newest = max([self.newest, *(record.generation for record, _ in records)])
        return [
            body == raw
            or (record.kind == "delete" and write_id == record.write_id and Record.unpack(body).kind == "delete")
            for (record, raw), (write_id, body) in zip(records, kept, strict=True)
        ]

    def of(self, object_id: bytes) -> list[bytes]:
        """The packed records of an object, newest first."""
        query = "SELECT body FROM records WHERE object_id = ? ORDER BY generation DESC"
        return [body for (body,) in self._read(query, (object_id,))]

    def writes(self, write_ids: Sequence[bytes]) -> set[bytes]:
        """Those of some writes that have a record."""
        query = "SELECT DISTINCT write_id FROM records WHERE write_id IN ({})"
        return {
            row[0] for some in _parts(write_ids) for row in self._read(query.format(",".join("?" * len(some))), some)
        }

    def remove(self, keys: Iterable[RecordKey]) -> int:
        """Remove records; how many were there."""
        statement = "DELETE FROM records WHERE object_id = ? AND generation = ?"
        with self._transaction() as db:
            return sum(db.execute(statement, _key(*key)).rowcount for key in keys)

    def remove_writes(self, write_ids: Iterable[bytes]) -> None:
        """Remove the records of writes."""
        with self._transaction() as db:
            db.executemany("DELETE FROM records WHERE write_id = ?", [(write_id,) for write_id in write_ids])

    def after(self, cursor: bytes, limit: int) -> tuple[list[bytes], bytes]:
        """Packed records in order of object id and generation, and the cursor that goes on; empty at the end."""
        query = "SELECT * FROM records WHERE (object_id, generation) > (?, ?) ORDER BY object_id, generation LIMIT ?"
        rows = self._read(query, (cursor[:32], cursor[32:], limit))
        return [row[3] for row in rows], rows[-1][0] + rows[-1][1] if len(rows) == limit else b""

    def close(self) -> None:
        """Close the database; again does nothing."""
        with self._lock:
            self._db.close()

    def _highest(self) -> int:
        [(newest,)] = self._read("SELECT MAX(generation) FROM records", ())
        return int.from_bytes(newest or b"", "big")

    def _path(self, number: int) -> Path:
        return self._home.path / f"records-{number}.db"

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._turn() as db:
            return [tuple(map(_as_bytes, row)) for row in db.execute(query, values)]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn(changes=True) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise

    @contextmanager
    def _turn(self, *, changes: bool = False) -> Iterator[sqlite3.Connection]:
        """The database for one thread at a time; renewed first if its file is not to be trusted."""
        with self._lock:
            try:
                if self._suspect:
                    self._renew()
            except (OSError, sqlite3.Error) as error:
                if changes or not is_full(error):  # what is there can be read without room for a copy
                    raise
            try:
                yield self._db
            except sqlite3.Error as error:
                self._suspect |= self._home.durable and _name(error) not in _HARMLESS
                raise

    def _open(self, path: Path) -> sqlite3.Connection:
        new = not path.exists()
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        db = _connect(str(path))
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            [(schema,)] = db.execute("PRAGMA user_version").fetchall()
            if not schema:
                script = f"BEGIN;{_TABLE}PRAGMA application_id = {APPLICATION};PRAGMA user_version = {SCHEMA};COMMIT;"
                db.executescript(script)
            if new:
                fsync_directory(path.parent)
        except BaseException:
            db.close()
            raise
        return db

    def _renew(self) -> None:
        """Go on with a new file of the same rows, all of it on the disk."""
        fresh, path = self._home.tmp / "records.db", self._path(self._number + 1)
        _remove(path)  # of an attempt that failed
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._db.execute("VACUUM INTO ?", (str(fresh),))
            os.fsync(fd)
            fresh.rename(path)
            fsync_directory(path.parent)
            renewed = self._open(path)
        except BaseException as error:
            _remove(fresh)
            _remove(path)
            if not _is_damage(error):
                raise
            self._set_aside(error)
        else:
            self._db.close()
            _remove(self._path(self._number))
            self._number += 1
            self._db = renewed
        finally:
            os.close(fd)
        self._suspect = False

    def _set_aside(self, error: BaseException) -> None:
        """Start without the rows of a damaged database: other stores have them, and a scrub brings them back."""
        path = self._path(self._number)
        events.RECORDS_DAMAGED.tell(path=path, error=error)
        for part in (path, _wal(path)):
            if part.exists():
                part.rename(self._home.quarantine / part.name)
        self._number += 1
        self._db = self._open(self._path(self._number))


def is_full(error: OSError | sqlite3.Error) -> bool:
    """Whether the disk had no room."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return _name(error) == "SQLITE_FULL"


def _is_damage(error: BaseException) -> bool:
    return _name(error) in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}


def _name(error: BaseException) -> str:
    """SQLite's name of an error; errors of the module around it have none."""
    return getattr(error, "sqlite_errorname", "")


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.text_factory = bytes  # there is no text: what a damaged row calls so is not decoded
    return db


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _remove(path: Path) -> None:
    for part in (path, _wal(path), path.with_name(f"{path.name}-shm")):
        part.unlink(missing_ok=True)


def _as_bytes(value: Any) -> bytes:
    """A value as bytes; none where a damaged row has a number, or nothing."""
    return value if isinstance(value, bytes) else b""


def _is_damaged(body: Any) -> bool:
    """Whether a row holds no record; one of a later version is a record."""
    try:
        Record.unpack(_as_bytes(body))
    except CorruptShard:
        return True
    except UnsupportedFormat:
        return False
    return False


def _key(object_id: bytes, generation: int) -> tuple[bytes, bytes]:
    """Big-endian, so that generations sort."""
    return object_id, generation.to_bytes(8, "big")


def _parts(values: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (values[start : start + _MANY] for start in range(0, len(values), _MANY))
