"""What counts as bad, for how long, and how much may be ejected: one value, written as TOML or JSON."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from os import PathLike
from typing import Any, Literal, NamedTuple, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.errors import InputError, InvalidPolicy, UnknownPolicyField
from faultset_ray.errors.base import shown
from faultset_ray.limits import (
    HOLD_SECONDS_MAX,
    LATENCY_MS_MAX,
    SAMPLES_WINDOW_MAX,
    SKETCH_MS_MAX,
    SKETCH_MS_MIN,
)
from faultset_ray.plain import check_path, distinct, finite, infinite

Count = TypeVar("Count", int, NDArray[np.int64])

Statistic = Literal["last", "ewma", "peak", "p95"]
Fallback = Literal["none", "neighbours", "parent", "nearest", "everywhere"]
Panic = Literal["none", "all"]

STATISTICS: tuple[str, ...] = get_args(Statistic)
FALLBACKS: tuple[str, ...] = get_args(Fallback)
"""The ladder's rungs, in order; a policy's fallback is the last one it may use."""
PANICS: tuple[str, ...] = get_args(Panic)
_KEY_SHOWN, _WHY_SHOWN = 60, 200
SHARE_DENOMINATOR_MAX = 1_000_000_000
"""A share is taken as the nearest fraction with at most this denominator, so that a cap of 1/3 or 0.29 is exact; times
nodes, its numerator stays within 63 bits."""


class Rules(NamedTuple):
    """A policy in the scalars that kernels take; unpacked before it goes to one."""

    statistic: int
    """Index into :data:`STATISTICS`."""
    threshold_ms: float
    recover_ms: float
    bad: int
    window_mask: int
    """One bit for each sample of the window."""
    good: int
    hold_min_ms: int
    hold_max_ms: int
    ttl_ms: int
    """-1: no sample grows stale."""
    half_life_ms: int
    eject_numerator: int
    eject_denominator: int

    def cap(self, nodes: Count) -> Count:
        """How many of a region's nodes may be out at once; of int64[g], for each of g regions."""
        return nodes * self.eject_numerator // self.eject_denominator


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a node is ejected and re-admitted, and what a region does that has too few survivors.

    ``Policy()`` is the plain rule of ``failover`` at 100 ms: the last latency decides, at once.

    Attributes
    ----------
    statistic : {"last", "ewma", "peak", "p95"}
        What of a node's latencies is compared: the last one; their exponentially weighted mean; their
        decaying maximum; their 95th percentile (from a sketch, within 11.2 %).
    threshold_ms : float
        A sample is bad if it failed, or if with it the statistic is above this.
    recover_ms : float, optional
        A sample of an ejected node is good if with it the statistic is at most this; by default, and at
        most, ``threshold_ms``.
    samples : (bad, window, good)
        A node is ejected at a bad sample that makes it ``bad`` of its last ``window`` ≤ 32, or more, and
        re-admitted after ``good`` good ones in a row.
    hold_s : (min, max)
        Seconds an ejected node stays out at least: ``min``, doubled with each further ejection, at most
        ``max``. For each ``max`` that it then spends healthy, one ejection is forgotten.
    ttl_s : float, optional
        A node without a sample for longer is unknown. One that was out then comes back through probation.
    half_life_s : float
        In which a latency's weight in ewma, peak and p95 halves; for p95, 20 to 30 intervals of measuring. For so long
        all nodes of a region that has none to spare must survive before it is no longer short.
    eject_max : float
        Share of a region's nodes (drained and pinned ones aside) that may be out at once, the one to be
        ejected included: at most floor(share · nodes), so 0.5 ejects none of one node and one of two or
        three. The float is taken as the nearest fraction with a denominator up to 10⁹, so 1/3 and 0.29 are
        exact. Failed nodes count like slow ones. Where more are out, since nodes left or this was lowered, the
        best of them are taken back.
    survivors_min : int
        How many survivors a region needs; below that, ``fallback`` and ``panic`` come in.
    fallback : {"none", "neighbours", "parent", "nearest", "everywhere"}
        How far away survivors may be borrowed from, rung after rung.
    panic : {"none", "all"}
        With "all", a region still short of its need answers with all its nodes that are not drained, if all regions
        that it might borrow from answered.
    freeze_at : float, optional
        Share of the ranges that must degrade at once for ejections to be frozen, and those since then to
        be taken back: it is more likely that the observer failed than most of a fleet.

    Raises
    ------
    TypeError
        For a field that there is not, as any call in Python does; :meth:`of` takes a mapping, and names the nearest.
    InvalidPolicy
        If a value can't be used; the message names the field and what is expected of it.
    """

    statistic: Statistic = "last"
    threshold_ms: float = 100.0
    recover_ms: float | None = None
    samples: tuple[int, int, int] = (1, 1, 1)
    hold_s: tuple[float, float] = (0.0, 0.0)
    ttl_s: float | None = None
    half_life_s: float = 10.0
    eject_max: float = 1.0
    survivors_min: int = 0
    fallback: Fallback = "none"
    panic: Panic = "none"
    freeze_at: float | None = None

    def __post_init__(self) -> None:
        for field, checked in _checked(self).items():
            object.__setattr__(self, field, checked)

    @property
    def rules(self) -> Rules:
        """The scalars for :mod:`faultset_ray.control.health`; times are whole milliseconds."""
        bad, window, good = self.samples
        share = _exact(self.eject_max)
        return Rules(
            STATISTICS.index(self.statistic),
            self.threshold_ms,
            self.threshold_ms if self.recover_ms is None else self.recover_ms,
            bad,
            (1 << window) - 1,
            good,
            round(1000 * self.hold_s[0]),
            round(1000 * self.hold_s[1]),
            -1 if self.ttl_s is None else round(1000 * self.ttl_s),
            max(1, round(1000 * self.half_life_s)),
            share.numerator,
            share.denominator,
        )

    @classmethod
    def of(cls, given: Mapping[str, Any], where: str = "policy") -> Self:
        """Make a policy from a mapping of its fields; lists do for tuples.

        Raises
        ------
        UnknownPolicyField
            If a key is no field; the nearest one is named.
        InvalidPolicy
            If a value can't be used.
        """
        if not isinstance(given, Mapping):
            raise InputError(f"{where} is {shown(given)}; expected a mapping of the policy's fields")
        known = [field.name for field in fields(cls)]
        for key, value in given.items():
            if key not in known:
                name = shown(key) if not isinstance(key, str) else key[:_KEY_SHOWN]
                if isinstance(value, Mapping) or (
                    isinstance(value, list) and any(isinstance(v, Mapping) for v in value)
                ):
                    raise InputError(f"{where}: {name!r} is a table; the fields of a policy stand at the top, in none")
                nearest = difflib.get_close_matches(name, known, 1, 0.0)[0]
                raise UnknownPolicyField(name, nearest, known, where)
        return cls(**given)

    @classmethod
    def from_toml(cls, text: str, where: str = "policy") -> Self:
        """Read what :meth:`to_toml` writes; a field that is left out has its default."""
        try:
            given = tomllib.loads(_text(text, where))
        except (ValueError, RecursionError) as error:
            raise _refused(error, where, "TOML") from None
        return cls.of(given, where)

    @classmethod
    def from_json(cls, text: str, where: str = "policy") -> Self:
        """Read what :meth:`to_json` writes; a field that is left out has its default."""
        try:
            given = json.loads(_text(text, where), object_pairs_hook=distinct)
        except (ValueError, RecursionError) as error:
            raise _refused(error, where, "JSON") from None
        if not isinstance(given, dict):
            raise InputError(f"{where} is {type(given).__name__}; expected a JSON object of the policy's fields")
        return cls.of({key: infinite(value) for key, value in given.items()}, where)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a ``.toml`` or ``.json`` file.

        Raises
        ------
        OSError
            If the file can't be read.
        InputError
            If it has another suffix, is no text of that format, or no policy.
        """
        path = check_path("a policy is read from", path, ".toml or .json")
        readers = {".toml": cls.from_toml, ".json": cls.from_json}
        if path.suffix not in readers:
            raise InputError(f"{path} has the suffix {path.suffix!r}; a policy is a .toml or .json file")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8: {error}") from None
        return readers[path.suffix](text, str(path))

    def to_toml(self) -> str:
        """All fields, one a line; one that is None is left out, since TOML has no null."""
        lines = []
        for name, value in self._items():
            if value is not None:
                lines.append(f"{name} = {json.dumps(value) if value != math.inf else 'inf'}\n")
        return "".join(lines)

    def to_json(self) -> str:
        """All fields as one JSON object; an infinite threshold is the string ``"inf"``."""
        return json.dumps({name: finite(value) for name, value in self._items()}, indent=2)

    def _items(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def _exact(share: float) -> Fraction:
    """Return the fraction that a share stands for; one below 1 never becomes 1, which would eject the last node."""
    nearest = Fraction(share).limit_denominator(SHARE_DENOMINATOR_MAX)
    return min(nearest, 1 - Fraction(1, SHARE_DENOMINATOR_MAX)) if share < 1 else nearest


def _text(text: Any, where: str) -> str:
    """A text, without the mark that some editors put before it."""
    if not isinstance(text, str):
        raise InputError(f"{where} is {shown(text)}; expected a str")
    return text.removeprefix("\ufeff")


def _refused(error: Exception, where: str, language: str) -> InputError:
    if isinstance(error, InputError):
        return InputError(f"{where}: {error}")
    why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:_WHY_SHOWN]
    return InputError(f"{where} is not {language}: {why}")


