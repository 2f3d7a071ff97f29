"""The values of the control plane: one node, and a fleet of them in columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray import columns, fleet_io
from faultset_ray.errors import DuplicateIdError, InputError
from faultset_ray.errors.base import shown

OnDuplicate = Literal["keep", "min"]


class Node(NamedTuple):
    """One member of a fleet. NaN for ``latency_ms`` means that it was never measured."""

    id: str
    lat: float
    lon: float
    latency_ms: float


class Fleet:
    """Immutable columns of nodes with distinct ids.

    Parameters
    ----------
    ids : sequence of str, length n ≥ 1
        Distinct, none empty.
    lat, lon : array_like of float, length n
        Degrees in [-90, 90] and [-180, 180].
    latency_ms : array_like of float, length n
        Milliseconds, 0 or more; NaN where there is no measurement.
    name : str
        What a system knows the fleet by.
    handles : uint32[n], optional
        What a coordinator knows the nodes by; given by ``driver.register``.

    Attributes
    ----------
    ids : object[n] of str
    lat, lon, latency_ms : float64[n]
    handles : uint32[n] or None
        All arrays are read-only. One that was passed in is shared if its memory is read-only, else copied.

    Raises
    ------
    EmptyNodesError, LengthMismatchError, InvalidNodeError, DuplicateIdError
        Checked in this order; of many invalid nodes the first is named.
    """

    __slots__ = ("handles", "ids", "lat", "latency_ms", "lon", "name")

    ids: NDArray[np.object_]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    name: str
    handles: NDArray[np.uint32] | None

    def __init__(
        self,
        ids: Any,
        lat: ArrayLike,
        lon: ArrayLike,
        latency_ms: ArrayLike,
        name: str = "default",
        handles: NDArray[np.uint32] | None = None,
    ) -> None:
        table = fleet_io.Table(ids, lat, lon, latency_ms)
        table.check_shape()
        _fill(self, _checked(table, None), columns.check_name("name", name), handles)

    @staticmethod
    def of(source: Any, *, name: str = "default", on_duplicate: OnDuplicate | None = None) -> Fleet:
        """Make a fleet from whatever holds nodes.

        Parameters
        ----------
        source
            Nodes or tuples ``(id, lat, lon, latency_ms)``; dicts with these keys; a mapping of columns;
            a pandas or polars DataFrame; the path of a ``.csv`` file with a header, or of a ``.jsonl``
            file. ``latency`` does for ``latency_ms``; other keys are ignored. A fleet is returned as it is.
        name : str
            Name of the new fleet.
        on_duplicate : {"keep", "min"}, optional
            With "keep" the first node of an id stays; with "min" the one with the lowest latency, where
            the first stood. By default a repeated id is an error.

        Raises
        ------
        EmptyNodesError, LengthMismatchError, MissingColumnError, InvalidNodeError, DuplicateIdError
            A bad row of a file is named with its line.
        OSError
            If the file can't be read.
        """
        if isinstance(source, Fleet):
            return source
        return Fleet.of_table(fleet_io.read(source), name=name, on_duplicate=on_duplicate)

    @staticmethod
    def of_table(table: fleet_io.Table, *, name: str = "default", on_duplicate: OnDuplicate | None = None) -> Fleet:
        """Check the values of a table whose shape is checked, and make a fleet of them."""
        return _fill(Fleet.__new__(Fleet), _checked(table, on_duplicate), columns.check_name("name", name), None)

    @staticmethod
    def of_checked(
        ids: columns.Strings, lat: columns.Floats, lon: columns.Floats, latency_ms: columns.Floats, *, name: str
    ) -> Fleet:
        """Make a fleet of columns that other fleets were made of; arrays that no one else has become read-only."""
        for column in (ids, lat, lon, latency_ms):
            if column.base is None:
                column.flags.writeable = False
        return _fill(Fleet.__new__(Fleet), (ids, lat, lon, latency_ms), name, None)

    def with_handles(self, handles: ArrayLike) -> Fleet:
        """Return this fleet with a coordinator's handles (uint32[n]); the other columns are shared."""
        column = np.asarray(handles, np.uint32)
        columns.check_lengths(ids=self.ids, handles=column)
        return _fill(Fleet.__new__(Fleet), (self.ids, self.lat, self.lon, self.latency_ms), self.name, column)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Fleet is immutable; {name} can't be set")

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Node]:
        """Yield the nodes one by one."""
        return map(
            Node._make,
            zip(self.ids.tolist(), self.lat.tolist(), self.lon.tolist(), self.latency_ms.tolist(), strict=True),
        )

    def __repr__(self) -> str:
        registered = "" if self.handles is None else ", registered"
        return f"Fleet({self.name!r}, {len(self):,} nodes{registered})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the ids as one text: smaller, and several times faster than a million strings."""
        listed = self.ids.tolist()
        text = "\n".join(listed)
        ids = text if text.count("\n") == len(listed) - 1 else listed
        return _restore, (ids, (self.lat, self.lon, self.latency_ms), self.name, self.handles)


