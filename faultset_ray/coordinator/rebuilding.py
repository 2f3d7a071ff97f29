"""A catalog made anew from what stores hold: their records say what there is, their shards where it is.

Records win over anything else: every recorded write is rolled forward, and of a name the newest counts. Shards of
a write without a record were never acknowledged; they are reported, and stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import CorruptShard, UnsupportedFormat
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_values import ScanPage

GENERATION_MAX: Final = (1 << 63) - 1
"""What SQLite can hold; no coordinator gives a higher one."""
NOBODY: Final = -1


@dataclass(slots=True)
class Scans:
    """What stores said, page by page. Stores are numbers here, of the caller's choice, from 0 on."""

    pages: dict[tuple[int, bytes], ScanPage] = field(default_factory=dict)
    """By store, and what the page was asked for with."""
    records: dict[bytes, set[int]] = field(default_factory=dict)
    """Where each packed record is."""

    def add_shards(self, store: int, after: bytes, page: ScanPage) -> None:
        """Take a page of shards."""
        self.pages[store, after] = page

    def add_records(self, store: int, packed: Sequence[bytes]) -> None:
        """Take records."""
        for raw in packed:
            self.records.setdefault(raw, set()).add(store)


@dataclass(frozen=True, slots=True)
class Told:
    """A record, and the stores that have it."""

    record: Record
    stores: set[int]


@dataclass(frozen=True, slots=True)
class Write:
    """A write that a record speaks of."""

    told: list[Told]
    """Ascending by generation: one, and one more for each time that it was undeleted."""
    owner: int
    """The generation that its shards carry."""
    layout: list[int]
    """The store of each shard by index, ``NOBODY`` where there is none."""
    unsound: list[int]
    """Indices whose only shards are damaged at an end."""
    spare: list[tuple[int, int]]
    """Index and store of shards that are somewhere else too."""

    @property
    def have(self) -> int:
        """How many sound shards there are."""
        return sum(store != NOBODY for store in self.layout) - len(self.unsound)

    @property
    def bare(self) -> set[int]:
        """Stores that have a record and no shard of it."""
        recorded = set().union(*(told.stores for told in self.told))
        return recorded - {*self.layout, *(store for _, store in self.spare)}


@dataclass(frozen=True, slots=True)
class Shards:
    """All shards in columns, by write id and index; of one that is there more often, the best comes first."""

    store: NDArray[np.int64]
    write_id: NDArray[np.uint8]
    index: NDArray[np.int64]
    generation: NDArray[np.uint64]
    object_id: NDArray[np.uint8]
    file_bytes: NDArray[np.uint64]
    sound: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """What the stores hold, sorted out; pages in another order make no difference."""

    writes: list[Write]
    """Ascending by the generation of their first record."""
    tombstones: list[Told]
    """Ascending by generation."""
    shards: Shards
    orphans: NDArray[np.int64]
    """int64[m]: the rows of shards that no record speaks of."""
    unreadable: int
    """Records that can't be read."""
    generation: int
    """The highest that there is."""

    @property
    def tolerated(self) -> set[int]:
        """How many losses the writes are to tolerate."""
        return {told.record.tolerate for told in self.tombstones} | {
            told.record.tolerate for write in self.writes for told in write.told
        }


def sorted_out(scans: Scans, retired: Mapping[int, int] | None = None) -> Found:
    """Put together what stores said.

    Parameters
    ----------
    retired
        Of stores that were let go of, the last generation there was then. Their records up to it don't count; their
        shards do, behind all others, where a record of another store speaks of the write.
    """
    retired = retired or {}
    shards = _shards(scans, retired)
    told, unreadable = _told(scans, retired)
    bounds = _bounds(_halves(shards.write_id))
    rows_of = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    spans = dict(zip(map(bytes, shards.write_id[bounds[:-1]]), rows_of, strict=True))
    by_write: dict[bytes, list[Told]] = {}
    for each in told:
        if each.record.kind == "put":
            by_write.setdefault(each.record.write_id, []).append(each)
    rows = _plain(shards)
    taken = {each.record.generation for each in told}
    writes = [_write(group, taken, rows, *spans.pop(write_id, (0, 0))) for write_id, group in by_write.items()]
    orphaned = np.zeros(len(shards.store), bool)
    for start, end in spans.values():
        orphaned[start:end] = True
    possible = shards.generation[shards.generation <= GENERATION_MAX]
    highest = max(
        [0, *(each.record.generation for each in told[-1:]), *possible.max(keepdims=True, initial=0).tolist()]
    )
    tombstones = [each for each in told if each.record.kind == "delete"]
    return Found(writes, tombstones, shards, np.flatnonzero(orphaned), unreadable, highest)


