"""Every error of faultset-ray, one tree::

    FaultsetError
    ├── InputError (ValueError)              exit 2
    │   ├── EmptyNodesError
    │   ├── LengthMismatchError
    │   ├── MissingColumnError
    │   ├── NegativeThresholdError
    │   ├── InvalidNodeError
    │   ├── DuplicateIdError
    │   ├── InvalidGeohashError
    │   ├── InvalidCodeSpec
    │   ├── LimitExceeded
    │   ├── UnknownFleet
    │   └── UnsupportedOperation
    ├── NoSurvivorsError (ValueError)        exit 1
    ├── CodingError (ValueError)             exit 3
    │   ├── NotEnoughShards
    │   ├── ShardSizeError
    │   ├── InvalidShardIndex
    │   ├── CorruptShard
    │   ├── UnsupportedFormat
    │   ├── IncompleteShard
    │   ├── ShardNotFound
    │   ├── DigestMismatch
    │   └── AmbiguousObjectError
    └── ClusterError (RuntimeError)          exit 5
        ├── AuthError
        ├── ClusterUnreachable
        ├── PlaceUnreachable
        ├── StoresLost
        ├── CallTimeout
        ├── RegionTimeout
        ├── NotEnoughPlaces
        ├── StoreFailure
        ├── VersionSkew
        ├── StaleEpoch
        ├── CoordinatorUnavailable
        ├── BackendClosed
        └── RemoteFailure

Each class has a stable :attr:`~FaultsetError.code`, the process exit code that a command ends with,
and its numbers as attributes. Constructors pass all their arguments on positionally and the message
is made in ``__str__``, so that an error arrives through Ray (or any pickle) as its own class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

_LISTED_MAX = 8


def _listed(items: Iterable[object]) -> str:
    """``2, 5 and 9``; a long list is cut, and says by how much."""
    texts = [str(item) for item in items]
    if not texts:
        return "none"
    if len(texts) > _LISTED_MAX:
        return f"{', '.join(texts[:_LISTED_MAX])} and {len(texts) - _LISTED_MAX} more"
    if len(texts) == 1:
        return texts[0]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


class FaultsetError(Exception):
    """Raised as the base of every error that faultset-ray raises on purpose."""

    code: ClassVar[str] = "faultset_error"
    """Stable identifier: log it, match on it, never on the text."""
    exit_code: ClassVar[int] = 70
    """What a command that ends with this error exits with."""

    def fields(self) -> dict[str, Any]:
        """The error's numbers by name, for logs and JSON."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class InputError(FaultsetError, ValueError):
    """Raised when what the caller passed can't be used; nothing was changed."""

    code = "input_error"
    exit_code = 2


class EmptyNodesError(InputError):
    """Raised when there is not one node to decide about."""

    code = "empty_nodes"

    def __str__(self) -> str:
        return "nodes list is empty"


class LengthMismatchError(InputError):
    """Raised when columns that belong together differ in length."""

    code = "length_mismatch"

    def __init__(self, lengths: Mapping[str, int]) -> None:
        super().__init__(lengths)
        self.lengths = dict(lengths)

    def __str__(self) -> str:
        found = ", ".join(f"{name} has {length}" for name, length in self.lengths.items())
        return f"columns differ in length: {found}; pass one value of each for every node"


class MissingColumnError(InputError):
    """Raised when a table of nodes lacks a column that every node needs."""

    code = "missing_column"

    def __init__(self, column: str, found: Iterable[str], where: str = "") -> None:
        found = list(found)
        super().__init__(column, found, where)
        self.column = column
        self.found = found
        self.where = where

    def __str__(self) -> str:
        return f"{self.where or 'the table'} has no column {self.column!r}; it has {_listed(self.found)}"


class NegativeThresholdError(InputError):
    """Raised when a latency threshold is negative or NaN."""

    code = "negative_threshold"

    def __init__(self, threshold: float) -> None:
        super().__init__(threshold)
        self.threshold = threshold

    def __str__(self) -> str:
        return f"threshold is {self.threshold} ms; it must be 0 or more (infinity keeps every measured node)"


class InvalidNodeError(InputError):
    """Raised when one node has a value that no node can have."""

    code = "invalid_node"

    def __init__(
        self, index: int, node_id: str | None, field: str, value: object, expected: str, where: str = ""
    ) -> None:
        super().__init__(index, node_id, field, value, expected, where)
        self.index = index
        self.node_id = node_id
        self.field = field
        self.value = value
        self.expected = expected
        self.where = where
        """Where the caller will find the node, if not by its index: a file and its line."""

    def at(self, where: str) -> InvalidNodeError:
        """Return the same error, located by ``where``."""
        return InvalidNodeError(self.index, self.node_id, self.field, self.value, self.expected, where)

    def __str__(self) -> str:
        named = "" if self.node_id is None else f" ({self.node_id!r})"
        place = self.where or f"node {self.index}"
        return f"{place}{named}: {self.field} is {self.value!r}; expected {self.expected}"


