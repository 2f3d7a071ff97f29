"""Which objects are not as they were promised to be, and what would mend them: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from faultset_ray import codes
from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.placement import replace_lost
from faultset_ray.objects.sites import Site
from faultset_ray.objects.survival import survivable


@dataclass(frozen=True, slots=True)
class Need:
    """An object some of whose shards are lost, or lie where they can't stay."""

    entry: Entry
    lost: frozenset[int]
    """Shards that can't be read: damaged, never made, or on stores that are away."""
    leaving: frozenset[int]
    """Shards on stores that are to become empty."""
    margin: int
    """How many stores more may be lost once those that leave are gone too; -1 if data would be lost."""

    @property
    def file_bytes(self) -> int:
        """Of the shards that are to be made or moved."""
        record = self.entry.record
        return record.header.layout.file_bytes(record.size) * len(self.lost | self.leaving)

    @property
    def urgency(self) -> tuple[int, int, bytes]:
        """What needs are sorted by: the least margin first, of those the oldest object."""
        return self.margin, self.entry.record.created_ms, self.entry.record.write_id


class Needs:
    """All needs of a system's objects: each counted, and the most urgent kept.

    Objects of which too few shards are within reach are kept apart from the others: many of them, which nobody can
    mend, don't keep the others from being mended.

    Parameters
    ----------
    keep
        How many of either kind are kept, and how many names.
    """

    def __init__(self, keep: int, names: int = 100) -> None:
        self._keep = keep
        self._names = names
        self._beyond: list[Need] = []
        self._others: list[Need] = []
        self._lost: list[str] = []
        self.margins: Counter[int] = Counter()
        """Of the objects that lack shards, how many bear how many further losses; -1 where data may be lost."""
        self.count = 0
        """Objects with any need."""
        self.leaving = 0
        """Objects with shards on stores that are to become empty."""

    def add(self, need: Need, *, keep: bool = True) -> None:
        """Count an object's need; each object once. One that is not to be kept is only counted."""
        self.count += 1
        self.leaving += bool(need.leaving)
        if need.lost:
            self.margins[need.margin] += 1
        if need.lost and need.margin < 0:
            self._lost.append(need.entry.record.name)
            if len(self._lost) >= 2 * self._names:
                self._lost = self.lost
        if not keep:
            return
        kept = self._beyond if need.margin < 0 else self._others
        kept.append(need)
        if len(kept) >= 2 * self._keep:
            _least(kept, self._keep)

    @property
    def lost(self) -> list[str]:
        """Names of objects of margin -1, the first ones in order."""
        return sorted(self._lost)[: self._names]

    @property
    def first(self) -> list[Need]:
        """The most urgent, most urgent first."""
        for kept in (self._beyond, self._others):
            _least(kept, self._keep)
        return [*self._beyond, *self._others]


def margin(entry: Entry, without: Collection[int] = ()) -> int:
    """How many stores an object may lose, whichever they are, when some of its shards are not there.

    Returns
    -------
    int
        -1 if it may be lost already.
    """
    held = {index: uuid for index, uuid in enumerate(entry.layout) if uuid and index not in without}
    return survivable(codes.get(entry.record.spec), held)


def need_of(
    entry: Entry, away: Collection[str], leaving: Collection[str] = (), damaged: Collection[int] = ()
) -> Need | None:
    """What an object needs; None if all its shards are where they can be read and stay.

    Parameters
    ----------
    away, leaving
        Stores that can't be reached, and those that are to become empty, by UUID.
    damaged
        Indices of its shards that are known to be damaged.
    """
    lost = {index for index, uuid in enumerate(entry.layout) if not uuid or uuid in away or index in damaged}
    left = {index for index, uuid in enumerate(entry.layout) if uuid in leaving and index not in lost}
    if not lost and not left:
        return None
    return Need(entry, frozenset(lost), frozenset(left), margin(entry, lost | left))


def mending(need: Need, sites: Sequence[Site], shard_bytes: int, *, promised: bool = False) -> Mapping[int, str]:
    """Where the shards go that an object needs elsewhere, by index.

    Parameters
    ----------
    sites
        Every store that is not given up; those that are to become empty as draining, those that get nothing as full.
    promised
        Fail where the object's promise can't be kept; by default do what makes it safer than it would be.

    Returns
    -------
    dict of index to UUID
        Empty where no move would make it safer.

    Raises
    ------
    NotEnoughPlaces
        With ``promised``.
    """
    record, layout = need.entry.record, need.entry.layout
    code = codes.get(record.spec)
    held = {index: uuid for index, uuid in enumerate(layout) if uuid and index not in need.lost}
    key = record.object_id
    try:
        placed = replace_lost(key, code, held, sites, tolerate=record.tolerate, shard_bytes=shard_bytes)
    except NotEnoughPlaces:
        if promised:
            raise
        placed = replace_lost(key, code, held, sites, tolerate=record.tolerate, shard_bytes=shard_bytes, flag=True)
        if placed.survivable_stores <= need.margin:
            return {}
    return {index: uuid for index, uuid in placed.stores.items() if held.get(index) != uuid}


def _least(needs: list[Need], keep: int) -> None:
    """Keep the most urgent, in order."""
    needs.sort(key=lambda need: need.urgency)
    del needs[keep:]
