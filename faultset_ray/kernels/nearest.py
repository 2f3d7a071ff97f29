"""The nearest of many points on a sphere, exact in integers.

A point is its unit vector times 2**30, rounded: 6 mm on earth, and fine enough for the centres of the finest cells.
The square of the chord between two points orders them as the great circle does, has no weak spot at
a pole or at the antimeridian, and fits into an int64. So an order never hangs on the last bit of a sine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

Points = NDArray[np.int64]
Cells = NDArray[np.uint64]

RADIUS = float(1 << 30)
FARTHEST = np.int64((1 << 63) - 1)
"""Farther than any two points are apart."""


def points(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> Points:
    """Return the points at latitudes and longitudes in degrees, int64[3, n]: x, y and z."""
    phi, theta = np.deg2rad(lat), np.deg2rad(lon)
    flat = np.cos(phi)
    unit = np.stack([flat * np.cos(theta), flat * np.sin(theta), np.sin(phi)])
    return np.rint(unit * RADIUS).astype(np.int64)


def squares(there: Points, here: Points) -> NDArray[np.int64]:
    """Return the square of the chord from the one point ``here`` to each of ``there``, int64[n]."""
    apart = there - here
    squared: NDArray[np.int64] = (apart * apart).sum(axis=0)
    return squared


def nearest_outside(
    there: Points,
    names: Cells,
    here: Points,
    skipped: Cells,
    low: Cells,
    high: Cells,
) -> NDArray[np.int64]:
    """Return for each query the nearest point that it does not leave out; of equally near ones that of the lowest name.

    Parameters
    ----------
    there, names : int64[3, n], uint64[n]
        Points to choose from, and what they are called.
    here : int64[3, q]
        Where each query stands.
    skipped : uint64[q, s]
        Names that each query leaves out.
    low, high : uint64[q]
        Each query leaves out the names from ``low`` to ``high``, both included; ``low`` above ``high``
        leaves out none.

    Returns
    -------
    int64[q]
        Indices of points; -1 where all are left out.
    """
    found = np.empty(here.shape[1], np.int64)
    order = np.argsort(there[2], kind="stable")  # a query sweeps outwards along one axis
    if HAVE_NUMBA:
        x, y, z = there.take(order, axis=1)
        begin = np.searchsorted(z, here[2])
        _sweep(x, y, z, names.take(order), begin, here, skipped, low, high, found)
        found[found >= 0] = order[found[found >= 0]]
        return found
    for query in range(len(found)):
        squared = squares(there, here[:, query, None])
        squared[np.isin(names, skipped[query]) | ((names >= low[query]) & (names <= high[query]))] = FARTHEST
        best = np.flatnonzero(squared == squared.min(initial=FARTHEST))
        best = best[squared[best] < FARTHEST]
        found[query] = best[np.argmin(names[best])] if len(best) else -1
    return found


@kernel()
def _left_out(name: Any, query: Any, skipped: Any, low: Any, high: Any) -> Any:
    if low[query] <= name <= high[query]:
        return True
    left_out = False
    for column in range(skipped.shape[1]):
        left_out |= skipped[query, column] == name
    return left_out


@kernel()
def _sweep(
    x: Any, y: Any, z: Any, names: Any, begin: Any, here: Any, skipped: Any, low: Any, high: Any, found: Any
) -> None:
    """Look at points of ever more distant z, upwards and then downwards, until z alone is too far."""
    for query in range(len(found)):
        best, chosen = FARTHEST, -1
        for step in (1, -1):
            i = begin[query] if step == 1 else begin[query] - 1
            while 0 <= i < len(z):
                dz = z[i] - here[2, query]
                if dz * dz > best:
                    break
                dx, dy = x[i] - here[0, query], y[i] - here[1, query]
                squared = dx * dx + dy * dy + dz * dz
                closer = squared < best or (squared == best and names[i] < names[chosen])
                if closer and not _left_out(names[i], query, skipped, low, high):
                    best, chosen = squared, i
                i += step
        found[query] = chosen
