"""Failover in one list of nodes, and region by region: the plain functions of the control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns, fleet_io, geohash
from faultset_ray.errors import EmptyNodesError, InputError, NoSurvivorsError
from faultset_ray.kernels.group import group_by_sorting, group_cells
from faultset_ray.kernels.number import number_cells
from faultset_ray.kernels.objects import pick_list
from faultset_ray.kernels.select import select, select_grouped, select_numbered
from faultset_ray.model import Fleet, OnDuplicate

Ids = Sequence[str] | NDArray[Any]
Latencies = Sequence[float] | NDArray[Any]
Order = Literal["appearance", "latency"]


def failover(ids: Ids, latencies: Latencies, threshold: float, *, threads: int = 1) -> list[str]:
    """Return the ids whose latency is at most the threshold, ascending by latency, ties in input order.

    Parameters
    ----------
    ids : sequence of str, length n ≥ 1
    latencies : array_like of float, length n
        Milliseconds, 0 or more. NaN is no measurement and never survives.
    threshold : float
        Milliseconds, 0 to infinity; compared exactly, as float64.
    threads : int
        How many threads may be used; it pays from some 100,000 nodes.

    Returns
    -------
    list of str
        Empty if no node survives.

    Raises
    ------
    EmptyNodesError, LengthMismatchError, NegativeThresholdError, InvalidNodeError
        Checked in this order. An id that is no string, or an empty one, is invalid.
    InputError
        If ``ids`` or ``latencies`` have no length, or ``threads`` is no integer of 1 or more.
    """
    if columns.length("ids", ids) == 0:
        raise EmptyNodesError
    columns.check_lengths(ids=ids, latencies=latencies)
    limit, threads = columns.check_threshold(threshold), columns.check_threads(threads)
    checked = columns.identifiers(ids)
    return pick_list(checked, _failover_indices(latencies, limit, checked, threads))


async def failover_async(ids: Ids, latencies: Latencies, threshold: float, *, threads: int = 1) -> list[str]:
    """Like :func:`failover`, in a thread, so that the event loop goes on.

    Arrays don't hold it up; making columns of a list of a million ids or latencies holds it for some 0.1 s.
    """
    return await asyncio.to_thread(failover, ids, latencies, threshold, threads=threads)


def failover_indices(latencies: Latencies, threshold: float, *, threads: int = 1) -> NDArray[np.int64]:
    """Return the indices of survivors, ascending by latency, ties in input order.

    Parameters
    ----------
    latencies : array_like of float, length n ≥ 1
        Milliseconds, 0 or more. NaN is no measurement and never survives. A float64 array is not copied.
    threshold : float
        Milliseconds, 0 to infinity; compared exactly, as float64.
    threads : int
        How many threads may be used; it pays from some 100,000 nodes.

    Returns
    -------
    int64[m]

    Raises
    ------
    EmptyNodesError, NegativeThresholdError, InvalidNodeError
        Checked in this order.
    InputError
        If ``latencies`` have no length, or ``threads`` is no integer of 1 or more.
    """
    if columns.length("latencies", latencies) == 0:
        raise EmptyNodesError
    limit, threads = columns.check_threshold(threshold), columns.check_threads(threads)
    return _failover_indices(latencies, limit, None, threads)


def _failover_indices(latencies: Latencies, limit: float, ids: Any, threads: int) -> NDArray[np.int64]:
    latency_ms = columns.numbers("latency_ms", latencies, ids)
    columns.check_latencies(latency_ms, ids)
    return select(latency_ms, limit, threads)


def faultset(
    nodes: Any,
    threshold: float,
    precision: int = 6,
    *,
    order: Order = "appearance",
    on_duplicate: OnDuplicate | None = None,
) -> list[str]:
    """Cluster nodes by geohash and return the ids of those that survive, region by region.

    Parameters
    ----------
    nodes
        A fleet, or anything that :meth:`faultset_ray.model.Fleet.of` takes.
    threshold : float
        Highest latency that survives, in milliseconds, 0 to infinity.
    precision : int
        Geohash precision of a region, 1 to 12.
    order : {"appearance", "latency"}
        By default regions come in order of first appearance, and in each the nodes ascending by latency.
        With "latency" all survivors are ascending by latency. Ties are in input order.
    on_duplicate : {"keep", "min"}, optional
        What to do about a repeated id; see :meth:`faultset_ray.model.Fleet.of`.

    Returns
    -------
    list of str
        At least one id.

    Raises
    ------
    EmptyNodesError, LengthMismatchError, NegativeThresholdError, InvalidNodeError, DuplicateIdError
        Checked in this order.
    InvalidGeohashError
        If the precision is not an integer of 1 to 12.
    NoSurvivorsError
        If no region has a survivor; it counts the nodes of each.
    """
    table = None if isinstance(nodes, Fleet) else fleet_io.read(nodes)
    limit, precision = columns.check_threshold(threshold), columns.check_precision(precision)
    if order not in ("appearance", "latency"):
        raise InputError(f'order is {order!r}; expected "appearance" or "latency"')
    fleet: Fleet = nodes if table is None else Fleet.of_table(table, on_duplicate=on_duplicate)
    cells = geohash.encode_many(fleet.lat, fleet.lon, precision)
    by_latency = order == "latency"
    survivors = select(fleet.latency_ms, limit) if by_latency else _by_region(fleet.latency_ms, cells, limit)
    if len(survivors) == 0:
        raise _no_survivors(limit, cells)
    return pick_list(fleet.ids, survivors)


def _by_region(latency_ms: columns.Floats, cells: geohash.Cells, limit: float) -> NDArray[np.int64]:
    numbered = number_cells(cells)
    if numbered is not None:
        return select_numbered(latency_ms, numbered.number, len(numbered.cells), limit)
    groups = group_by_sorting(cells)
    return select_grouped(latency_ms, groups.order, groups.starts, limit)[0]


def _no_survivors(threshold_ms: float, cells: geohash.Cells) -> NoSurvivorsError:
    groups = group_cells(cells)
    regions = geohash.cells_to_strings(groups.cells).tolist()
    return NoSurvivorsError(threshold_ms, dict(zip(regions, np.diff(groups.starts).tolist(), strict=True)))


async def faultset_async(
    nodes: Any,
    threshold: float,
    precision: int = 6,
    *,
    order: Order = "appearance",
    on_duplicate: OnDuplicate | None = None,
) -> list[str]:
    """Like :func:`faultset`, in a thread, so that the event loop goes on.

    A :class:`~faultset_ray.model.Fleet` or arrays don't hold it up; a million Python objects do for some 0.1 s.
    """
    return await asyncio.to_thread(faultset, nodes, threshold, precision, order=order, on_duplicate=on_duplicate)
