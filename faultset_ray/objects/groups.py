"""Which shards of a pile belong together, and which write of several is meant.

Shards belong to one write if their headers say so. The digests of their granules vouch for what they hold, at
whichever end they are damaged; only where the object ends, and its digest, must be told by a sealed one of them.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from typing import Final, NoReturn, Protocol

from faultset_ray import codes
from faultset_ray.codes.base import Code
from faultset_ray.columns import is_int
from faultset_ray.errors import (
    AmbiguousObjectError,
    CodingError,
    CorruptShard,
    InputError,
    InvalidCodeSpec,
    NotEnoughShards,
    UnsupportedFormat,
)
from faultset_ray.errors.base import listed
from faultset_ray.limits import FORMAT_SHARDS_MAX
from faultset_ray.objects.gather import Decoder
from faultset_ray.shards.format import Header, Trailer

_TOLD_MAX: Final = 256
"""Shards that an error tells of just because they are missing: a header alone must not make it large."""
_VARIANTS_MAX: Final = 512
ENDINGS_MAX: Final = 8
"""Trailers under one header that are tried, those that most shards have first; sound ones agree."""


class Sealed(Protocol):
    """What may have a trailer."""

    @property
    def trailer(self) -> Trailer | None:
        """None if it is not a sound, sealed shard."""


class Found(Sealed, Protocol):
    """What something that should be a sealed shard turned out to be."""

    @property
    def header(self) -> Header | None:
        """None if it can't be read."""

    @property
    def reason(self) -> str:
        """Why it is unusable; empty if it is sealed and sound at both ends."""

    @property
    def index(self) -> int | None:
        """Which shard it is, or was to be."""

    @property
    def named(self) -> int | None:
        """Which shard its name says it is, if it has such a name."""

    @property
    def where(self) -> str:
        """Where it lies, if more than its position in the pile is known of that."""


@dataclass(frozen=True, eq=False)
class Group:
    """The shards of one write that were found."""

    header: Header
    """Of the write; its index is 0 whether or not that shard is there."""
    trailer: Trailer
    """Of the write; the table digest, which each shard has its own of, is empty."""
    members: dict[int, list[int]]
    """Where in the pile each shard is, by index: more than once if there are copies."""
    pile: Sequence[Found]

    @property
    def label(self) -> str:
        """How messages name the write."""
        return f"write {self.header.write_id.hex()}"

    @cached_property
    def reasons(self) -> dict[int, str]:
        """Why others of its shards are unusable, where there is more to tell than that they are missing."""
        return _reasons(self.header, self.pile)

    def missing(self, most: int | None = None) -> dict[int, str]:
        """Why each shard without a member has none; of those of which nothing was found, ``most`` at most."""
        shown = range(self.header.n if most is None else min(self.header.n, most))
        absent = {index: "missing" for index in shown if index not in self.members}
        return absent | {index: why for index, why in self.reasons.items() if index not in self.members}

    def not_enough(self, what: str = "") -> NotEnoughShards:
        """The error that tells of every shard that is not usable."""
        name = f"{what}: {self.label}" if what else self.label
        unusable = _unplaced(self.pile, self.header.n)
        return NotEnoughShards(len(self.members), self.header.k, self.missing(_TOLD_MAX), name, unusable)

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """While this write is decoded: that it can't be is told with what else was found and tells of no shard."""
        try:
            yield
        except NotEnoughShards as error:
            unusable = _unplaced(self.pile, self.header.n)
            raise NotEnoughShards(error.have, error.need, error.missing, error.object_name, unusable) from None

    @cached_property
    def disputed(self) -> frozenset[int]:
        """Shards of which copies hold different things, though each is sealed and sound in itself: one is forged."""
        return frozenset(index for index, at in self.members.items() if len(at) > 1 and len(self._contents(at)) > 1)

    def _contents(self, at: Sequence[int]) -> set[bytes]:
        trailers = [self.pile[position].trailer for position in at]
        return {trailer.table_digest for trailer in trailers if trailer is not None}

    def variants(self, suspects: Collection[int] | None = None) -> Iterator[Group]:
        """The write with a shard, or some copies of one, left out at a time: to find one that is forged.

        Shards whose copies disagree come first. A pile of very many copies is not tried to its end.

        Parameters
        ----------
        suspects
            Which shards; all by default.
        """
        return islice(self._variants(self.members if suspects is None else suspects), _VARIANTS_MAX)

    def _variants(self, suspects: Collection[int]) -> Iterator[Group]:
        for index in sorted(suspects, key=lambda index: (index not in self.disputed, index)):
            at = self.members[index]
            if len(at) > 1:
                for position in at:
                    yield self.holding(index, [other for other in at if other != position])
            if len(at) > 2:
                for position in at:
                    yield self.holding(index, [position])
            if len(self.members) > self.header.k:
                yield self.holding(index, [])

    def holding(self, index: int, at: list[int]) -> Group:
        """The write with only these copies of a shard, or without it, as a forged one."""
        members = {**self.members, index: at}
        if not at:
            del members[index]
        group = replace(self, members=members)
        if not at:
            group.reasons[index] = FORGED_BLOCKS
        return group

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

    def decoder(self) -> Decoder:
        """What makes rows of others: the code, or, where that is not to be had, what says so once it is needed.

        As long as all data are sound it is not.
        """
        try:
            return self.code()
        except CodingError as error:
            return _NoCode(self.header.k, error)

    def is_sealed_by(self, shard: Sealed) -> bool:
        """Whether a shard's own trailer is the write's."""
        return shard.trailer is not None and replace(shard.trailer, table_digest=b"") == self.trailer


