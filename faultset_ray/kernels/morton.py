"""Coordinates to cells and back.

A cell is ``morton60 << 4 | precision``: 30 bits of longitude and 30 of latitude interleaved, longitude
first, as G. M. Morton ordered them (1966) and as geohash spells them five bits a character; bits past
the precision are zero.

The quantisation is exact. An edge between cells is an integer times 45/2**28 (latitude) or 45/2**27
(longitude) less 90 or 180, which a float64 holds exactly. The factor by which degrees become columns is
rounded up, so the quotient is never too low; where rounding made it too high, the point lies west (or
south) of its column's edge, and one comparison puts it right.

The functions of one point are elementwise expressions: numba compiles them into loops, and without
numba they are applied to whole arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

Cells = NDArray[np.uint64]
Floats = NDArray[np.float64]

COLUMN_BITS = 30
COLUMNS = 1 << COLUMN_BITS
"""Columns of longitude, and rows of latitude, at the finest precision."""


def mask_of(precision: int) -> int:
    """Bits of a cell that its Morton code may use at a precision."""
    return ((1 << 5 * precision) - 1) << (64 - 5 * precision)


def size_of(precision: Any) -> tuple[Any, Any]:
    """Columns and rows that a cell spans; ``precision`` is an int or an array of int64."""
    return 1 << (COLUMN_BITS - (5 * precision + 1) // 2), 1 << (COLUMN_BITS - 5 * precision // 2)


@kernel(inline=True)
def _column(degrees: Any, half_span: float) -> Any:
    """Column 0 … 2**30 - 1 of a coordinate in [-half_span, half_span]."""
    width = 2.0 * half_span / COLUMNS
    column = np.int32((degrees + half_span) * (COLUMNS / (2.0 * half_span)))  # AVX2 has no vectors of float64 to int64
    column = column - (column * width - half_span > degrees)
    return column - (column == COLUMNS)  # the pole and the antimeridian belong to the last cell


@kernel(inline=True)
def _spread(x: Any) -> Any:
    """Move bit i of a 30-bit number to bit 2i."""
    x = (x | x << np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    x = (x | x << np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    x = (x | x << np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    x = (x | x << np.uint64(2)) & np.uint64(0x3333333333333333)
    return (x | x << np.uint64(1)) & np.uint64(0x5555555555555555)


@kernel(inline=True)
def _gather(x: Any) -> Any:
    """Move bit 2i to bit i: the inverse of :func:`_spread`."""
    x = x & np.uint64(0x5555555555555555)
    x = (x | x >> np.uint64(1)) & np.uint64(0x3333333333333333)
    x = (x | x >> np.uint64(2)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    x = (x | x >> np.uint64(4)) & np.uint64(0x00FF00FF00FF00FF)
    x = (x | x >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
    return (x | x >> np.uint64(16)) & np.uint64(0x00000000FFFFFFFF)


@kernel(inline=True)
def _cell(lat: Any, lon: Any, mask: Any, precision: Any) -> Any:
    odd = _spread(np.uint64(_column(lon, 180.0)))
    even = _spread(np.uint64(_column(lat, 90.0)))
    return (odd << np.uint64(5) | even << np.uint64(4)) & mask | precision


@kernel()
def _encode(lat: Floats, lon: Floats, mask: np.uint64, precision: np.uint64, out: Cells) -> bool:
    valid = True
    for i in range(len(out)):
        valid &= (abs(lat[i]) <= 90.0) & (abs(lon[i]) <= 180.0)
        out[i] = _cell(lat[i], lon[i], mask, precision)
    return valid


def encode(lat: Floats, lon: Floats, precision: int, out: Cells) -> bool:
    """Write the cell of every point to ``out``.

    Parameters
    ----------
    lat, lon : float64[n]
    precision : int
        1 to 12.
    out : uint64[n]
        Overwritten; worthless if the result is False.

    Returns
    -------
    bool
        Whether all coordinates are in range (NaN is not).
    """
    mask, tag = np.uint64(mask_of(precision)), np.uint64(precision)
    if HAVE_NUMBA:
        return bool(_encode(lat, lon, mask, tag, out))
    if not ((np.abs(lat) <= 90.0) & (np.abs(lon) <= 180.0)).all():
        return False
    out[:] = _cell(lat, lon, mask, tag)
    return True


def position(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the column of longitude and the row of latitude of each cell's south-west corner.

    Both are in units of the finest precision, 0 … 2**30 - 1.
    """
    morton = cells >> np.uint64(4)
    return _gather(morton >> np.uint64(1)).astype(np.int64), _gather(morton).astype(np.int64)


def compose(column: NDArray[np.int64], row: NDArray[np.int64], precision: NDArray[np.int64]) -> Cells:
    """Return the cells at columns and rows of the finest precision: the inverse of :func:`position`."""
    odd, even = _spread(column.astype(np.uint64)), _spread(row.astype(np.uint64))
    cells: Cells = odd << np.uint64(5) | even << np.uint64(4) | precision.astype(np.uint64)
    return cells
