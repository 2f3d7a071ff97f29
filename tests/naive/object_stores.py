"""Stores as dicts: what a catalog's orders do to shards and records, and what a scan tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from faultset_ray.coordinator.objects import Garbage, Intent
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_values import ScanPage, StoreInfo


@dataclass
class Open:
    """A write as its driver knows it."""

    intent: Intent
    generation: int
    record: Record | None = None
    layout: tuple[str, ...] = ()
    recorded: bool = False


@dataclass
class Past:
    """What was committed of a name."""

    generation: int
    record: Record
    purge_ms: int | None = None


@dataclass
class NaiveStore:
    """Shards by write id and index, records by object id and generation."""

    uuid: str
    catalog: bytes = b""
    shards: dict[tuple[bytes, int], tuple[int, bytes]] = field(default_factory=dict)
    """The generation and object id in each header."""
    records: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    faults: dict[tuple[bytes, int], str] = field(default_factory=dict)
    silent: bool = False

    def info(self) -> StoreInfo:
        return StoreInfo(self.uuid, f"place of {self.uuid}", "", "fsync", "", 0, 0, catalog=self.catalog.hex(), epoch=1)

    def write(self, write_id: bytes, index: int, generation: int, object_id: bytes) -> None:
        self.shards[write_id, index] = (generation, object_id)

    def record(self, record: Record) -> None:
        """Take a record; as stores do, not one of a write that no shard is left of."""
        if record.kind == "put" and not any(write_id == record.write_id for write_id, _ in self.shards):
            return
        self.records[record.object_id, record.generation] = record.pack()

    def held(self, write_id: bytes) -> tuple[set[int], bool]:
        recorded = any(Record.unpack(raw).write_id == write_id for raw in self.records.values())
        return {index for each, index in self.shards if each == write_id}, recorded

    def drop(self, write_id: bytes, index: int | None) -> None:
        for key in [key for key in self.shards if key[0] == write_id and index in (None, key[1])]:
            del self.shards[key]
        if index is None:
            for key in [key for key, raw in self.records.items() if Record.unpack(raw).write_id == write_id]:
                del self.records[key]

    def let_go(self, item: Garbage) -> None:
        if item.write_id:
            self.drop(item.write_id, item.index)
        for key in item.records:
            self.records.pop(key, None)

    def scan(self, after: bytes, limit: int) -> ScanPage:
        keys = sorted(self.shards)
        start = int.from_bytes(after, "big")
        page = keys[start : start + limit]
        found = [self.shards[key] for key in page]
        return ScanPage(
            np.frombuffer(b"".join(write_id for write_id, _ in page), np.uint8).reshape(-1, 16),
            np.array([index for _, index in page], np.uint16),
            np.array([generation for generation, _ in found], np.uint64),
            np.frombuffer(b"".join(object_id for _, object_id in found), np.uint8).reshape(-1, 32),
            np.zeros(len(page), np.uint64),
            np.full(len(page), 100, np.uint64),
            [self.faults.get(key, "") for key in page],
            (start + limit).to_bytes(4, "big") if start + limit < len(keys) else b"",
        )


def rebuilt(coordinator, stores, page: int = 7):
    """Rebuild a catalog from stores, a few shards and records at a time."""
    coordinator.rebuild_begin([store.info() for store in stores])
    for store in stores:
        after = b""
        while True:
            shards = store.scan(after, page)
            coordinator.rebuild_shards(store.uuid, after, shards)
            coordinator.rebuild_shards(store.uuid, after, shards)
            if not shards.next:
                break
            after = shards.next
        packed = list(store.records.values())
        for start in range(0, len(packed), page):
            coordinator.rebuild_records(store.uuid, packed[start : start + page])
    return coordinator.rebuild_end()