class _NoCode:
    """In place of a code; only data shards are of use to it."""

    def __init__(self, k: int, error: CodingError) -> None:
        self.k = self.n = k
        self._error = error

    def reads(self, *_: object) -> NoReturn:
        """See :class:`~faultset_ray.objects.gather.Decoder`."""
        raise self._error

    reconstruct = reads


@lru_cache(64)
def _code(spec: str) -> Code | None:
    try:
        return codes.get(spec)
    except InvalidCodeSpec:
        return None


def families_of(pile: Sequence[Found], wanted: str | None = None) -> list[list[Group]]:
    """The writes of which a sealed shard is in a pile, the most complete first.

    Those under one header stand together: where trailers disagree, that of most shards first.

    Parameters
    ----------
    wanted
        As for :func:`ids_of`: only such writes.
    """
    ids = ids_of(wanted)
    members: dict[Header, dict[int, list[int]]] = {}
    endings: dict[Header, Counter[Trailer]] = {}
    for position, shard in enumerate(pile):
        if shard.header is None or not _is_one(shard.header, ids):
            continue
        write = replace(shard.header, index=0)
        members.setdefault(write, {}).setdefault(shard.header.index, []).append(position)
        if shard.trailer is not None:
            endings.setdefault(write, Counter())[replace(shard.trailer, table_digest=b"")] += 1
    families = [
        [Group(write, trailer, members[write], pile) for trailer, _ in found.most_common(ENDINGS_MAX)]
        for write, found in endings.items()
    ]
    return sorted(families, key=lambda family: -len(family[0].members) / family[0].header.k)


def ids_of(wanted: str | None) -> frozenset[bytes] | None:
    """What the header of an object that is wanted may say of it; None for any.

    Parameters
    ----------
    wanted
        Write id or object id in hex, or the name that the object was given.

    Raises
    ------
    InputError
        If it is no text.
    """
    if wanted is None:
        return None
    if not isinstance(wanted, str):
        raise InputError(f"object is {type(wanted).__name__}; expected a name, or an id in hex, as a str")
    hexadecimal = re.fullmatch("[0-9a-fA-F]{32}|[0-9a-fA-F]{64}", wanted)
    return frozenset({object_id_of(wanted), *([bytes.fromhex(wanted)] if hexadecimal else [])}) - {bytes(32)}


def _is_one(header: Header | None, ids: frozenset[bytes] | None) -> bool:
    return header is not None and (ids is None or header.write_id in ids or header.object_id in ids)


def object_id_of(name: str | None) -> bytes:
    """What a header says of an object's name: its SHA-256, zeros for none.

    Raises
    ------
    InputError
        If it is no text.
    """
    if name is None:
        return bytes(32)
    if not isinstance(name, str):
        raise InputError(f"name is {type(name).__name__}; expected a str")
    try:
        return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()  # as a path has undecodable bytes
    except UnicodeEncodeError:
        raise InputError(f"name {name!r} can't be written in UTF-8") from None


def generation_of(generation: object) -> int:
    """What a header says of the order among the writes of one name, checked.

    Raises
    ------
    InputError
        If it is no integer of 0 to 2^64 - 1.
    """
    if not is_int(generation) or not 0 <= generation < 1 << 64:
        raise InputError(f"generation is {generation!r}; expected an integer of 0 to 2^64 - 1")
    return int(generation)


