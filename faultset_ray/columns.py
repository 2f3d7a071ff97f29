"""Values of any origin into checked numpy columns.

Each function takes one column and raises :class:`~faultset_ray.errors.InvalidNodeError` at the first
value that can't stand in it. An array over memory that someone may write to is copied; one over
read-only memory (from Ray's object store, say) is shared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import (
    InputError,
    InvalidGeohashError,
    InvalidNodeError,
    LengthMismatchError,
    NegativeThresholdError,
)
from faultset_ray.errors.base import shown
from faultset_ray.limits import GEOHASH_PRECISION_MAX, NAME_CHARACTERS_MAX

Floats = NDArray[np.float64]
Strings = NDArray[np.object_]

_BOUNDS = {"lat": 90.0, "lon": 180.0}
"""Degrees to either side of zero."""


def numbers(field: str, values: Any, ids: Sequence[str] | Strings | None = None) -> Floats:
    """Make one column of numbers.

    Parameters
    ----------
    field : str
        Name of the column, for errors. In ``latency_ms`` None means "no measurement" and becomes NaN.
    values : array or sequence of int or float, length n
        Booleans, strings and other objects are refused. An array of contiguous float64 is not copied.
    ids : sequence of str, optional
        Names the node in errors.

    Returns
    -------
    float64[n]
    """
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise InputError(f"{field} has shape {values.shape}; expected one dimension")
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise InputError(f"{field} is {shown(values)}; expected an array or a sequence of numbers")
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return np.ascontiguousarray(values, np.float64)
    listed = list(values)  # numpy's scalars stay what they are, so that a boolean is told from a number
    if set(map(type, listed)) <= {float, int}:
        with suppress(OverflowError):  # an int past the range of float64: the loop below finds which
            return np.array(listed, np.float64)
    column = np.empty(len(listed), np.float64)
    for index, value in enumerate(listed):
        column[index] = _number(index, field, value, ids)
    return column


def _number(index: int, field: str, value: Any, ids: Sequence[str] | Strings | None) -> float:
    if field == "latency_ms" and (value is None or type(value).__name__ == "NAType"):  # as pandas calls it
        return math.nan
    if is_number(value):
        with suppress(OverflowError):
            return float(value)
    raise InvalidNodeError(index, _id_at(ids, index), field, value, "a number")


def is_number(value: Any) -> bool:
    """Tell whether a value is a real number; booleans are not."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.timedelta64))


def as_float(value: Any) -> float:
    """Return a number as a float; NaN for what is no number, or has no place in float64."""
    with suppress(OverflowError):
        return float(value) if is_number(value) else math.nan
    return math.nan


def identifiers(values: Any) -> Strings:
    """Make the id column: object[n] of non-empty ``str``. Distinctness is not checked here."""
    if hasattr(values, "to_list"):
        values = values.to_list()
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if set(map(type, listed)) - {str}:
        for index, value in enumerate(listed):
            if not isinstance(value, str):
                raise InvalidNodeError(index, None, "id", value, "a string")
        listed = list(map(str, listed))
    if "" in listed:
        raise InvalidNodeError(listed.index(""), None, "id", "", "a string that is not empty")
    return objects(listed)


def check_text(ids: Strings) -> None:
    """Raise at the first id that has no form in UTF-8: it has a lone surrogate."""
    for index, node_id in enumerate(ids.tolist()):
        try:
            node_id.encode()
        except UnicodeEncodeError:
            raise InvalidNodeError(index, None, "id", node_id, "a text that UTF-8 has a form for") from None


def objects(listed: Sequence[str] | NDArray[Any]) -> Strings:
    """Make an object array of the strings themselves."""
    if isinstance(listed, np.ndarray):
        return listed.astype(np.object_, copy=False)
    return np.fromiter(listed, np.object_, len(listed))


def check_coordinates(lat: Floats, lon: Floats, ids: Sequence[str] | Strings | None = None) -> None:
    """Raise at the first node whose coordinates are NaN, infinite or out of range."""
    valid = (np.abs(lat) <= _BOUNDS["lat"]) & (np.abs(lon) <= _BOUNDS["lon"])  # NaN compares false
    if not valid.all():
        index = int(np.argmin(valid))
        check_coordinate("lat", float(lat[index]), index, ids)
        check_coordinate("lon", float(lon[index]), index, ids)


