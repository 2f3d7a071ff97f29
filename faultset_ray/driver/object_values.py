"""What the verbs for objects answer with: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from faultset_ray.objects.entry import Entry

Health = Literal["healthy", "degraded", "lost"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The word that an object is stored as it was promised."""

    name: str
    generation: int
    """Order among the writes of the name."""
    size: int
    spec: str
    """The code's canonical text."""
    n_durable: int
    """Shards that are sealed on stores."""
    survivable: int
    """How many stores may be lost, whichever they are, without losing the object: no fewer than promised."""
    durability: str
    """``"fsync"``: every shard outlives its machine's power. ``"none"``: some are gone with their processes."""
    catalog: Literal["fsync", "memory"] = "fsync"
    """``"memory"``: the catalog ends with its process, and is then to be rebuilt from what the stores hold."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """The word that an object is gone from sight."""

    name: str
    generation: int
    """Of the deletion."""
    until_ms: int
    """Until when :meth:`undelete` brings it back."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a list."""

    name: str
    size: int
    generation: int
    spec: str
    created_ms: int
    durability: str
    sha256: str
    """In hex."""

    @classmethod
    def of(cls, entry: Entry, **more: Any) -> Self:
        """What the catalog has of an object, and ``more`` fields where the class has more."""
        record = entry.record
        return cls(
            record.name,
            record.size,
            record.generation,
            record.spec,
            record.created_ms,
            record.durability,
            record.sha256.hex(),
            **more,
        )


@dataclass(frozen=True, slots=True)
class ObjectStat(ObjectInfo):
    """One object, and how it fares now."""

    tolerate: int
    """Losses of stores that were promised."""
    health: Health
    """``"healthy"`` with all shards, ``"degraded"`` with enough of them, else ``"lost"``: then sound parts of damaged
    shards may still make it whole."""
    survivable: int
    """How many more stores may be lost, whichever they are; -1 if it is lost."""
    locations: Mapping[int, tuple[str, str, str]]
    """``{index: (store's UUID, place, path)}`` of the shards that are there. On Ray the place is the NodeID in hex."""
    missing: Mapping[int, str]
    """Why each of the others isn't: also of those that are there and damaged, as far as that was found."""
