"""What the catalog says of objects: the rows of generations, read as entries.

A generation is a committed write, deletion or undeletion of a name. ``owner`` is the generation whose shards it
is about: its own, or of an undeletion, the write's that it brings back. By state it is

- ``visible``: what readers get; of a name, one at most;
- ``deleted``: a tombstone with nothing newer; of a name, one at most, and then none is visible;
- ``superseded``: something newer was committed; from ``purge_ms`` on it may be condemned;
- ``condemned``: the stores are being told to let go of it (:mod:`~faultset_ray.coordinator.waste`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.elapsed import Elapsed
from faultset_ray.coordinator.stores import Stores
from faultset_ray.errors import InvalidObjectName
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.record import Record, object_id

_SELECT = (
    "SELECT g.generation, g.kind, g.name, g.purge_ms, w.write_id, w.size, w.sha256, w.spec, "
    "w.k, w.n, w.block_bytes, w.tolerate, w.created_ms, w.durability, w.layout, w.layout_version "
    "FROM generations g JOIN generations w ON w.generation = g.owner WHERE "
)


class Head(NamedTuple):
    """What counts of a name's newest generation when another one comes."""

    generation: int
    kind: str
    purge_ms: int | None


class Entries:
    """Looking objects up; nothing here changes anything."""

    def __init__(self, catalog: Catalog, stores: Stores, time: Elapsed) -> None:
        self._catalog = catalog
        self._time = time
        self._stores = stores

    def visible(self, name: bytes) -> Entry | None:
        """The object of a name."""
        return self._one("g.state = 'visible' AND g.name = ?", name)

    def of(self, generation: int) -> Entry | None:
        """What one generation says."""
        return self._one("g.generation = ?", generation)

    def deleted(self, name: bytes) -> Entry | None:
        """The object that a tombstone hides and an undeletion brings back."""
        where = "g.state <> 'visible' AND g.state = 'deleted' AND g.purge_ms IS NOT NULL AND g.name = ?"
        tombstone = self._one(where, name)
        return None if tombstone is None else self._hidden(name, tombstone)

    def owned(self, owner: int) -> Entry | None:
        """The object that a write's shards are of now, deleted or not; None where they are of none any more."""
        found = self._catalog.one("SELECT name FROM generations WHERE generation = ?", owner)
        if not found:
            return None
        visible = self._one("g.state = 'visible' AND g.name = ?", found[0])
        if visible is None:
            visible = self.deleted(found[0])
        return visible if visible is not None and self.owner(visible.record.generation) == owner else None

    def owner(self, generation: int) -> int:
        """The generation whose shards another one is about."""
        [owner] = self._catalog.one("SELECT owner FROM generations WHERE generation = ?", generation)
        return int(owner)

    def head(self, name: bytes) -> Head | None:
        """The newest generation of a name, visible or a tombstone."""
        query = "SELECT generation, kind, purge_ms FROM generations WHERE name = ? AND "
        row = self._catalog.one(f"{query} state = 'visible'", name) or self._catalog.one(
            f"{query} state <> 'visible' AND state = 'deleted'", name
        )
        return Head(*row) if row else None

    def committed(self, write_id: bytes) -> int | None:
        """The generation that was committed under a write id; None where none was."""
        found = self._catalog.one("SELECT generation FROM generations WHERE write_id = ?", write_id)
        return int(found[0]) if found else None

    def listed(self, prefix: str, after: str, limit: int, *, deleted: bool) -> list[Entry]:
        """Objects whose names begin with a prefix and come after another name, by their UTF-8 bytes."""
        first, last = utf8(prefix), utf8(after)
        where = "g.state = 'visible'"
        if deleted:
            where = "g.state <> 'visible' AND g.state = 'deleted' AND g.purge_ms IS NOT NULL"
        where += " AND g.name > ?" if last >= first else " AND g.name >= ?"
        values: list[Any] = [max(first, last)]
        if first:  # no UTF-8 has a byte 255, so that the next one is a byte
            where += " AND g.name < ?"
            values.append(first[:-1] + bytes([first[-1] + 1]))
        rows = self._catalog.all(f"{_SELECT}{where} ORDER BY g.name LIMIT ?", *values, limit)
        found = [self._entry(row) for row in rows]
        if not deleted:
            return found
        hidden = (self._hidden(utf8(entry.record.name), entry) for entry in found)
        return [entry for entry in hidden if entry is not None]

    def stored(self, store: int) -> str | None:
        """The name of an object with a shard on a store; None where there is none."""
        found = self._catalog.one("SELECT generation FROM shards WHERE store = ? LIMIT 1", store)
        if not found:
            return None
        [name] = self._catalog.one("SELECT name FROM generations WHERE generation = ?", *found)
        return str(name.decode())

    def by_store(self, uuid: str, after: int, limit: int) -> tuple[list[Entry], int]:
        """Objects with a shard on a store, a page at a time: where the next one begins, 0 at the end."""
        query = "SELECT DISTINCT generation FROM shards WHERE store = ? AND generation > ? ORDER BY generation LIMIT ?"
        owners = [owner for (owner,) in self._catalog.all(query, self._stores.key(uuid), after, limit)]
        entries = [entry for entry in map(self.owned, owners) if entry is not None]
        return entries, owners[-1] if len(owners) == limit else 0

    def _hidden(self, name: bytes, tombstone: Entry) -> Entry | None:
        where = (
            "g.generation = (SELECT MAX(generation) FROM generations "
            "WHERE state <> 'visible' AND name = ? AND generation < ? AND kind <> 'delete') AND g.state = 'superseded'"
        )
        hidden = self._one(where, name, tombstone.record.generation)
        if hidden is None:
            return None
        return replace(hidden, deleted_ms=tombstone.deleted_ms, purge_ms=tombstone.purge_ms, tombstone=tombstone.record)

    def _one(self, where: str, *values: Any) -> Entry | None:
        row = self._catalog.one(_SELECT + where, *values)
        return self._entry(row) if row else None

    def _entry(self, row: Sequence[Any]) -> Entry:
        generation, kind, name, purge_ms, write_id, size, sha256, spec = row[:8]
        k, n, block_bytes, tolerate, created_ms, durability, layout, layout_version = row[8:]
        record = Record(
            "delete" if kind == "delete" else "put",
            name.decode(),
            generation,
            write_id,
            size,
            sha256,
            spec,
            k,
            n,
            block_bytes,
            tolerate,
            created_ms,
            durability,
        )
        gone_ms = created_ms if kind == "delete" else None
        until_ms = None if gone_ms is None or purge_ms is None else self._time.told(purge_ms)
        return Entry(record, self._stores.unpack(layout), layout_version, gone_ms, until_ms)


def utf8(text: str) -> bytes:
    """The bytes of a prefix or of a position, which no object need have for a name.

    Raises
    ------
    InvalidObjectName
        It has a lone surrogate.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidObjectName(text, f"has a lone surrogate at character {error.start}") from error


def name_bytes(name: str) -> bytes:
    """The UTF-8 of an object's name.

    Raises
    ------
    InvalidObjectName
    """
    object_id(name)
    return name.encode()