_Numbers = tuple[columns.Floats, columns.Floats, columns.Floats]
_Columns = tuple[columns.Strings, *_Numbers]


def _fill(fleet: Fleet, table: _Columns, name: str, handles: NDArray[np.uint32] | None) -> Fleet:
    put = object.__setattr__
    for field, column in zip(("ids", "lat", "lon", "latency_ms"), table, strict=True):
        put(fleet, field, columns.frozen(column))
    put(fleet, "name", name)
    put(fleet, "handles", None if handles is None else columns.frozen(handles))
    return fleet


def _restore(ids: str | list[str], numbers: _Numbers, name: str, handles: NDArray[np.uint32] | None) -> Fleet:
    """Unpickle: what was checked once is not checked again."""
    listed = ids.split("\n") if isinstance(ids, str) else ids
    return _fill(Fleet.__new__(Fleet), (columns.objects(listed), *numbers), name, handles)


def _checked(table: fleet_io.Table, on_duplicate: OnDuplicate | None) -> _Columns:
    if on_duplicate is not None and (not isinstance(on_duplicate, str) or on_duplicate not in ("keep", "min")):
        raise InputError(f'on_duplicate is {shown(on_duplicate)}; expected "keep", "min" or None')
    with table.locating():
        ids = columns.identifiers(table.ids)
        lat = columns.numbers("lat", table.lat, ids)
        lon = columns.numbers("lon", table.lon, ids)
        latency_ms = columns.numbers("latency_ms", table.latency_ms, ids)
        columns.check_coordinates(lat, lon, ids)
        columns.check_latencies(latency_ms, ids)
    if len(set(ids.tolist())) == len(ids):
        return ids, lat, lon, latency_ms
    kept = _distinct(ids, latency_ms, on_duplicate)
    return ids[kept], lat[kept], lon[kept], latency_ms[kept]


def _distinct(ids: columns.Strings, latency_ms: columns.Floats, on_duplicate: OnDuplicate | None) -> NDArray[np.intp]:
    """Indices of one node for each id, in the order in which the ids first appear."""
    listed = ids.tolist()
    last_to_first = range(len(listed) - 1, -1, -1)
    position = dict(zip(reversed(listed), last_to_first, strict=True))
    first = np.fromiter(map(position.__getitem__, listed), np.intp, len(listed))
    if on_duplicate is None:
        second = int(np.argmax(first != np.arange(len(first))))
        raise DuplicateIdError(listed[second], int(first[second]), second, len(listed) - len(position))
    preference = latency_ms if on_duplicate == "min" else np.arange(len(first))
    ranked = np.lexsort((preference, first))  # stable, NaN last
    kept: NDArray[np.intp] = ranked[np.diff(first[ranked], prepend=-1) != 0]
    return kept