def check_coordinate(field: str, value: Any, index: int = 0, ids: Sequence[str] | Strings | None = None) -> None:
    """Raise unless ``value`` is a number of degrees in the range of ``lat`` or ``lon``."""
    bound = _BOUNDS[field]
    if not is_number(value) or not abs(value) <= bound:
        raise InvalidNodeError(index, _id_at(ids, index), field, value, f"degrees from {-bound:g} to {bound:g}")


def check_latencies(latency_ms: Floats, ids: Sequence[str] | Strings | None = None) -> None:
    """Raise at the first negative latency. NaN is legal: no measurement."""
    negative = latency_ms < 0.0
    if negative.any():
        index = int(np.argmax(negative))
        raise InvalidNodeError(
            index, _id_at(ids, index), "latency_ms", float(latency_ms[index]), "milliseconds, 0 or more, or NaN"
        )


def check_name(what: str, name: Any) -> str:
    """Return a name: a text that is not empty, not too long, and can be written as UTF-8."""
    if isinstance(name, str) and 0 < len(name) <= NAME_CHARACTERS_MAX:
        with suppress(UnicodeEncodeError):
            name.encode()
            return name
    raise InputError(f"{what} is {shown(name)}; expected a name of 1 to {NAME_CHARACTERS_MAX} characters")


def check_flag(what: str, value: Any) -> bool:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise InputError(f"{what} is {shown(value)}; expected True or False")
    return value


def check_lengths(**columns: Any) -> None:
    """Raise unless all columns are of one length."""
    lengths = {name: length(name, column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise LengthMismatchError(lengths)


def length(name: str, column: Any) -> int:
    """Return how many values a column has; a text, or what has no length, is no column."""
    if not isinstance(column, str):
        with suppress(TypeError):  # an array of no dimension has __len__ too
            return len(column)
    raise InputError(f"{name} is {shown(column)}; expected an array or a sequence of values")


def check_threshold(threshold_ms: Any) -> float:
    """Return the threshold as a float; 0 and infinity are legal, NaN and negative ones are not."""
    if not is_number(threshold_ms):
        raise InputError(f"threshold is {shown(threshold_ms)}; expected a number of milliseconds")
    try:
        limit = float(threshold_ms)
    except OverflowError:
        limit = math.inf if threshold_ms > 0 else -math.inf
    if not limit >= 0:
        raise NegativeThresholdError(limit)
    if math.isinf(limit) and threshold_ms != limit:
        raise InputError("threshold is finite but past the range of float64; infinity keeps every measured node")
    return limit


def check_threads(threads: Any) -> int:
    """Return a number of threads as an int of 1 or more."""
    if not is_integer(threads) or threads < 1:
        raise InputError(f"threads is {threads!r}; expected an integer of 1 or more")
    return int(threads)


def check_precision(precision: Any) -> int:
    """Return the geohash precision as an int of 1 to 12."""
    if not is_integer(precision) or not 1 <= precision <= GEOHASH_PRECISION_MAX:
        raise InvalidGeohashError(precision, f"a precision is an integer of 1 to {GEOHASH_PRECISION_MAX}", "precision")
    return int(precision)


def is_integer(value: Any) -> bool:
    """Tell whether a value is a whole number; booleans are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))


def is_int(value: object) -> TypeGuard[int]:
    """Tell whether a value is an int of Python's, which files and messages hold as it is; booleans are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def as_int(value: Any) -> Any:
    """An integer of numpy's as one of Python's; anything else as it is, for :func:`is_int` to judge."""
    return int(value) if is_integer(value) else value


def frozen(column: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only contiguous column: a copy if someone could still write to its memory."""
    if not column.flags.c_contiguous or _may_be_written(column):
        column = column.copy()
        column.flags.writeable = False
    return column


def _may_be_written(owner: Any) -> bool:
    """Whether an array, or what it is a view of, lets anyone write; an owner that is no buffer might."""
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return True
        if owner.base is None:
            return False
        owner = owner.base
    try:
        exporter = memoryview(owner).obj  # a read-only memoryview may be one of a writable buffer
        return _may_be_written(exporter) if isinstance(exporter, np.ndarray) else not memoryview(exporter).readonly
    except (TypeError, ValueError):
        return True


def _id_at(ids: Sequence[str] | Strings | None, index: int) -> str | None:
    return None if ids is None else str(ids[index])
