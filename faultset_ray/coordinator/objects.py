"""What drivers and the coordinator tell each other about objects: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from faultset_ray.limits import DELETE_GRACE_SECONDS
from faultset_ray.objects.entry import Entry, Fence
from faultset_ray.objects.record import Record

Action = Literal["put", "delete", "undelete"]
StoreState = Literal["active", "draining", "retired", "returning"]


@dataclass(frozen=True, slots=True)
class Intent:
    """A write that a driver is about to do."""

    write_id: bytes
    """16 random bytes, by which every later call names the write."""
    kind: Action
    """``"undelete"`` comes of :meth:`~faultset_ray.coordinator.object_verbs.ObjectVerbs.undelete` alone."""
    name: str
    spec: str
    k: int
    n: int
    block_bytes: int
    tolerate: int
    layout: tuple[str, ...]
    """The UUID of the store that is to get each shard, by index, or ``""``; of a deletion, those for the tombstones."""
    driver: str
    """Whose it is, for those who look."""
    if_absent: bool = False
    if_generation: int | None = None
    durability: str = "fsync"
    grace_ms: int = round(DELETE_GRACE_SECONDS * 1000)
    """For how long a deletion can be undone."""
    generation: int | None = None
    """What it was given before, where it is opened again: with another one it must not go on."""

    @property
    def conditional(self) -> bool:
        """Whether it holds its name alone."""
        return self.if_absent or self.if_generation is not None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A write that the coordinator has written down."""

    write_id: bytes
    generation: int
    fence: Fence


@dataclass(frozen=True, slots=True)
class Undeletion:
    """An object that is about to come back."""

    ticket: Ticket
    """Its write id is of the undeletion: by it, it is committed."""
    entry: Entry
    """As the object is going to be. The record is to go to the stores of its layout; its write id is of the shards."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A write whose shards are sealed and whose records are durable. Of other kinds than put, the write id counts."""

    write_id: bytes
    size: int
    sha256: bytes
    layout: tuple[str, ...]
    """The store of each sealed shard by index; ``""`` where none is."""
    created_ms: int
    durability: str = "fsync"
    """What its stores promised."""


@dataclass(frozen=True, slots=True)
class OpenWrite:
    """A write that is neither committed nor given up."""

    write_id: bytes
    kind: Action
    name: str
    generation: int
    spec: str
    k: int
    n: int
    block_bytes: int
    tolerate: int
    durability: str
    layout: tuple[str, ...]
    stores: tuple[str, ...]
    """Every store that it ever named."""
    driver: str
    record: Record | None
    """What an undeletion writes to the stores."""
    grace_ms: int = 0
    """For how long a deletion can be undone."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that a store is to let go of. To do it again does no harm."""

    store: str
    generation: int
    """Of the write that it is of."""
    write_id: bytes
    """Whose shards are to be dropped; empty where only records are."""
    index: int | None
    """None for all of the write."""
    records: tuple[tuple[bytes, int], ...]
    """Object id and generation of each record to be forgotten, after the shards."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A shard that is not what or where it should be."""

    write_id: bytes
    index: int
    store: str
    """``""`` where no store was given the shard."""
    reason: str


@dataclass(frozen=True, slots=True)
class ShardMove:
    """A shard that goes to another store, by copy or rebuilt."""

    write_id: bytes
    index: int
    source: str
    """``""`` where no store has it."""
    target: str
    """The source itself where the shard is rebuilt in its place."""
    layout_version: int | None = field(default=None, compare=False)
    """Of the layout that the move was planned with; with another one it is neither opened nor committed."""


@dataclass(frozen=True, slots=True)
class StoreRow:
    """A store as the coordinator knows it."""

    uuid: str
    place: str
    region: str
    path: str
    durability: str
    state: StoreState
    """``"draining"`` gets no new shards; ``"retired"`` is waited for no more; ``"returning"`` was retired, is back at
    another place, and gets nothing before it has let go of what it had."""
    unseen_s: float
    """For how long nobody has reached it, by the catalog's time."""
    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    shards: int


Whose = Literal["live", "open", "garbage", "surplus", ""]
"""Of a shard on a store: the layout has it there; a write or a move that is not ended may; the store is to drop it; an
object has it elsewhere; nobody needs it that is known of."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How much there is of everything."""

    objects: int
    bytes: int
    deleted: int
    """Objects that can be undeleted."""
    open_writes: int
    aborting: int
    garbage: int
    """Shards, writes and records that stores have still to let go of."""
    damage: int
    oldest_damage_ms: int | None
    """When the oldest was reported."""
    moves: int


@dataclass(frozen=True, slots=True)
class Orphan:
    """A sealed shard of a write that no record speaks of."""

    store: str
    write_id: bytes
    index: int
    generation: int
    object_id: bytes
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Lost:
    """An object of which stores have a record, and fewer sound shards than decoding needs."""

    name: str
    generation: int
    have: int
    need: int


@dataclass(frozen=True, slots=True)
class Twice:
    """Two writes of one generation, of two lives of a catalog: both may have been acknowledged."""

    generation: int
    name: str
    """Of the one that is in the catalog."""
    other: str
    """Of the one that is not; its shards and records stay."""
    write_id: bytes
    """Of that one's shards."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A write that was never acknowledged, if all stores were there: too few have its record, and it can't be read."""

    name: str
    generation: int
    records: int
    """Stores that have its record."""
    have: int
    """Its sound shards."""
    need: int
    shown: int
    """The generation that readers get in its place, or of the deletion."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of making a catalog anew from what stores hold."""

    catalog: str
    """In hex: the one that the stores belong to."""
    epoch: int
    objects: int
    """Lost ones too."""
    deleted: int
    """Objects that can be undeleted."""
    garbage: int
    """Writes that something newer hides, and shards that are there twice."""
    damage: int
    """Shards that are missing or unsound."""
    orphans: tuple[Orphan, ...]
    """They stay where they are."""
    lost: tuple[Lost, ...]
    unreadable: int
    """Records that can't be read."""
    foreign: tuple[str, ...]
    """Stores of another catalog, which were left out."""
    unfinished: tuple[Unfinished, ...] = ()
    """They stay where they are."""
    twice: tuple[Twice, ...] = ()
    """Of each, only one is in the catalog."""
