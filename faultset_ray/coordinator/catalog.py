"""What a coordinator remembers, in SQLite: a log of batches for each fleet, and small tables of what holds now.

Every change is one transaction that is on the disk before it is acknowledged (write-ahead log,
``synchronous=FULL``). Without a directory the same tables are in memory, and the log is left out.
"""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from faultset_ray.coordinator import roster
from faultset_ray.coordinator.directory import RangeInfo
from faultset_ray.coordinator.home import StateHome
from faultset_ray.coordinator.roster import Columns, Kind
from faultset_ray.coordinator.schema import STEPS
from faultset_ray.errors import StaleEpoch, StateFailure, UnsupportedState
from faultset_ray.limits import LOG_BATCHES_MAX, LOG_ROWS_SPARE, REQUESTS_KEPT
from faultset_ray.policy import Policy
from faultset_ray.telemetry import events

SCHEMA: Final = len(STEPS)
CATALOG_ID_BYTES: Final = 16
APPLICATION: Final = 0x46535243
"""``FSRC``, by which `file` tells the database from others."""


_BIRTH: Final = "birth"
"""The note that has what births are drawn from; unlike the catalog's identity nobody ever takes up another's."""


class FleetRow(NamedTuple):
    """What the catalog has of a fleet beside its log and its ranges."""

    key: int
    name: str
    precision: int
    version: int
    next_range: int
    policy: str
    """As JSON."""
    policy_version: int


