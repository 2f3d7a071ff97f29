"""What users hand in about nodes, checked: batches of observations, ids, versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray import columns
from faultset_ray.coordinator.directory import Directory
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from faultset_ray.limits import CLOCK_AHEAD_MS_MAX


def check_batch(
    directory: Directory, handles: ArrayLike, latency_ms: ArrayLike, ok: ArrayLike | None
) -> tuple[NDArray[np.uint32], NDArray[np.float64], NDArray[np.bool_]]:
    """One batch: uint32[n] handles, float64[n] latencies and bool[n] whether each node answered."""
    given = _column("handles are", handles, "ui", "the uint32[n] of fleet.handles")
    latencies = columns.numbers("latency_ms", latency_ms)
    columns.check_lengths(handles=given, latency_ms=latencies)
    columns.check_latencies(latencies)
    nodes = len(directory.fleet)
    if given.size and not (int(given.min()) >= 0 and int(given.max()) < nodes):
        raise InputError(f"handles reach {int(given.max())}; fleet {directory.fleet.name!r} has {nodes:,} nodes")
    if ok is None:
        return given.astype(np.uint32), latencies, np.ones(len(given), np.bool_)
    answered = _column("ok is", ok, "b", "bool[n]")
    columns.check_lengths(handles=given, ok=answered)
    return given.astype(np.uint32), latencies, answered.astype(np.bool_)


def _column(name: str, values: Any, kinds: str, expected: str) -> NDArray[Any]:
    """Values of certain kinds in one dimension; of no values the kind is not asked."""
    given = _array(name, values, expected)
    if given.ndim != 1 or (given.size and given.dtype.kind not in kinds):
        raise InputError(f"{name} {given.dtype}{list(given.shape)}; expected {expected}")
    return given


def _array(name: str, values: Any, expected: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InputError(f"{name} {shown(values)}; expected {expected}") from None


def check_times(at_ms: Any, count: int, now_ms: int) -> NDArray[np.int64]:
    """When each observation of a batch was made: int64[count]; one number, or none, stands for all."""
    if at_ms is None:
        return np.full(count, now_ms, np.int64)
    given = _array("at_ms is", at_ms, "integers, the milliseconds since the epoch")
    whole = given.dtype.kind == "i" or (given.dtype.kind == "u" and not _beyond(given)) or not given.size
    if not whole or given.ndim > 1:
        raise InputError(f"at_ms is {shown(at_ms)}; expected integers, the milliseconds since the epoch")
    if given.ndim == 1 and len(given) != count:
        columns.check_lengths(handles=np.empty(count), at_ms=given)
    if given.size and int(given.min()) < 0:
        raise InputError(f"at_ms is {int(given.min())}; expected integers, the milliseconds since the epoch")
    if given.size and int(given.max()) > now_ms + CLOCK_AHEAD_MS_MAX:  # nothing later would be believed until then
        ahead = int(given.max()) - now_ms
        raise InputError(f"at_ms is {ahead:,} ms ahead of this driver's clock; check the observer's")
    return np.broadcast_to(given.astype(np.int64), count)


def _beyond(given: NDArray[Any]) -> bool:
    return bool(given.size) and int(given.max()) >= 1 << 63


def check_ids(ids: Any) -> list[str]:
    """Ids as a list; a single one may stand alone."""
    listed = [ids] if isinstance(ids, str) else list(ids) if isinstance(ids, Iterable) else [ids]
    for position, node_id in enumerate(listed):
        if not isinstance(node_id, str):
            raise InputError(f"id {position} is {shown(node_id)}; expected a str")
    return listed


def check_seconds(name: str, seconds: Any) -> float | None:
    """A number of seconds that is not negative, or None."""
    if seconds is not None and not columns.as_float(seconds) >= 0:
        raise InputError(f"{name} is {shown(seconds)}; expected a number of seconds, or None")
    return seconds if seconds is None else float(seconds)


def check_deadline(seconds: Any, name: str = "deadline_s") -> float:
    """A number of seconds above 0."""
    if not columns.as_float(seconds) > 0:
        raise InputError(f"{name} is {shown(seconds)}; expected a number of seconds above 0")
    return float(seconds)