def _checked(policy: Policy) -> dict[str, Any]:
    """Every field as its own type."""
    statistic = _choice(policy, "statistic", STATISTICS)
    threshold_max = math.inf if statistic == "last" else LATENCY_MS_MAX
    threshold_min = 0.0
    if statistic == "p95":
        threshold_min, threshold_max = SKETCH_MS_MIN, SKETCH_MS_MAX
    threshold = _number(policy, "threshold_ms", threshold_min, threshold_max)
    half_life_s = _number(policy, "half_life_s", 0.001, HOLD_SECONDS_MAX)
    return {
        "threshold_ms": threshold,
        "recover_ms": _optional(policy, "recover_ms", threshold_min, threshold),
        "samples": _samples(policy.samples),
        "hold_s": _hold(policy.hold_s),
        "ttl_s": _optional(policy, "ttl_s", 0.001, HOLD_SECONDS_MAX),
        "half_life_s": half_life_s,
        "eject_max": _number(policy, "eject_max", 0.0, 1.0),
        "survivors_min": _whole("survivors_min", policy.survivors_min, policy.survivors_min, 0, 1 << 32),
        "fallback": _choice(policy, "fallback", FALLBACKS),
        "panic": _choice(policy, "panic", PANICS),
        "freeze_at": _optional(policy, "freeze_at", 0.01, 1.0),
    }