class Catalog:
    """The tables of one system; see the module's text.

    Parameters
    ----------
    identity
        16 bytes: what a catalog of objects that begins here is known by, and what births of its fleets are drawn from.

    Raises
    ------
    UnsupportedState
        A later version wrote the file.
    StateFailure
        It can't be read or written.
    """

    def __init__(self, home: StateHome | None, system: str, identity: bytes) -> None:
        self.home = home
        self._fenced = False
        self.path = str(home.database) if home else ":memory:"
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            with self._failing("be opened"):
                self._prepare(system, identity)
                self.epoch = self._start(identity)
        except BaseException:
            self._db.close()
            raise

    @property
    def durable(self) -> bool:
        """Whether it outlives the process."""
        return self.home is not None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of a change or nothing of it; on the disk when it ends.

        Raises
        ------
        StaleEpoch
            Another coordinator has taken over.
        StateFailure
            The disk refused; nothing was changed.
        """
        with self._failing("be written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self.check()
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def check(self) -> None:
        """Refuse to serve when another coordinator has taken over: a lock may fail on a shared file system."""
        [epoch] = self.one("SELECT epoch FROM system")
        if epoch != self.epoch:
            events.COORDINATOR_FENCED.tell(epoch=self.epoch, seen=epoch, quietly=self._fenced)
            self._fenced = True
            raise StaleEpoch("coordinator", self.epoch, epoch)

    def all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        with self._failing("be read"):
            return self._db.execute(query, values).fetchall()

    def one(self, query: str, *values: Any) -> tuple[Any, ...]:
        """The only row of a query, or an empty one."""
        rows = self.all(query, *values)
        return rows[0] if rows else ()

    def do(self, statement: str, *values: Any) -> int:
        """Run a statement inside a transaction; the id of the row that it added."""
        return self._db.execute(statement, values).lastrowid or 0

    def many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement once for each row of values, inside a transaction."""
        self._db.executemany(statement, rows)

    # -- What several statements are one idea of

    def log(self, fleet: int, kind: Kind, batch: Columns) -> None:
        """Add a batch to a fleet's log."""
        if self.durable:
            self.do(
                "INSERT INTO log (fleet, kind, rows, body) VALUES (?, ?, ?, ?)",
                fleet,
                kind.value,
                len(batch["handles"]),
                roster.to_bytes(batch),
            )

    def log_is_long(self, fleet: int, nodes: int) -> bool:
        """Whether compaction pays: much of the log is of nodes that later batches change again."""
        batches, rows = self.one("SELECT COUNT(*), COALESCE(SUM(rows), 0) FROM log WHERE fleet = ?", fleet)
        return bool(batches > LOG_BATCHES_MAX or rows > 2 * nodes + LOG_ROWS_SPARE)

    def compact(self, fleet: int, whole: Columns) -> None:
        """Put one batch in the place of a fleet's log."""
        with self.transaction():
            self.do("DELETE FROM log WHERE fleet = ?", fleet)
            self.log(fleet, Kind.WHOLE, whole)

    def batches(self, fleet: int) -> Iterator[tuple[Kind, Columns]]:
        """A fleet's log, oldest first."""
        for (seq,) in self.all("SELECT seq FROM log WHERE fleet = ? ORDER BY seq", fleet):
            kind, body = self.one("SELECT kind, body FROM log WHERE seq = ?", seq)
            try:
                yield Kind(kind), roster.from_bytes(body)
            except (ValueError, KeyError, zipfile.BadZipFile) as error:
                raise StateFailure(self.path, "be read", f"batch {seq} is damaged: {error}") from error

    def put_fleet(self, name: str, precision: int, ranges: int) -> int:
        """Add a fleet that has so many ranges; its key."""
        return self.do("INSERT INTO fleets VALUES (NULL, ?, ?, 0, ?, '', 0)", name, precision, ranges)

    def birth(self, fleet: int) -> str:
        """What the history of a fleet is known by: drawn when these tables were made, and no other fleet's."""
        return blake2b(fleet.to_bytes(8, "big"), key=self.kept(_BIRTH), digest_size=8).hexdigest()

    def put_policy(self, fleet: int, version: int, policy: Policy) -> None:
        """Write a fleet's policy, set at a version."""
        self.do("UPDATE fleets SET policy = ?, policy_version = ? WHERE key = ?", policy.to_json(), version, fleet)

    def fleets(self) -> list[FleetRow]:
        """Every fleet."""
        rows = self.all("SELECT key, name, precision, version, next_range, policy, policy_version FROM fleets")
        return [FleetRow(*row) for row in rows]

    def put_ranges(self, fleet: int, version: int, ranges: tuple[RangeInfo, ...]) -> None:
        """Write a fleet's new version and its ranges as they are in it."""
        self.do("UPDATE fleets SET version = ? WHERE key = ?", version, fleet)
        self.do("DELETE FROM ranges WHERE fleet = ?", fleet)
        for info in ranges:
            lower = info.lower.to_bytes(8, "big")
            self.do("INSERT INTO ranges VALUES (?, ?, ?, ?, ?)", fleet, info.id, lower, info.epoch, info.roster)

    def ranges(self, fleet: int) -> tuple[RangeInfo, ...]:
        """A fleet's ranges, ascending by cells."""
        query = "SELECT id, lower, epoch, roster FROM ranges WHERE fleet = ? ORDER BY lower"
        return tuple(
            RangeInfo(range_id, int.from_bytes(lower, "big"), epoch, version)
            for range_id, lower, epoch, version in self.all(query, fleet)
        )

    def seen(self, request: bytes | None) -> bool:
        """Whether a request was carried out before."""
        return request is not None and bool(self.one("SELECT seq FROM requests WHERE id = ?", request))

    def note(self, request: bytes | None) -> None:
        """Remember a request, and forget the oldest."""
        if request is not None:
            seq = self.do("INSERT INTO requests (id) VALUES (?)", request)
            self.do("DELETE FROM requests WHERE seq <= ?", seq - REQUESTS_KEPT)

    def kept(self, name: str) -> bytes:
        """A small value that somebody keeps here; empty where none is."""
        [body] = self.one("SELECT body FROM notes WHERE name = ?", name) or (b"",)
        return bytes(body)

    def keep(self, name: str, body: bytes) -> None:
        """Inside a transaction: keep a small value."""
        self.do("INSERT OR REPLACE INTO notes VALUES (?, ?)", name, body)

    def adopt(
        self, identity: bytes, epoch: int, tables: Mapping[str, Iterable[tuple[Any, ...]]], states: Mapping[str, str]
    ) -> None:
        """Become a catalog of another identity in a higher epoch, with whole rows of some tables, and states."""
        with self.transaction():
            for table, rows in tables.items():
                [columns] = self.one("SELECT COUNT(*) FROM pragma_table_info(?)", table)
                self.many(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * columns)})", rows)
            self.many("UPDATE stores SET state = ? WHERE uuid = ?", ((states[uuid], uuid) for uuid in sorted(states)))
            self.do("UPDATE system SET catalog = ?, epoch = ?", identity, epoch)
        self.epoch = epoch

    def close(self) -> None:
        """Close the file and unlock it."""
        self._db.close()
        if self.home is not None:
            self.home.close()

    # -- Inside

    @contextmanager
    def _failing(self, operation: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateFailure(self.path, operation, str(error)) from error

    def _prepare(self, system: str, identity: bytes) -> None:
        """Make the tables of a new file or of an older schema; look at what is there before anything is changed."""
        [version], [application] = self.one("PRAGMA user_version"), self.one("PRAGMA application_id")
        if version > SCHEMA:
            raise UnsupportedState(self.path, version, SCHEMA)
        empty = not self.all("SELECT 1 FROM sqlite_master LIMIT 1")
        if not empty and (application != APPLICATION or version < 1):
            raise StateFailure(self.path, "be used", "it is not a coordinator's")
        self.one("PRAGMA journal_mode = WAL")
        self.do("PRAGMA synchronous = FULL")
        self.one("PRAGMA journal_size_limit = 67108864")
        if version < SCHEMA:
            self._db.execute("BEGIN IMMEDIATE")
            for statement in "".join(STEPS[version:]).split(";"):
                self.do(statement)
            if empty:
                self.do("INSERT INTO system VALUES (?, 0, '', 0, x'')", system)
            self.do("UPDATE system SET catalog = ?", identity)
            self.do(f"PRAGMA application_id = {APPLICATION}")
            self.do(f"PRAGMA user_version = {SCHEMA}")
            self._db.execute("COMMIT")
        [name] = self.one("SELECT name FROM system")
        if name != system:
            raise StateFailure(self.path, "be used", f"it is the state of system {name!r}, not {system!r}")

    def _start(self, identity: bytes) -> int:
        self._db.execute("BEGIN IMMEDIATE")
        self.do("UPDATE system SET epoch = epoch + 1")
        self.do("INSERT OR IGNORE INTO notes VALUES (?, ?)", _BIRTH, identity)
        [epoch] = self.one("SELECT epoch FROM system")
        self._db.execute("COMMIT")
        return int(epoch)
