"""Shards that can't be made into data, or data into shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from faultset_ray.errors.base import FaultsetError, listed


class CodingError(FaultsetError, ValueError):
    """Raised when shards can't be made into data, or data into shards."""

    code = "coding_error"
    exit_code = 3


class NotEnoughShards(CodingError):
    """Raised when fewer shards are usable than decoding needs."""

    code = "not_enough_shards"

    def __init__(
        self,
        have: int,
        need: int | None,
        missing: Mapping[int, str],
        object_name: str = "",
        unusable: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(have, need, missing, object_name, unusable)
        self.have = have
        self.need = need
        """None if nothing told what the object's code is."""
        self.missing = dict(missing)
        """Why each unusable shard is unusable, by index: missing, unreachable, corrupt, stale, …"""
        self.object_name = object_name
        self.unusable = dict(unusable or {})
        """Why what doesn't tell which shard it is can't be used, by its position among all that was given, from 0."""

    def __str__(self) -> str:
        subject = f"{self.object_name}: " if self.object_name else ""
        need = "and none that tells how many are needed" if self.need is None else f"need {self.need}"
        missing, unusable = _by_reason(self.missing), _by_reason(self.unusable)
        whole = f"{subject}have {self.have} shards, {need}" + (f"; missing {missing}" if missing else "")
        return whole + (f"; unusable at position {unusable}" if unusable else "")


def _by_reason(told: Mapping[int, str]) -> str:
    """Numbers with the reason that they share."""
    reasons: dict[str, list[int]] = {}
    for number in sorted(told):
        reasons.setdefault(told[number], []).append(number)
    return "; ".join(f"{listed(numbers)}: {reason}" for reason, numbers in reasons.items())


class ShardSizeError(CodingError):
    """Raised when shards that must be of one size are not, or a size doesn't fit the code."""

    code = "shard_size"

    def __init__(self, what: str, sizes: Mapping[int, int] | int, expected: str) -> None:
        super().__init__(what, sizes, expected)
        self.what = what
        self.sizes = sizes
        self.expected = expected

    def __str__(self) -> str:
        if isinstance(self.sizes, Mapping):
            found = listed(f"{index}: {size}" for index, size in self.sizes.items())
        else:
            found = str(self.sizes)
        return f"{self.what} is {found}; expected {self.expected}"


class InvalidShardIndex(CodingError):
    """Raised when a shard's index is not an integer in 0 … n-1, or stands twice."""

    code = "invalid_shard_index"

    def __init__(self, index: object, n: int, reason: str = "") -> None:
        super().__init__(index, n, reason)
        self.index = index
        self.n = n
        self.reason = reason

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"shard index {self.index!r}{why}; expected one integer of 0 to {self.n - 1} for each shard"


class CorruptShard(CodingError):
    """Raised when a shard's bytes are not what was written."""

    code = "corrupt_shard"
    exit_code = 4

    def __init__(self, what: str, reason: str, offset: int | None = None) -> None:
        super().__init__(what, reason, offset)
        self.what = what
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at byte {self.offset:,}"
        return f"{self.what}: {self.reason}{where}"


class UnsupportedFormat(CodingError):
    """Raised when a shard is sound, but of a format, kind or key that this version can't read."""

    code = "unsupported_format"

    def __init__(self, what: str, field: str, found: str, known: str) -> None:
        super().__init__(what, field, found, known)
        self.what = what
        self.field = field
        self.found = found
        self.known = known

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.field} {self.found} is not known to this version of faultset-ray "
            f"(known: {self.known}); install a newer one"
        )


class IncompleteShard(CodingError):
    """Raised when a shard lacks stripes that were not appended, or went with it when it was dropped."""

    code = "incomplete_shard"

    def __init__(self, what: str, have: int, need: int, first_missing: int) -> None:
        super().__init__(what, have, need, first_missing)
        self.what = what
        self.have = have
        self.need = need
        self.first_missing = first_missing

    def __str__(self) -> str:
        return (
            f"{self.what}: have {self.have} stripes, need {self.need}; "
            f"stripe {self.first_missing} was not appended (or was lost with an earlier failure)"
        )


class ShardNotFound(CodingError):
    """Raised when a store holds no such shard, or (index None) none of the write."""

    code = "shard_not_found"

    def __init__(self, store: str, write_id: str, index: int | None) -> None:
        super().__init__(store, write_id, index)
        self.store = store
        self.write_id = write_id
        self.index = index

    def __str__(self) -> str:
        which = "shard" if self.index is None else f"shard {self.index}"
        return f"store {self.store} holds no {which} of write {self.write_id}"


class DigestMismatch(CodingError):
    """Raised when reassembled bytes don't have the digest that was recorded; they are not returned.

    ``suspects`` are the shards of which one or more may be forged, as far as that is known: those of which
    copies disagree though each is sound in itself, else all that the bytes were made of.
    """

    code = "digest_mismatch"

    def __init__(self, object_name: str, expected: str, found: str, suspects: Iterable[int] = ()) -> None:
        suspects = list(suspects)
        super().__init__(object_name, expected, found, suspects)
        self.object_name = object_name
        self.expected = expected
        self.found = found
        self.suspects = suspects

    def __str__(self) -> str:
        whom = f"; one or more are forged of shards {listed(map(str, self.suspects))}" if self.suspects else ""
        return f"{self.object_name}: digest {self.found} in place of {self.expected}; nothing was returned{whom}"


class AmbiguousObjectError(CodingError):
    """Raised when shards of more than one decodable object lie in one pile."""

    code = "ambiguous_object"
    exit_code = 2

    def __init__(self, candidates: Iterable[str]) -> None:
        candidates = list(candidates)
        super().__init__(candidates)
        self.candidates = candidates

    def __str__(self) -> str:
        writes = listed(self.candidates)
        return f"shards of {len(self.candidates)} decodable writes: {writes}; name one of them (object=, --object)"
