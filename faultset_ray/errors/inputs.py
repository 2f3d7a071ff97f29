"""What callers pass, and what can't be used of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from faultset_ray.errors.base import FaultsetError, listed, shown


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
        return f"{self.where or 'the table'} has no column {shown(self.column)}; it has {listed(self.found)}"


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
        named = "" if self.node_id is None else f" ({shown(self.node_id)})"
        place = self.where or f"node {self.index}"
        return f"{place}{named}: {self.field} is {shown(self.value)}; expected {self.expected}"


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
            f"id {shown(self.node_id)} stands at {self.first} and again at {self.second}{more}; "
            'ids must be distinct, or choose on_duplicate="keep" or "min"'
        )


class InvalidGeohashError(InputError):
    """Raised when a text is not a geohash, a number not a cell, or a precision not one of 1 to 12."""

    code = "invalid_geohash"

    def __init__(self, value: object, reason: str, what: str = "geohash") -> None:
        super().__init__(value, reason, what)
        self.value = value
        self.reason = reason
        self.what = what
        """What the value was to be: a geohash, a cell or a precision."""

    def __str__(self) -> str:
        return f"{self.what} {shown(self.value)}: {self.reason}"


class InvalidPolicy(InputError):
    """Raised when a field of a policy has a value that it can't have."""

    code = "invalid_policy"

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field = field
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"policy: {self.field} is {shown(self.value)}; expected {self.expected}"


class UnknownPolicyField(InputError):
    """Raised when a policy is given something that is no field of one."""

    code = "unknown_policy_field"

    def __init__(self, field: str, nearest: str, known: Iterable[str], where: str = "policy") -> None:
        known = list(known)
        super().__init__(field, nearest, known, where)
        self.field = field
        self.nearest = nearest
        self.known = known
        self.where = where

    def __str__(self) -> str:
        there_are = f"there are: {', '.join(self.known)}"
        return f"{self.where} has no field {shown(self.field)}; did you mean {self.nearest!r}? ({there_are})"


class InvalidConfig(InputError):
    """Raised when a setting has a value that it can't have, or there is no such setting, or a file has none."""

    code = "invalid_config"

    def __init__(self, where: str, key: str, reason: str, nearest: str = "") -> None:
        super().__init__(where, key, reason, nearest)
        self.where = where
        """A file, with the line where it is known; a variable; a flag. Empty for an argument of a constructor."""
        self.key = key
        """The setting, as in ``codes.put``. Empty where a file as a whole can't be used."""
        self.reason = reason
        self.nearest = nearest
        """Of an unknown setting: the one that was probably meant."""

    def __str__(self) -> str:
        meant = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.where or 'config'}: {' '.join(filter(None, (self.key, self.reason)))}{meant}"


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
        value = f"{self.value:,}" if self.value < 1 << 100 else shown(self.value)
        return f"{self.what} is {value}; the limit is {self.limit:,}"


class UnknownFleet(InputError):
    """Raised when a fleet is asked about that was never registered."""

    code = "unknown_fleet"

    def __init__(self, fleet: str, known: Iterable[str] = ()) -> None:
        known = list(known)
        super().__init__(fleet, known)
        self.fleet = fleet
        self.known = known

    def __str__(self) -> str:
        return (
            f"no fleet {shown(self.fleet)} is registered (there are: {listed(self.known)}); call driver.register first"
        )


class UnknownSystem(InputError):
    """Raised when a system is asked for that was never made, and is not to be made now."""

    code = "unknown_system"

    def __init__(self, system: str, known: Iterable[str] = ()) -> None:
        known = list(known)
        super().__init__(system, known)
        self.system = system
        self.known = known

    def __str__(self) -> str:
        return f"there is no system {shown(self.system)} (there are: {listed(self.known)}); register makes one"


class UnknownNode(InputError):
    """Raised when a fleet has no node of an id."""

    code = "unknown_node"

    def __init__(self, node_id: str, fleet: str, unknown: int) -> None:
        super().__init__(node_id, fleet, unknown)
        self.node_id = node_id
        self.fleet = fleet
        self.unknown = unknown
        """How many of the ids that were given are unknown."""

    def __str__(self) -> str:
        more = f", nor {self.unknown - 1:,} more of these ids" if self.unknown > 1 else ""
        return f"fleet {shown(self.fleet)} has no node {shown(self.node_id)}{more}"


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
            f"({listed(f'{region}: {count}' for region, count in self.by_region.items())})"
        )
