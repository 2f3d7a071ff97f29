"""Writes from their intent to their commit: what of two of one name holds, and what is visible after.

The name's newest committed generation is what readers get; a commit that comes after a newer one's is
acknowledged, and garbage at once. A write with a condition holds its name alone while it is open, so that what was
true when it was opened is true when it is committed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.elapsed import Elapsed
from faultset_ray.coordinator.entries import Entries, name_bytes
from faultset_ray.coordinator.least import Least
from faultset_ray.coordinator.objects import Action, Commit, Intent, OpenWrite, Ticket, Undeletion
from faultset_ray.coordinator.stores import NOWHERE, Stores, keys_of, packed
from faultset_ray.coordinator.waste import WHOLE, Waste
from faultset_ray.errors import (
    FaultsetError,
    InputError,
    LimitExceeded,
    ObjectNotFound,
    PreconditionFailed,
    StaleEpoch,
    WriteAborted,
    WriteInProgress,
)
from faultset_ray.limits import INTENT_SECONDS, OBJECT_BYTES_MAX, SUPERSEDED_GRACE_SECONDS
from faultset_ray.objects.entry import Entry, Fence
from faultset_ray.objects.record import grace_of
from faultset_ray.objects.store_values import WRITE_ID_BYTES

A = TypeVar("A")
R = TypeVar("R")

_GRACE_MS: Final = round(SUPERSEDED_GRACE_SECONDS * 1000)
_LEASE_MS: Final = round(INTENT_SECONDS * 1000)
_SEQUENCES: Final = 1 << 32
_SHA256_BYTES: Final = 32


class _Row(NamedTuple):
    """An intent as the catalog has it."""

    generation: int
    write_id: bytes
    name: bytes
    kind: Action
    state: str
    alone: int
    driver: str
    until_ms: int
    grace_ms: int
    owner: int
    spec: str
    k: int
    n: int
    block_bytes: int
    tolerate: int
    durability: str
    layout: bytes
    former: bytes
    """Index and store, as two u32, of each shard that was to go elsewhere before."""

    def planned(self) -> set[tuple[int, int]]:
        """Index and store of every shard that was ever to be written."""
        former = keys_of(self.former)
        return {*((index, key) for index, key in enumerate(keys_of(self.layout)) if key != NOWHERE)} | {
            *zip(former[::2], former[1::2], strict=True)
        }


_SELECT: Final = f"SELECT {', '.join(_Row._fields)} FROM intents WHERE "


def each(action: Callable[[A], R], items: Iterable[A]) -> list[R | FaultsetError]:
    """What comes of each item of a batch, or why it was refused: one that is refused changes nothing."""
    answers: list[R | FaultsetError] = []
    for item in items:
        try:
            answers.append(action(item))
        except (
            InputError,
            ObjectNotFound,
            PreconditionFailed,
            StaleEpoch,
            WriteAborted,
            WriteInProgress,
        ) as refused:
            answers.append(refused)
    return answers


class Writes:
    """The intents, and their end."""

    def __init__(self, catalog: Catalog, time: Elapsed, stores: Stores, entries: Entries, waste: Waste) -> None:
        self._catalog = catalog
        self._time = time
        self._stores = stores
        self._entries = entries
        self._waste = waste
        self.least = Least(catalog)
        self._sequence = 0

    def fence(self) -> Fence:
        """What every call to a store is to carry."""
        return Fence(self._stores.identity, self._catalog.epoch, self.least.now())

    @property
    def latest(self) -> int:
        """The last generation that was given, or one before the first of this epoch."""
        return self._catalog.epoch << 32 | self._sequence

    def open(self, intents: Sequence[Intent]) -> list[Ticket | FaultsetError]:
        """Write intents down, in one transaction."""
        now_ms = self._time.now_ms()
        self._stores.learn(intent.layout for intent in intents)
        with self._catalog.transaction():
            self._time.keep()
            fence = self.fence()
            return each(lambda intent: Ticket(intent.write_id, self._opened(intent, now_ms), fence), intents)

    def undelete(self, name: str, write_id: bytes, driver: str) -> Undeletion:
        """Write down that a deleted object is to come back."""
        now_ms = self._time.now_ms()
        key = name_bytes(name)
        with self._catalog.transaction():
            generation = self._repeated(write_id)
            if generation is None:
                self._alone(name, key, conditional=False)
                visible, hidden = self._entries.visible(key), self._entries.deleted(key)
                if visible is not None:
                    raise PreconditionFailed(name, None, visible.record.generation)
                if hidden is None:
                    raise ObjectNotFound(name)
                record = hidden.record
                intent = Intent(
                    *(write_id, "undelete", name, record.spec, record.k, record.n, record.block_bytes),
                    *(record.tolerate, hidden.layout, driver),
                    durability=record.durability,
                )
                owner = self._entries.owner(record.generation)
                generation = self._noted(intent, key, now_ms, owner)
            return Undeletion(Ticket(write_id, generation, self.fence()), self._coming(generation))

    def renew(self, write_ids: Sequence[bytes]) -> list[bool]:
        """Keep writes open; of each, whether it is."""
        now_ms = self._time.now_ms()
        with self._catalog.transaction():
            self._time.keep()
            self._catalog.many(
                "UPDATE intents SET until_ms = ? WHERE write_id = ? AND state = 'open'",
                ((now_ms + _LEASE_MS, write_id) for write_id in write_ids),
            )
            rows = map(self._found, write_ids)
            return [row is not None and row.state == "open" for row in rows]

    def commit(self, commits: Sequence[Commit]) -> list[Entry | FaultsetError]:
        """Make writes visible, in one transaction."""
        now_ms = self._time.now_ms()
        self._stores.learn(commit.layout for commit in commits)
        with self._catalog.transaction():
            self._stores.count_on()
            self._time.keep()
            return each(lambda commit: self._committed(commit, now_ms), commits)

    def abort(self, write_ids: Sequence[bytes]) -> list[bool]:
        """Give writes up; of each, whether it is, and not committed before."""
        with self._catalog.transaction():
            return [self._aborted(write_id) for write_id in write_ids]

    def unresolved(self) -> list[OpenWrite]:
        """Open writes that nobody renewed in time, oldest first."""
        query = f"{_SELECT} state = 'open' AND until_ms <= ? ORDER BY generation"
        return [self._open_write(_Row(*row)) for row in self._catalog.all(query, self._time.now_ms())]

    def using(self, store: int) -> str | None:
        """The name of an object of which an open write names a store; None where there is none."""
        rows = (_Row(*row) for row in self._catalog.all(f"{_SELECT} state = 'open'"))
        return next((row.name.decode() for row in rows if any(key == store for _, key in row.planned())), None)

    # -- Opening

    def _opened(self, intent: Intent, now_ms: int) -> int:
        """The generation of an intent."""
        key = name_bytes(intent.name)
        generation = self._repeated(intent.write_id)
        if intent.generation is not None and intent.generation != generation:
            # it was ended and collected: what its driver wrote says a generation that is over
            raise WriteAborted(intent.write_id.hex(), intent.name, False)
        if generation is not None:
            self._widen(intent.write_id, self._stores.pack(intent.layout))
            return generation
        if len(intent.write_id) != WRITE_ID_BYTES:
            raise InputError(f"write id is {intent.write_id!r}; expected {WRITE_ID_BYTES} bytes")
        if intent.kind not in {"put", "delete"}:
            raise InputError(f"kind of a write is {intent.kind!r}; expected put or delete")
        if intent.kind == "put" and not 1 <= intent.k <= intent.n == len(intent.layout):
            raise InputError(f"k = {intent.k} and n = {intent.n} don't fit a layout of {len(intent.layout)} stores")
        self._alone(intent.name, key, conditional=intent.conditional)
        visible = self._entries.visible(key)
        found = None if visible is None else visible.record.generation
        if intent.if_absent and found is not None:
            raise PreconditionFailed(intent.name, None, found)
        if intent.if_generation is not None and intent.if_generation != found:
            raise PreconditionFailed(intent.name, intent.if_generation, found)
        if intent.kind == "delete" and found is None:
            raise ObjectNotFound(intent.name)
        return self._noted(intent, key, now_ms, NOWHERE)

    def _repeated(self, write_id: bytes) -> int | None:
        """The generation of a write that was opened before."""
        row = self._found(write_id)
        if row is not None and row.state == "aborting":
            raise WriteAborted(write_id.hex(), row.name.decode())
        return self._entries.committed(write_id) if row is None else row.generation

    def _found(self, write_id: bytes) -> _Row | None:
        row = self._catalog.one(f"{_SELECT} write_id = ?", write_id)
        return _Row(*row) if row else None

    def _alone(self, name: str, key: bytes, *, conditional: bool) -> None:
        open_ones = self._catalog.all("SELECT alone FROM intents WHERE name = ? AND state = 'open'", key)
        if open_ones and (conditional or any(alone for (alone,) in open_ones)):
            raise WriteInProgress(name)

    def _noted(self, intent: Intent, key: bytes, now_ms: int, owner: int) -> int:
        if self._sequence + 1 >= _SEQUENCES:
            raise LimitExceeded("the number of writes of one epoch", _SEQUENCES, _SEQUENCES - 1)
        self._sequence += 1
        generation = self.latest
        self._catalog.do(
            "INSERT INTO intents VALUES (?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'')",
            *(generation, intent.write_id, key, intent.kind, intent.conditional, intent.driver),
            *(now_ms + _LEASE_MS, intent.grace_ms, owner or generation),
            *(intent.spec, intent.k, intent.n, intent.block_bytes, intent.tolerate, intent.durability),
            self._stores.pack(intent.layout),
        )
        return generation

    def _widen(self, write_id: bytes, layout: bytes) -> None:
        """Remember the stores that an open write is to use from now on beside those that it named before."""
        row = self._found(write_id)
        if row is not None and row.layout != layout and (row.kind == "delete" or len(row.layout) == len(layout)):
            former = struct.pack(f"<{2 * len(row.planned())}I", *(number for pair in row.planned() for number in pair))
            self._catalog.do(
                "UPDATE intents SET layout = ?, former = ? WHERE generation = ?", layout, former, row.generation
            )

    # -- Ending

    def _committed(self, commit: Commit, now_ms: int) -> Entry:
        row = self._found(commit.write_id)
        generation = self._entries.committed(commit.write_id) if row is None else row.generation
        if generation is None or (row is not None and row.state == "aborting"):
            raise WriteAborted(commit.write_id.hex(), "" if row is None else row.name.decode(), row is not None)
        if row is not None:
            if row.kind == "put":
                _check(commit, row)
            purge_ms = now_ms + max(row.grace_ms, _GRACE_MS) if row.kind == "delete" else None
            state, purge_ms = self._ranked(row, purge_ms, now_ms)
            self._put(row, commit, state, purge_ms)
            self._catalog.do("DELETE FROM intents WHERE generation = ?", generation)
            self._waste.released(row.name)
        entry = self._entries.of(generation)
        assert entry is not None, "it was committed"
        return entry

    def _ranked(self, row: _Row, purge_ms: int | None, now_ms: int) -> tuple[str, int | None]:
        """Make room for a generation among those of its name; its state, and when it may be condemned."""
        head = self._entries.head(row.name)
        soon_ms = now_ms + _GRACE_MS
        if head is not None and head.generation > row.generation:
            if head.kind == "delete" and row.kind != "delete":  # undone, it brings back what is newest below it
                return "superseded", max(soon_ms, head.purge_ms or 0)
            return "superseded", soon_ms
        if head is not None:
            self._catalog.do(
                "UPDATE generations SET state = 'superseded', purge_ms = ? WHERE generation = ?",
                *(soon_ms if purge_ms is None else purge_ms, head.generation),
            )
        if row.kind == "delete":
            return "deleted", purge_ms
        self._catalog.do(
            "UPDATE generations SET purge_ms = ? WHERE state <> 'visible' AND name = ? AND state = 'superseded' "
            "AND (purge_ms IS NULL OR purge_ms > ?)",
            *(soon_ms, row.name, soon_ms),
        )
        return "visible", None

    def _put(self, row: _Row, commit: Commit, state: str, purge_ms: int | None) -> None:
        """Add a generation, and of a write, where its shards are and where they were to be."""
        if row.kind == "undelete":
            self._catalog.do(
                "INSERT INTO generations SELECT ?, ?, name, 'undelete', ?, generation, ?, size, sha256, spec, k, n, "
                "block_bytes, tolerate, durability, created_ms, x'', 0 FROM generations WHERE generation = ?",
                *(row.generation, row.write_id, state, purge_ms, row.owner),
            )
            return
        size, sha256, layout = commit.size, commit.sha256, self._stores.pack(commit.layout)
        durability = commit.durability if row.kind == "put" else row.durability
        if row.kind == "delete":
            size, sha256, layout = grace_of(row.grace_ms), bytes(32), packed(sorted({key for _, key in row.planned()}))
        self._catalog.do(
            "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            *(row.generation, row.write_id, row.name, row.kind, state, row.generation, purge_ms, size, sha256),
            *(row.spec, row.k, row.n, row.block_bytes, row.tolerate, durability, commit.created_ms, layout),
        )
        if row.kind == "put":
            final = keys_of(layout)
            self._catalog.many(
                "INSERT INTO shards VALUES (?, ?, ?)",
                ((key, row.generation, index) for index, key in enumerate(final) if key != NOWHERE),
            )
            self._catalog.many(  # to be mended, whether or not anybody lives to report it
                "INSERT INTO damage VALUES (?, ?, ?, 'it was not written', ?)",
                (
                    (row.generation, index, NOWHERE, commit.created_ms)
                    for index, key in enumerate(final)
                    if key == NOWHERE
                ),
            )
            for index, key in row.planned():
                if final[index] != key:
                    self._waste.add(key, row.generation, index)

    def _aborted(self, write_id: bytes) -> bool:
        row = self._found(write_id)
        if row is None:
            return self._entries.committed(write_id) is None
        if row.state == "open":
            self._catalog.do("UPDATE intents SET state = 'aborting', alone = 0 WHERE generation = ?", row.generation)
            for key in {key for _, key in row.planned()}:
                self._waste.add(key, row.generation, WHOLE)
            self._waste.finish([row.generation])
        return True

    # -- Telling

    def _coming(self, generation: int) -> Entry:
        """An undeleted object as it is, or is going to be."""
        entry = self._entries.of(generation)
        if entry is None:
            [owner] = self._catalog.one("SELECT owner FROM intents WHERE generation = ?", generation)
            entry = self._entries.of(owner)
            assert entry is not None, "what is coming back is kept"
            entry = replace(entry, record=replace(entry.record, generation=generation))
        return entry

    def _open_write(self, row: _Row) -> OpenWrite:
        return OpenWrite(
            *(row.write_id, row.kind, row.name.decode(), row.generation, row.spec, row.k, row.n, row.block_bytes),
            *(row.tolerate, row.durability, self._stores.unpack(row.layout)),
            tuple(sorted(self._stores.uuid(key) for key in {key for _, key in row.planned()})),
            row.driver,
            self._coming(row.generation).record if row.kind == "undelete" else None,
            row.grace_ms,
        )


def _check(commit: Commit, row: _Row) -> None:
    """Refuse a write that could not be read."""
    called, sealed = f"write {commit.write_id.hex()}", sum(map(bool, commit.layout))
    if len(commit.layout) != row.n or sealed < row.k:
        raise InputError(
            f"{called} is committed with {sealed} shards of {len(commit.layout)}; expected {row.k} or more of {row.n}"
        )
    if not 0 <= commit.size <= OBJECT_BYTES_MAX or len(commit.sha256) != _SHA256_BYTES:
        raise InputError(
            f"{called} is committed with {commit.size} bytes and a digest of {len(commit.sha256)}; "
            f"expected 0 to {OBJECT_BYTES_MAX:,}, and {_SHA256_BYTES}"
        )
