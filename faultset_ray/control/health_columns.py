"""What is kept of a node: the columns of health, their types, and where they lie in a node's line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.states import Mark, Rule, State
from faultset_ray.kernels import health as kernels
from faultset_ray.kernels.number import number_values


class Column(NamedTuple):
    """One column of :class:`~faultset_ray.control.health.Health`."""

    kind: type[np.generic]
    blank: float
    """Its value for a node of which nothing is known."""
    position: int | None = None
    """Where it lies in a node's line, counted in its own type; None where it does not itself."""
    entered: int | None = None
    """Where it lies in what is noted of the node's state when that is entered."""


COLUMNS: Mapping[str, Column] = {
    "handles": Column(np.uint32, 0),
    "cells": Column(np.uint64, 0),
    "last": Column(np.float64, np.nan, kernels.LAST),
    "ewma": Column(np.float64, np.nan, kernels.EWMA),
    "weight": Column(np.float64, 0, kernels.WEIGHT),
    "peak": Column(np.float64, np.nan, kernels.PEAK),
    "last_ms": Column(np.int64, kernels.NEVER, kernels.LAST_MS),
    "measured_ms": Column(np.int64, kernels.NEVER, kernels.MEASURED_MS),
    "window": Column(np.uint32, 0, kernels.WINDOW),
    "good": Column(np.uint16, 0, kernels.GOOD),
    "failures": Column(np.uint16, 0, kernels.FAILURES),
    "state": Column(np.uint8, State.UNKNOWN, kernels.STATE),
    "mark": Column(np.uint8, Mark.NONE, kernels.MARK),
    "rule": Column(np.uint8, Rule.NEVER_MEASURED, kernels.RULE),
    "blocked": Column(np.uint8, 0, kernels.BLOCKED),
    "ejections": Column(np.uint8, 0, kernels.EJECTIONS),
    "since_ms": Column(np.int64, 0, entered=kernels.SINCE_MS),
    "until_ms": Column(np.int64, 0, entered=kernels.UNTIL_MS),
    "value": Column(np.float64, np.nan, entered=kernels.VALUE),
    "threshold": Column(np.float64, np.nan),
}
FORMAT: Final = 2
"""Of :meth:`Health.to_columns <faultset_ray.control.health.Health.to_columns>`."""
ADDED: Final = {1: ("value", "threshold")}
"""By older formats that are read: the columns that they lack, and that are blank then."""

NUMBERS_MAX: Final = 1 << 16
"""Thresholds that a table has room for."""
NO_THRESHOLDS: Final = np.full(1, np.nan)
"""float64[1]: the table of thresholds of nodes of which none is noted; not changed, as no such table is."""

_COMPARED_MAX: Final = 1 << 12


def numbered(
    table: NDArray[np.float64], values: NDArray[np.float64], used: NDArray[np.uint16]
) -> tuple[NDArray[np.float64], NDArray[np.uint16]]:
    """Number some thresholds by a table of all that are noted.

    Parameters
    ----------
    table : float64[p]
        NaN the first.
    values : float64[m]
    used : uint16[n]
        The numbers that nodes have now; written anew where the table has no room and is cleared of what no node has.

    Returns
    -------
    table, numbers : float64[q], uint16[m]
        The table with the new ones at its end. Where more than 65,536 are in use at once, NaN stands for the rest.
    """
    values = np.ascontiguousarray(values)
    if len(table) * len(values) <= _COMPARED_MAX:  # nearly always: few nodes turned, and nothing new
        same = table.view(np.int64)[:, None] == values.view(np.int64)
        if same.any(axis=0).all():
            return table, same.argmax(axis=0).astype(np.uint16)
    inverse, bits = number_values(values.view(np.uint64))
    distinct = bits.view(np.int64)
    fresh = distinct[~np.isin(distinct, table.view(np.int64))]
    if len(table) + len(fresh) > NUMBERS_MAX:
        kept, renumbered = np.unique(np.append(used, np.uint16(0)), return_inverse=True)
        used[:], table = renumbered[:-1], table[kept]
        fresh = distinct[~np.isin(distinct, table.view(np.int64))]
    if len(fresh):
        table = np.append(table, fresh[: NUMBERS_MAX - len(table)].view(np.float64))
    order = np.argsort(table.view(np.int64))
    at = np.minimum(np.searchsorted(table.view(np.int64), distinct, sorter=order), len(table) - 1)
    numbers = np.where(table.view(np.int64)[order[at]] == distinct, order[at], 0).astype(np.uint16)
    return table, numbers[inverse]
