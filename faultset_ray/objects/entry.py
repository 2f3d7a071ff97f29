"""What the catalog has of an object, and by whom stores let themselves be told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from faultset_ray.limits import SILENT_MAX
from faultset_ray.objects.record import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as the catalog has it."""

    record: Record
    layout: tuple[str, ...]
    """The UUID of the store that holds each shard, by index; ``""`` where none does."""
    layout_version: int
    """One more with each shard that moved."""
    deleted_ms: int | None = None
    """When it was deleted; None while it is there."""
    purge_ms: int | None = None
    """When its shards become garbage, which is until when it can be undeleted."""
    tombstone: Record | None = None
    """Of an object that was deleted: what hides it, and goes wherever its record goes."""

    @property
    def records(self) -> tuple[Record, ...]:
        """What a store with a shard of it is to have."""
        return (self.record,) if self.tombstone is None else (self.record, self.tombstone)


@dataclass(frozen=True, slots=True)
class Fence:
    """Whose word a call to a store carries: stores refuse other catalogs, and epochs below the highest they saw."""

    catalog: bytes
    """16 bytes, one value for the life of a catalog."""
    epoch: int
    """Of the coordinator: one higher at each of its starts."""
    least: int = SILENT_MAX
    """The fewest losses that any write was to tolerate, of those that tolerate less than ``SILENT_MAX``."""


@dataclass(frozen=True, slots=True)
class RetiredStores:
    """The stores that were let go of: the catalog says which, and every store remembers it in case that one is lost."""

    version: int = 0
    """Of two, the higher one counts."""
    stores: Mapping[str, int] = field(default_factory=dict)
    """By UUID, the last generation there was then: what such a store has up to it counts only where the catalog, or
    records of other stores, name it."""

    def pack(self) -> bytes:
        """JSON: what :meth:`unpack` takes."""
        return json.dumps({"version": self.version, "stores": dict(sorted(self.stores.items()))}).encode()

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """The opposite of :meth:`pack`.

        Raises
        ------
        ValueError
            It is something else.
        """
        body = json.loads(raw)
        try:
            return cls(int(body["version"]), {str(uuid): int(last) for uuid, last in body["stores"].items()})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no list of retired stores: {error}") from error