def _choice(policy: Policy, field: str, choices: tuple[str, ...]) -> str:
    value = getattr(policy, field)
    if not isinstance(value, str) or value not in choices:
        raise InvalidPolicy(field, value, f"one of {', '.join(map(repr, choices))}")
    return value


def _optional(policy: Policy, field: str, low: float, high: float) -> float | None:
    return None if getattr(policy, field) is None else _number(policy, field, low, high)


def _number(policy: Policy, field: str, low: float, high: float) -> float:
    return _within(field, getattr(policy, field), getattr(policy, field), low, high)


def _within(field: str, whole: object, value: Any, low: float, high: float) -> float:
    """Check a number that is a field, or stands in the field ``whole``."""
    number = columns.as_float(value)
    if not low <= number <= high:
        raise InvalidPolicy(field, whole, f"a number from {low:g} to {high:g}")
    return number


def _whole(field: str, whole: object, value: Any, low: int, high: int) -> int:
    if not columns.is_integer(value) or not low <= value <= high:
        raise InvalidPolicy(field, whole, f"an integer from {low} to {high}")
    return int(value)


def _samples(given: Any) -> tuple[int, int, int]:
    expected = f"(bad, window, good) with 1 ≤ bad ≤ window ≤ {SAMPLES_WINDOW_MAX} and 1 ≤ good ≤ {0xFFFF}"
    if not isinstance(given, (tuple, list)) or len(given) != 3 or not all(map(columns.is_integer, given)):
        raise InvalidPolicy("samples", given, expected)
    bad, window, good = map(int, given)
    if not 1 <= bad <= window <= SAMPLES_WINDOW_MAX or not 1 <= good <= 0xFFFF:
        raise InvalidPolicy("samples", given, expected)
    return bad, window, good


def _hold(given: Any) -> tuple[float, float]:
    expected = f"(min, max) in seconds with 0 ≤ min ≤ max ≤ {HOLD_SECONDS_MAX:g}"
    if not isinstance(given, (tuple, list)) or len(given) != 2 or not all(map(columns.is_number, given)):
        raise InvalidPolicy("hold_s", given, expected)
    low, high = map(columns.as_float, given)
    if not 0 <= low <= high <= HOLD_SECONDS_MAX:
        raise InvalidPolicy("hold_s", given, expected)
    return low, high
