"""What users hand in about nodes, checked: batches of observations, ids, versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray import columns
from faultset_ray.coordinator.directory import Directory
from faultset_ray.errors import InputError
from faultset_ray.limits import CLOCK_AHEAD_MS_MAX


def check_batch(
    directory: Directory, handles: ArrayLike, latency_ms: ArrayLike, ok: ArrayLike | None
) -> tuple[NDArray[np.uint32], NDArray[np.float64], NDArray[np.bool_]]:
    """One batch: uint32[n] handles, float64[n] latencies and bool[n] whether each node answered."""
    given = np.asarray(handles)
    if given.dtype.kind not in "ui" or given.ndim != 1:
        raise InputError(f"handles are {given.dtype}{list(given.shape)}; expected the uint32[n] of fleet.handles")
    latencies = columns.numbers("latency_ms", latency_ms)
    columns.check_lengths(handles=given, latency_ms=latencies)
    columns.check_latencies(latencies)
    nodes = len(directory.fleet)
    if given.size and not (int(given.min()) >= 0 and int(given.max()) < nodes):
        raise InputError(f"handles reach {int(given.max())}; fleet {directory.fleet.name!r} has {nodes:,} nodes")
    if ok is None:
        return given.astype(np.uint32), latencies, np.ones(len(given), np.bool_)
    answered = np.asarray(ok)
    if answered.dtype != np.bool_ or answered.ndim != 1:
        raise InputError(f"ok is {answered.dtype}{list(answered.shape)}; expected bool[n]")
    columns.check_lengths(handles=given, ok=answered)
    return given.astype(np.uint32), latencies, answered


def check_times(at_ms: Any, count: int, now_ms: int) -> NDArray[np.int64]:
    """When each observation of a batch was made: int64[count]; one number, or none, stands for all."""
    if at_ms is None:
        return np.full(count, now_ms, np.int64)
    given = np.asarray(at_ms)
    if given.dtype.kind not in "ui" or given.ndim > 1 or (given.dtype.kind == "u" and given.size and _beyond(given)):
        raise InputError(f"at_ms is {at_ms!r}; expected integers, the milliseconds since the epoch")
    if given.ndim == 1 and len(given) != count:
        columns.check_lengths(handles=np.empty(count), at_ms=given)
    if given.size and int(given.min()) < 0:
        raise InputError(f"at_ms is {int(given.min())}; expected integers, the milliseconds since the epoch")
    if given.size and int(given.max()) > now_ms + CLOCK_AHEAD_MS_MAX:  # nothing later would be believed until then
        ahead = int(given.max()) - now_ms
        raise InputError(f"at_ms is {ahead:,} ms ahead of this driver's clock; check the observer's")
    return np.broadcast_to(given.astype(np.int64), count)


def _beyond(given: NDArray[Any]) -> bool:
    return int(given.max()) >= 1 << 63


def check_observer(observer: Any) -> int:
    """Who observed: any number that fits 32 bits."""
    if not columns.is_integer(observer) or not 0 <= observer < 1 << 32:
        raise InputError(f"observer is {observer!r}; expected an integer from 0 to {(1 << 32) - 1}")
    return int(observer)


def check_ids(ids: Any) -> list[str]:
    """Ids as a list; a single one may stand alone."""
    listed = [ids] if isinstance(ids, str) else list(ids) if isinstance(ids, Iterable) else [ids]
    for position, node_id in enumerate(listed):
        if not isinstance(node_id, str):
            raise InputError(f"id {position} is {node_id!r}; expected a str")
    return listed


def check_seconds(name: str, seconds: Any) -> float | None:
    """A number of seconds that is not negative, or None."""
    if seconds is not None and (not columns.is_number(seconds) or not seconds >= 0):
        raise InputError(f"{name} is {seconds!r}; expected a number of seconds, or None")
    return seconds if seconds is None else float(seconds)