def candidates(pile: Sequence[Found], what: str = "", wanted: str | None = None) -> list[list[Group]]:
    """Find the writes that might be decoded, by how many of their shards are there.

    Parameters
    ----------
    pile
        Shards, sound or not.
    what
        How errors name the pile.
    wanted
        As for :func:`ids_of`.

    Returns
    -------
    list
        At least one, as from :func:`families_of`. Which of them can be decoded, reading will tell: :func:`only`.

    Raises
    ------
    NotEnoughShards
        If none has k shards; it tells of the write that comes nearest why each of its shards is unusable.
    InputError
        If nothing here is of the object that is wanted.
    """
    ids = ids_of(wanted)
    if ids is not None and not any(_is_one(shard.header, ids) for shard in pile):
        there = listed(_described(family[0]) for family in families_of(pile))
        raise InputError(f"no shard of object {wanted!r} is here; writes of which there are shards: {there}")
    found = [family for family in families_of(pile, wanted) if len(family[0].members) >= family[0].header.k]
    if not found:
        raise not_enough(pile, what, wanted)
    return found


def only(decodable: Sequence[Group], failed: Sequence[CodingError]) -> Group:
    """The one write that can be decoded, of those that were tried; or the error to raise."""
    if len(decodable) > 1:
        raise AmbiguousObjectError(map(_described, decodable))
    if not decodable:
        raise failed[0]
    return decodable[0]


def _described(group: Group) -> str:
    header = group.header
    named = f", object {header.object_id.hex()}" if any(header.object_id) else ""
    return f"{header.write_id.hex()} ({header.spec}, {group.trailer.size:,} bytes{named})"


def not_enough(pile: Sequence[Found], what: str = "", wanted: str | None = None) -> NotEnoughShards:
    """The error that tells of the write in a pile that is the most complete, why its shards are unusable."""
    families = families_of(pile, wanted)
    if families:
        return families[0][0].not_enough(what)
    ids = ids_of(wanted)
    header = next((shard.header for shard in pile if _is_one(shard.header, ids)), None)
    if header is not None:
        missing = dict.fromkeys(range(min(header.n, _TOLD_MAX)), "missing")
        missing |= {shard.index: shard.reason for shard in pile if shard.index is not None and shard.index < header.n}
        name = what or f"write {header.write_id.hex()}"
        return NotEnoughShards(0, header.k, missing, name, _unplaced(pile, header.n))
    named = ((shard.index, shard.reason) for shard in pile if shard.index is not None)
    return NotEnoughShards(0, None, dict(islice(named, _TOLD_MAX)), what, _unplaced(pile, FORMAT_SHARDS_MAX))


def _unplaced(pile: Sequence[Found], n: int) -> dict[int, str]:
    """Why what tells of no index below n can't be used, by its position in the pile; the first of very many."""
    found = (
        (position, f"{shard.where}: {shard.reason}" if shard.where else shard.reason)
        for position, shard in enumerate(pile)
        if shard.header is None and (shard.index is None or shard.index >= n)
    )
    return dict(islice(found, _TOLD_MAX))


def _reasons(header: Header, pile: Sequence[Found]) -> dict[int, str]:
    """Of each index, the most telling reason why what was found of it is not a shard of this write."""
    reasons: dict[int, str] = {}
    for shard in pile:
        if shard.index is None or shard.index >= header.n:
            continue
        ours = shard.header is None or shard.header.write_id == header.write_id
        if shard.header is None:
            why = shard.reason
        elif not ours:
            why = _stranger(header, shard.header)
        else:
            forged = replace(shard.header, index=0) != header
            why = "forged: of this write by its id, but its header is another" if forged else shard.reason
        if why and (ours or shard.index not in reasons):
            reasons[shard.index] = why
    for shard in pile:
        if shard.named in (None, shard.index) or shard.header is None or shard.header.write_id != header.write_id:
            continue
        if shard.named < header.n:
            reasons.setdefault(shard.named, f"wrong index: {shard.where} holds shard {shard.index}")
    return reasons


FORGED_BLOCKS: Final = "forged: sound in itself, but only without it the object has its digest"
"""Why a shard is left out that was found by trial."""
FORGED_END: Final = "forged: of this write by its id, but its size or digest is another"
"""Why a shard that is sealed is not sound, where others of its write are sealed otherwise."""


def _stranger(header: Header, other: Header) -> str:
    if any(header.object_id) and other.object_id == header.object_id and other.generation < header.generation:
        return f"stale: of generation {other.generation}, not {header.generation}"
    return f"wrong object: of write {other.write_id.hex()}"
