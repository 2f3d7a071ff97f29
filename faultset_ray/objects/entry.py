"""What the catalog has of an object, and by whom stores let themselves be told."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Fence:
    """Whose word a call to a store carries: stores refuse other catalogs, and epochs below the highest they saw."""

    catalog: bytes
    """16 bytes, one value for the life of a catalog."""
    epoch: int
    """Of the coordinator: one higher at each of its starts."""