class DuplicateIdError(InputError):
    """Raised when ids that must be distinct repeat."""

    code = "duplicate_id"

    def __init__(self, node_id: str, first: int, second: int, count: int = 1) -> None:
        super().__init__(node_id, first, second, count)
        self.node_id = node_id
        self.first = first
        self.second = second
        self.count = count

    def __str__(self) -> str:
        more = "" if self.count <= 1 else f" (and {self.count - 1} more repeated ids)"
        return (
            f"id {self.node_id!r} stands at {self.first} and again at {self.second}{more}; "
            'ids must be distinct, or choose on_duplicate="keep" or "min"'
        )


class InvalidGeohashError(InputError):
    """Raised when a text is not a geohash, or a precision not one of 1 to 12."""

    code = "invalid_geohash"

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(value, reason)
        self.value = value
        self.reason = reason

    def __str__(self) -> str:
        return f"geohash {self.value!r}: {self.reason}"


class InvalidCodeSpec(InputError):
    """Raised when a code's specification (``rs:10+4``) can't be understood or built."""

    code = "invalid_code_spec"

    def __init__(self, spec: str, reason: str) -> None:
        super().__init__(spec, reason)
        self.spec = spec
        self.reason = reason

    def __str__(self) -> str:
        return f"code {self.spec!r}: {self.reason}"


class LimitExceeded(InputError):
    """Raised when a value is past a bound of :mod:`faultset_ray.limits`."""

    code = "limit_exceeded"

    def __init__(self, what: str, value: int, limit: int) -> None:
        super().__init__(what, value, limit)
        self.what = what
        self.value = value
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.what} is {self.value:,}; the limit is {self.limit:,}"


class UnknownFleet(InputError):
    """Raised when a fleet is asked about that was never registered."""

    code = "unknown_fleet"

    def __init__(self, fleet: str, known: Iterable[str] = ()) -> None:
        known = list(known)
        super().__init__(fleet, known)
        self.fleet = fleet
        self.known = known

    def __str__(self) -> str:
        return f"no fleet {self.fleet!r} is registered (there are: {_listed(self.known)}); call driver.register first"


class UnsupportedOperation(InputError):
    """Raised when a code can't do what was asked of it by construction."""

    code = "unsupported_operation"

    def __init__(self, spec: str, operation: str, reason: str = "") -> None:
        super().__init__(spec, operation, reason)
        self.spec = spec
        self.operation = operation
        self.reason = reason

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"code {self.spec!r} does not support {self.operation}{why}"


class NoSurvivorsError(FaultsetError, ValueError):
    """Raised when every region was asked and not one node of any survived."""

    code = "no_survivors"
    exit_code = 1

    def __init__(self, threshold: float, by_region: Mapping[str, int]) -> None:
        super().__init__(threshold, by_region)
        self.threshold = threshold
        self.by_region = dict(by_region)
        """Nodes looked at, per region."""

    def __str__(self) -> str:
        return (
            f"all clusters yielded no survivors: threshold {self.threshold} ms, "
            f"{sum(self.by_region.values())} nodes in {len(self.by_region)} regions "
            f"({_listed(f'{region}: {count}' for region, count in self.by_region.items())})"
        )


class CodingError(FaultsetError, ValueError):
    """Raised when shards can't be made into data, or data into shards."""

    code = "coding_error"
    exit_code = 3


class NotEnoughShards(CodingError):
    """Raised when fewer shards are usable than decoding needs."""

    code = "not_enough_shards"

    def __init__(self, have: int, need: int, missing: Mapping[int, str], object_name: str = "") -> None:
        super().__init__(have, need, missing, object_name)
        self.have = have
        self.need = need
        self.missing = dict(missing)
        """Why each unusable shard is unusable, by index: missing, unreachable, corrupt, stale, …"""
        self.object_name = object_name

    def __str__(self) -> str:
        subject = f"{self.object_name}: " if self.object_name else ""
        reasons: dict[str, list[int]] = {}
        for index in sorted(self.missing):
            reasons.setdefault(self.missing[index], []).append(index)
        why = "; ".join(f"{_listed(indices)}: {reason}" for reason, indices in reasons.items())
        return f"{subject}have {self.have} shards, need {self.need}" + (f"; missing {why}" if why else "")


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
            found = _listed(f"{index}: {size}" for index, size in self.sizes.items())
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
    """Raised when a store holds no such shard."""

    code = "shard_not_found"

    def __init__(self, store: str, write_id: str, index: int) -> None:
        super().__init__(store, write_id, index)
        self.store = store
        self.write_id = write_id
        self.index = index

    def __str__(self) -> str:
        return f"store {self.store} holds no shard {self.index} of write {self.write_id}"


class DigestMismatch(CodingError):
    """Raised when reassembled bytes don't have the digest that was recorded; they are not returned."""

    code = "digest_mismatch"

    def __init__(self, object_name: str, expected: str, found: str) -> None:
        super().__init__(object_name, expected, found)
        self.object_name = object_name
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"{self.object_name}: digest {self.found} in place of {self.expected}; nothing was returned"


