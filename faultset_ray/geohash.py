"""Geohash (G. Niemeyer, 2008): points on earth to cells, one by one or by the million.

A cell is a uint64, ``morton60 << 4 | precision``: the Morton code stands left-aligned in 60 bits, bits
past the precision are zero. So cells sort in Z-order, a parent before its children, and the
descendants of a cell are one interval. No cell is 0.

Cells and texts are bit-identical with the ``pygeohash`` package on the whole range, edges of cells, poles and
the antimeridian included. Latitude 90 belongs to the northernmost row and longitude 180 to the
easternmost column. Nothing is clamped: coordinates out of range are errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pygeohash
from numpy.typing import ArrayLike, NDArray

from faultset_ray import columns
from faultset_ray.errors import InputError, InvalidGeohashError
from faultset_ray.kernels import morton
from faultset_ray.kernels.group import Groups, group_cells
from faultset_ray.limits import GEOHASH_PRECISION_MAX
from faultset_ray.model import Fleet, Node

Cells = NDArray[np.uint64]

BASE32 = "0123456789bcdefghjkmnpqrstuvwxyz"
_LETTERS = np.frombuffer(BASE32.encode(), np.uint8)
_NO_LETTER = 255
_VALUES = np.full(128, _NO_LETTER, np.uint8)
_VALUES[_LETTERS] = np.arange(32)
_VALUES[np.frombuffer(BASE32.upper().encode(), np.uint8)] = np.arange(32)
_LETTER_SHIFTS = np.uint64(59) - np.uint64(5) * np.arange(GEOHASH_PRECISION_MAX, dtype=np.uint64)
_PRECISION = np.uint64(15)
"""The bits of a cell that hold its precision."""
_UNUSED = np.zeros(16, np.uint64)
_UNUSED[1 : GEOHASH_PRECISION_MAX + 1] = [((1 << 60 - 5 * digits) - 1) << 4 for digits in range(1, 13)]
"""By precision, the bits of a cell that are zero."""
_COMPASS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
"""(rows north, columns east) of N, NE, E, SE, S, SW, W and NW."""


def encode(lat: float, lon: float, precision: int = GEOHASH_PRECISION_MAX) -> str:
    """Return the geohash of one point, ``precision`` characters long.

    Raises
    ------
    InvalidGeohashError
        If the precision is not an integer of 1 to 12.
    InvalidNodeError
        If a coordinate is no number, NaN, infinite or out of range.
    """
    precision = columns.check_precision(precision)
    columns.check_coordinate("lat", lat)
    columns.check_coordinate("lon", lon)
    text: str = pygeohash.encode(float(lat), float(lon), precision)
    return text


def geohash_cluster(nodes: Any, precision: int) -> dict[str, list[Node]]:
    """Return the nodes of each cell, cells in order of first appearance, nodes in input order.

    Parameters
    ----------
    nodes
        A fleet, or anything that :meth:`Fleet.of` takes.
    precision : int
        1 to 12.
    """
    precision = columns.check_precision(precision)
    fleet = Fleet.of(nodes)
    members = list(fleet)
    groups = group(encode_many(fleet.lat, fleet.lon, precision))
    texts = cells_to_strings(groups.cells).tolist()
    bounds = zip(groups.starts[:-1].tolist(), groups.starts[1:].tolist(), strict=True)
    ordered = [members[i] for i in groups.order.tolist()]
    return {text: ordered[begin:end] for text, (begin, end) in zip(texts, bounds, strict=True)}


def encode_many(lat: ArrayLike, lon: ArrayLike, precision: int) -> Cells:
    """Return the cell of every point.

    Parameters
    ----------
    lat, lon : array_like of float, length n
        Degrees in [-90, 90] and [-180, 180].
    precision : int
        1 to 12.

    Returns
    -------
    uint64[n]

    Raises
    ------
    InvalidGeohashError
        If the precision is not an integer of 1 to 12.
    LengthMismatchError
        If there are not as many latitudes as longitudes.
    InvalidNodeError
        At the first point that is no place on earth.
    """
    precision = columns.check_precision(precision)
    north, east = columns.numbers("lat", lat), columns.numbers("lon", lon)
    columns.check_lengths(lat=north, lon=east)
    cells = np.empty(len(north), np.uint64)
    if not morton.encode(north, east, precision, cells):
        columns.check_coordinates(north, east)
    return cells


def group(cells: Cells) -> Groups:
    """Group equal cells: order of nodes, starts of groups, and cells in order of first appearance."""
    return group_cells(_as_cells(cells))


def parents(cells: Cells, precision: int) -> Cells:
    """Return the cell of ``precision`` that holds each cell; a cell of that precision is its own parent.

    Raises
    ------
    InvalidGeohashError
        If a cell is coarser than ``precision``.
    """
    precision, cells = columns.check_precision(precision), _as_cells(cells)
    coarser = precisions(cells) < precision
    if coarser.any():
        first = cells[np.argmax(coarser)]
        raise InvalidGeohashError(
            str(cells_to_strings(first[None])[0]), f"coarser than its parent's precision, {precision}"
        )
    return cells & np.uint64(morton.mask_of(precision)) | np.uint64(precision)


def precisions(cells: Cells) -> NDArray[np.int64]:
    """Return the precision of each cell, int64[n]."""
    return (_as_cells(cells) & _PRECISION).astype(np.int64)


def neighbours(cells: Cells) -> Cells:
    """Return the eight cells around each cell.

    Returns
    -------
    uint64[n, 8]
        North, north-east, east, south-east, south, south-west, west, north-west. Longitude wraps at the
        antimeridian. Nothing lies beyond a pole: the three neighbours across one are 0, which no cell is.
    """
    cells = _as_cells(cells)
    column, row = morton.position(cells)
    precision = precisions(cells)
    width, height = morton.size_of(precision)
    around = np.zeros((len(cells), len(_COMPASS)), np.uint64)
    for direction, (north, east) in enumerate(_COMPASS):
        there = row + north * height
        cell = morton.compose((column + east * width) % morton.COLUMNS, there % morton.COLUMNS, precision)
        on_earth = (there >= 0) & (there < morton.COLUMNS)
        around[:, direction] = np.where(on_earth, cell, 0)
    return around


def centers(cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latitude and longitude of each cell's centre, float64[n] each; exact, as pygeohash decodes them."""
    cells = _as_cells(cells)
    column, row = morton.position(cells)
    width, height = morton.size_of(precisions(cells))
    # counted in halves, so that the centre of the finest cell is a whole number
    lat = (2 * row + height) * (90.0 / morton.COLUMNS) - 90.0
    lon = (2 * column + width) * (180.0 / morton.COLUMNS) - 180.0
    return lat, lon


