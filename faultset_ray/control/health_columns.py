"""What is kept of a node: the columns of health, their types, and where they lie in a node's line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from faultset_ray.control.states import Mark, Rule, State
from faultset_ray.kernels import health as kernels


class Column(NamedTuple):
    """One column of :class:`~faultset_ray.control.health.Health`."""

    kind: type[np.generic]
    blank: float
    """Its value for a node of which nothing is known."""
    position: int | None = None
    """Where it lies in a node's line, counted in its own type; None outside of it."""
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
    "threshold": Column(np.float64, np.nan, entered=kernels.THRESHOLD),
}
FORMAT: Final = 2
"""Of :meth:`Health.to_columns <faultset_ray.control.health.Health.to_columns>`."""
ADDED: Final = {1: ("value", "threshold")}
"""By older formats that are read: the columns that they lack, and that are blank then."""
