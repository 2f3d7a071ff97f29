"""Which shards of a pile belong together, and which write of several is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Protocol

from faultset_ray import codes
from faultset_ray.codes.base import Code
from faultset_ray.errors import (
    AmbiguousObjectError,
    CodingError,
    CorruptShard,
    InvalidCodeSpec,
    NotEnoughShards,
    UnsupportedFormat,
)
from faultset_ray.shards.format import Header, Trailer

_TOLD_MAX: Final = 256
"""Shards that an error tells of just because they are missing: a header alone must not make it large."""


class Found(Protocol):
    """What something that should be a sealed shard turned out to be."""

    @property
    def header(self) -> Header | None:
        """None if it can't be read."""

    @property
    def trailer(self) -> Trailer | None:
        """None if it is not a sound, sealed shard."""

    @property
    def reason(self) -> str:
        """Why it is unusable; empty if it is sealed and sound at both ends."""

    @property
    def index(self) -> int | None:
        """Which shard it is, or was to be."""


@dataclass(frozen=True, slots=True)
class Group:
    """The shards of one write that were found."""

    header: Header
    """Of the write; its index is 0 whether or not that shard is there."""
    trailer: Trailer
    """Of the write; the table digest, which each shard has its own of, is empty."""
    members: dict[int, list[int]]
    """Where in the pile each shard is, by index: more than once if there are copies."""
    reasons: dict[int, str]
    """Why others of its shards are unusable, where there is more to tell than that they are missing."""

    @property
    def label(self) -> str:
        """How messages name the write."""
        return f"write {self.header.write_id.hex()}"

    def missing(self, most: int | None = None) -> dict[int, str]:
        """Why each shard without a member has none; of those of which nothing was found, ``most`` at most."""
        shown = range(self.header.n if most is None else min(self.header.n, most))
        absent = {index: "missing" for index in shown if index not in self.members}
        return absent | {index: why for index, why in self.reasons.items() if index not in self.members}

    def not_enough(self, what: str = "") -> NotEnoughShards:
        """The error that tells of every shard that is not usable."""
        name = f"{what}: {self.label}" if what else self.label
        return NotEnoughShards(len(self.members), self.header.k, self.missing(_TOLD_MAX), name)

    def code(self) -> Code:
        """The code of the write.

        Raises
        ------
        UnsupportedFormat
            There is no such code here.
        CorruptShard
            The code is not the one that the header's k and n are of.
        """
        code = _code(self.header.spec)
        if code is None:
            raise UnsupportedFormat(self.label, "code", self.header.spec, ", ".join(codes.available()))
        if (code.k, code.n) != (self.header.k, self.header.n):
            k, n = self.header.k, self.header.n
            raise CorruptShard(self.label, f"the header says {k} of {n} shards, its code {code.spec} does not")
        return code

    def is_determined(self) -> bool:
        """Whether the shards determine the object, if they are sound all through; of some codes not every k do."""
        lost = [index for index in range(self.header.k) if index not in self.members]
        if not lost or len(self.members) < self.header.k:
            return not lost
        try:
            self.code().plan(lost, self.members)
        except CodingError:
            return False
        return True


@lru_cache(64)
def _code(spec: str) -> Code | None:
    try:
        return codes.get(spec)
    except InvalidCodeSpec:
        return None


def groups_of(pile: Sequence[Found]) -> list[Group]:
    """The writes of which a sound shard is in a pile, the most complete first."""
    found: dict[tuple[Header, Trailer], dict[int, list[int]]] = {}
    for position, shard in enumerate(pile):
        if shard.header is not None and shard.trailer is not None:
            write = replace(shard.header, index=0), replace(shard.trailer, table_digest=b"")
            found.setdefault(write, {}).setdefault(shard.header.index, []).append(position)
    groups = [
        Group(header, trailer, members, _reasons(header, trailer, pile)) for (header, trailer), members in found.items()
    ]
    return sorted(groups, key=lambda group: -len(group.members) / group.header.k)


def choose(pile: Sequence[Found], what: str = "") -> Group:
    """Find the one write that can be decoded.

    Parameters
    ----------
    pile
        Shards, sound or not.
    what
        How errors name the pile.

    Raises
    ------
    AmbiguousObjectError
        If more than one write can be decoded.
    NotEnoughShards
        If none has k shards; it tells of the write that comes nearest why each of its shards is unusable.
    """
    groups = groups_of(pile)
    enough = [group for group in groups if len(group.members) >= group.header.k]
    if len(enough) > 1:
        enough = [group for group in enough if group.is_determined()] or enough[:1]
    if len(enough) > 1:
        raise ambiguous(enough)
    if enough:
        return enough[0]
    raise not_enough(pile, what)


def ambiguous(groups: Sequence[Group]) -> AmbiguousObjectError:
    """The error that names writes of which any could be meant."""
    return AmbiguousObjectError(
        f"{group.header.write_id.hex()} ({group.header.spec}, {group.trailer.size:,} bytes)" for group in groups
    )


def not_enough(pile: Sequence[Found], what: str = "") -> NotEnoughShards:
    """The error that tells of the write in a pile that is the most complete, why its shards are unusable."""
    groups = groups_of(pile)
    if groups:
        return groups[0].not_enough(what)
    header = next((shard.header for shard in pile if shard.header is not None), None)
    if header is not None:
        missing = dict.fromkeys(range(min(header.n, _TOLD_MAX)), "missing")
        missing |= {shard.index: shard.reason for shard in pile if shard.index is not None and shard.index < header.n}
        return NotEnoughShards(0, header.k, missing, what or f"write {header.write_id.hex()}")
    return NotEnoughShards(0, 1, {shard.index: shard.reason for shard in pile if shard.index is not None}, what)


def _reasons(header: Header, trailer: Trailer, pile: Sequence[Found]) -> dict[int, str]:
    """Of each index, the most telling reason why what was found of it is not a shard of this write."""
    reasons: dict[int, str] = {}
    for shard in pile:
        if shard.index is None or shard.index >= header.n:
            continue
        if shard.header is None or shard.header.write_id == header.write_id:
            why = shard.reason or _forged(header, trailer, shard)
        else:
            why = _stranger(header, shard.header)
        if why and (shard.header is None or shard.header.write_id == header.write_id or shard.index not in reasons):
            reasons[shard.index] = why
    return reasons


def _forged(header: Header, trailer: Trailer, shard: Found) -> str:
    assert shard.header is not None
    assert shard.trailer is not None
    if replace(shard.header, index=0) != header:
        return "forged: of this write by its id, but its header is another"
    if replace(shard.trailer, table_digest=b"") != trailer:
        return "forged: of this write by its id, but its size or digest is another"
    return ""


def _stranger(header: Header, other: Header) -> str:
    if any(header.object_id) and other.object_id == header.object_id and other.generation < header.generation:
        return f"stale: of generation {other.generation}, not {header.generation}"
    return f"wrong object: of write {other.write_id.hex()}"