def _told(scans: Scans, retired: Mapping[int, int]) -> tuple[list[Told], int]:
    """The records ascending by generation, and how many can't be read."""
    found: dict[tuple[int, bytes], Told] = {}
    unreadable = 0
    for raw in sorted(scans.records):
        try:
            record = Record.unpack(raw)
        except (CorruptShard, UnsupportedFormat):
            unreadable += 1
            continue
        if record.generation > GENERATION_MAX:
            unreadable += 1
            continue
        stores = {store for store in scans.records[raw] if record.generation > retired.get(store, NOBODY)}
        if stores:
            found.setdefault((record.generation, record.write_id), Told(record, set())).stores.update(stores)
    return [found[key] for key in sorted(found)], unreadable


def _shards(scans: Scans, retired: Collection[int]) -> Shards:
    keys = sorted(scans.pages)
    pages = [scans.pages[key] for key in keys]

    def all_of(name: str, dtype: Any, *width: int) -> NDArray[Any]:
        parts = [np.asarray(getattr(page, name), dtype).reshape(-1, *width) for page in pages]
        return np.concatenate([np.empty((0, *width), dtype), *parts])

    store = np.repeat([store for store, _ in keys], [len(page.index) for page in pages]).astype(np.int64)
    write_id, index = all_of("write_id", np.uint8, 16), all_of("index", np.int64)
    sound = np.array([not fault for page in pages for fault in page.fault], bool)
    halves = _halves(write_id)
    leaving = np.isin(store, sorted(retired))
    order = np.lexsort((store, _crowd(halves, store), leaving, ~sound, index, halves[:, 1], halves[:, 0]))
    return Shards(
        store[order],
        write_id[order],
        index[order],
        all_of("generation", np.uint64)[order],
        all_of("object_id", np.uint8, 32)[order],
        all_of("file_bytes", np.uint64)[order],
        sound[order],
    )


def _halves(write_id: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64[m, 2]: write ids as numbers that compare as they do."""
    return np.ascontiguousarray(write_id).view(">u8").astype(np.uint64).reshape(-1, 2)


def _crowd(halves: NDArray[np.uint64], store: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many shards of its write each shard's store has: of two copies, the lonelier one spreads the write more."""
    order = np.lexsort((store, halves[:, 1], halves[:, 0]))
    sizes = np.diff(_bounds(np.column_stack([halves, store.astype(np.uint64)])[order]))
    crowd = np.empty(len(order), np.int64)
    crowd[order] = np.repeat(sizes, sizes)
    return crowd


def _bounds(rows: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where runs of equal rows begin, and the end."""
    new = np.ones(len(rows), bool)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return np.append(np.flatnonzero(new), len(rows))


def _plain(shards: Shards) -> tuple[list[int], list[int], list[bool], list[int]]:
    """Columns as lists, which are quicker to walk through a few rows at a time."""
    return shards.store.tolist(), shards.index.tolist(), shards.sound.tolist(), shards.generation.tolist()


def _write(
    told: list[Told], taken: set[int], rows: tuple[list[int], list[int], list[bool], list[int]], start: int, end: int
) -> Write:
    """One write, and its shards, which are the rows from start to end; ``taken`` are generations of others."""
    stores, indices, sound, generations = rows
    first = told[0].record
    layout, unsound, spare = [NOBODY] * first.n, list[int](), set[tuple[int, int]]()
    for row in range(start, end):
        index, store = indices[row], stores[row]
        if index >= first.n or layout[index] == store:
            continue
        if layout[index] == NOBODY:
            layout[index] = store
            if not sound[row]:
                unsound.append(index)
        else:
            spare.add((index, store))
    carried = {generations[row] for row in range(start, end) if sound[row]} - taken
    owner = min([first.generation, *carried])
    taken.add(owner)
    return Write(told, owner, layout, unsound, sorted(spare))