def cells_to_strings(cells: Cells, precision: int | None = None) -> NDArray[np.str_]:
    """Spell cells.

    Parameters
    ----------
    cells : uint64[n]
    precision : int, optional
        Spell the parents of this precision; by default each cell at its own.

    Returns
    -------
    str[n]
        A numpy array of str (``.tolist()`` makes plain strings).
    """
    cells = _as_cells(cells) if precision is None else parents(cells, precision)
    own = precisions(cells)
    longest = int(own.max(initial=1))
    codes = np.zeros((len(cells), longest), np.uint32)  # as numpy stores str: UCS-4, padded with zeros
    for place in range(longest):
        letters = _LETTERS[(cells >> _LETTER_SHIFTS[place]) & np.uint64(31)]
        codes[:, place] = np.where(own > place, letters, 0)
    return codes.view(f"<U{longest}").reshape(len(cells))


def strings_to_cells(strings: Sequence[str] | NDArray[np.str_]) -> Cells:
    """Read geohashes, in lower or upper case, each of its own precision.

    Returns
    -------
    uint64[n]

    Raises
    ------
    InvalidGeohashError
        At the first text that is not 1 to 12 characters of the geohash alphabet.
    InputError
        If ``strings`` is itself a text, or no sequence.
    """
    if isinstance(strings, (str, bytes)) or not hasattr(strings, "__iter__") or np.ndim(strings) == 0:
        raise InputError(f"geohashes are {strings!r}; expected a sequence of them")
    listed = strings.tolist() if isinstance(strings, np.ndarray) else list(strings)
    for text in listed:
        if not isinstance(text, str) or not 1 <= len(text) <= GEOHASH_PRECISION_MAX:
            raise InvalidGeohashError(text, f"a geohash is a str of 1 to {GEOHASH_PRECISION_MAX} characters")
    lengths = np.fromiter(map(len, listed), np.uint64, len(listed))
    codes = np.array(listed, f"<U{GEOHASH_PRECISION_MAX}").view(np.uint32).reshape(-1, GEOHASH_PRECISION_MAX)
    values = np.where(codes < len(_VALUES), _VALUES[codes % len(_VALUES)], np.uint8(_NO_LETTER))
    padding = np.arange(GEOHASH_PRECISION_MAX) >= lengths[:, None]
    unreadable = ((values == _NO_LETTER) & ~padding).any(axis=1)
    if unreadable.any():
        raise InvalidGeohashError(listed[int(np.argmax(unreadable))], f"a geohash is spelt with {BASE32}")
    values[padding] = 0
    cells: Cells = np.bitwise_or.reduce(values.astype(np.uint64) << _LETTER_SHIFTS, axis=1) | lengths
    return cells


def _as_cells(cells: Any) -> Cells:
    column = np.asarray(cells) if isinstance(cells, np.ndarray) else _cells_listed(cells)
    if column.dtype != np.uint64 or column.ndim != 1:
        raise InputError(f"cells are {column.dtype}{list(column.shape)}; expected uint64 of one dimension")
    no_cell = (column & _PRECISION) - np.uint64(1) >= GEOHASH_PRECISION_MAX  # 0 wraps around
    if no_cell.any():
        raise _no_cell(int(column[np.argmax(no_cell)]), "its last four bits are no precision")
    stray = (column & _UNUSED[column & _PRECISION]) != 0
    if stray.any():
        raise _no_cell(int(column[np.argmax(stray)]), "bits past its precision are set")
    return column


def _cells_listed(cells: Any) -> Cells:
    if not hasattr(cells, "__iter__") or isinstance(cells, (str, bytes)):
        raise InputError(f"cells are {cells!r}; expected uint64 of one dimension")
    listed = list(cells)
    for cell in listed:
        whole = isinstance(cell, (int, np.integer)) and not isinstance(cell, (bool, np.timedelta64))
        if not whole or not 0 <= cell < 1 << 64:
            raise _no_cell(cell, "expected an integer of 0 to 2**64 - 1")
    return np.array(listed, np.uint64)


def _no_cell(cell: object, reason: str) -> InvalidGeohashError:
    return InvalidGeohashError(cell, f"not a cell: {reason}", "cell")