class AmbiguousObjectError(CodingError):
    """Raised when shards of more than one decodable object lie in one pile."""

    code = "ambiguous_object"
    exit_code = 2

    def __init__(self, candidates: Iterable[str]) -> None:
        candidates = list(candidates)
        super().__init__(candidates)
        self.candidates = candidates

    def __str__(self) -> str:
        return (
            f"shards of {len(self.candidates)} decodable writes ({_listed(self.candidates)}); name one or separate them"
        )


class ClusterError(FaultsetError, RuntimeError):
    """Raised when the cluster, or a part of it, did not do what was asked."""

    code = "cluster_error"
    exit_code = 5


class AuthError(ClusterError):
    """Raised when the Ray cluster refuses this client's token, or it has none."""

    code = "auth"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"Ray cluster at {self.address} refused this client: {self.reason}; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN) to the token that the cluster was started with"
        )


class ClusterUnreachable(ClusterError):
    """Raised when no Ray cluster answers at an address."""

    code = "cluster_unreachable"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"no Ray cluster answers at {self.address}: {self.reason}"


class PlaceUnreachable(ClusterError):
    """Raised when a servant can't be called: it, its process or its place is gone."""

    code = "place_unreachable"

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.target} is unreachable: {self.reason}"


class StoresLost(ClusterError):
    """Raised when stores failed while an object was written to them; nothing of it was acknowledged."""

    code = "stores_lost"

    def __init__(self, failed: Mapping[str, str]) -> None:
        super().__init__(failed)
        self.failed = dict(failed)
        """Why, by the store's UUID."""

    def __str__(self) -> str:
        return "stores failed during a write: " + "; ".join(f"{uuid}: {why}" for uuid, why in self.failed.items())


class CallTimeout(ClusterError):
    """Raised when a call did not answer within its deadline; it may still take effect."""

    code = "call_timeout"

    def __init__(self, target: str, method: str, seconds: float) -> None:
        super().__init__(target, method, seconds)
        self.target = target
        self.method = method
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.target}.{self.method} did not answer within {self.seconds:g} s"


class RegionTimeout(ClusterError):
    """Raised when regions did not answer and the caller asked for a whole answer."""

    code = "region_timeout"

    def __init__(self, missing: Iterable[str], regions: int, seconds: float) -> None:
        missing = list(missing)
        super().__init__(missing, regions, seconds)
        self.missing = missing
        self.regions = regions
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"{len(self.missing)} of {self.regions} regions did not answer within {self.seconds:g} s: "
            f"{_listed(self.missing)}"
        )


class NotEnoughPlaces(ClusterError):
    """Raised when fewer places can hold shards than was asked for."""

    code = "not_enough_places"

    def __init__(self, have: int, need: int, reason: str) -> None:
        super().__init__(have, need, reason)
        self.have = have
        self.need = need
        self.reason = reason

    def __str__(self) -> str:
        return f"have {self.have} places, need {self.need}: {self.reason}"


class StoreFailure(ClusterError):
    """Raised when a store's disk refused an operation; the shard in hand was dropped whole."""

    code = "store_failure"

    def __init__(self, store: str, operation: str, errno_name: str) -> None:
        super().__init__(store, operation, errno_name)
        self.store = store
        self.operation = operation
        self.errno_name = errno_name

    def __str__(self) -> str:
        return f"store {self.store} failed to {self.operation}: {self.errno_name}"


class VersionSkew(ClusterError):
    """Raised when the code on the other side is of another version."""

    code = "version_skew"

    def __init__(self, target: str, theirs: str, ours: str) -> None:
        super().__init__(target, theirs, ours)
        self.target = target
        self.theirs = theirs
        self.ours = ours

    def __str__(self) -> str:
        return (
            f"{self.target} runs faultset-ray {self.theirs}, this driver {self.ours}; install one version "
            "everywhere, or shut the system down and start it anew"
        )


class StaleEpoch(ClusterError):
    """Raised when a servant that was replaced is called, or calls."""

    code = "stale_epoch"

    def __init__(self, target: str, theirs: int, ours: int) -> None:
        super().__init__(target, theirs, ours)
        self.target = target
        self.theirs = theirs
        self.ours = ours

    def __str__(self) -> str:
        return f"{self.target} is of epoch {self.theirs}, the current epoch is {self.ours}"


class CoordinatorUnavailable(ClusterError):
    """Raised when a system's coordinator can't be reached."""

    code = "coordinator_unavailable"

    def __init__(self, system: str, reason: str) -> None:
        super().__init__(system, reason)
        self.system = system
        self.reason = reason

    def __str__(self) -> str:
        return f"the coordinator of system {self.system!r} is unavailable: {self.reason}"


class BackendClosed(ClusterError):
    """Raised when a closed driver or backend is used."""

    code = "closed"

    def __str__(self) -> str:
        return "this driver is closed; connect again"


class RemoteFailure(ClusterError):
    """Raised when code on the other side failed with an error that is not ours."""

    code = "remote_failure"
    exit_code = 70

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.target} failed: {self.reason}"
