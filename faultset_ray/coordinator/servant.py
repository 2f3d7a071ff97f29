"""The coordinator: who is registered under which handle, which range is whose, and in which epoch.

State is in memory for now and dies with the coordinator, which lives on the cluster's head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Servant
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.errors import InputError, UnknownFleet
from faultset_ray.model import Fleet


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """What drivers cache of a fleet: the node behind each handle, and the range behind each cell."""

    fleet: Fleet
    """Every node registered; the node of handle h stands at position h."""
    cells: NDArray[np.uint64]
    """uint64[n]: the cell of each handle."""
    precision: int
    bounds: NDArray[np.uint64]
    """uint64[r]: lower bound of each range."""
    epochs: tuple[int, ...]
    """The current epoch of each range."""
    rosters: tuple[int, ...]
    """The version at which the nodes of each range were last registered."""
    version: int
    """Grows with every change."""
    registered_ms: NDArray[np.int64]
    """int64[n]: when each node was last registered."""

    def range_of(self, handles: NDArray[np.uint32]) -> NDArray[np.intp]:
        """The range that each handle belongs to."""
        return range_of(self.bounds, self.cells[handles])

    def members(self, index: int) -> NDArray[np.intp]:
        """The handles of one range, ascending."""
        return np.flatnonzero(range_of(self.bounds, self.cells) == index)


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """The answer to a registration."""

    handles: NDArray[np.uint32]
    """uint32[n], in the order of the nodes registered."""
    touched: tuple[int, ...]
    """Ranges that these nodes are in, or were in before."""
    directory: Directory


class Coordinator(Servant):
    """The one authority of a system."""

    def __init__(self, system: str) -> None:
        self.system = system
        self._directories: dict[str, Directory] = {}

    def register(
        self, fleet: Fleet, cells: NDArray[np.uint64], precision: int, ranges_max: int, now_ms: int
    ) -> Registered:
        """Add nodes to the fleet of that name, or replace what is known of them.

        Parameters
        ----------
        fleet : Fleet
        cells : uint64[n]
            Cell of each node at ``precision``.
        ranges_max : int
            How many ranges a new fleet may be cut into.
        now_ms : int
            The driver's clock.

        Raises
        ------
        InputError
            The fleet is registered at another precision.
        """
        known = self._directories.get(fleet.name)
        if known is None:
            bounds = plan_bounds(cells, ranges_max)
            ones = (1,) * len(bounds)
            registered_ms = np.full(len(fleet), now_ms, np.int64)
            directory = Directory(fleet, cells, precision, bounds, ones, ones, 1, registered_ms)
            handles = np.arange(len(fleet), dtype=np.uint32)
            registered = Registered(handles, tuple(range(len(bounds))), directory)
        else:
            if known.precision != precision:
                raise InputError(
                    f"fleet {fleet.name!r} is registered at precision {known.precision}, not {precision}; "
                    "register at the same one, or under another name"
                )
            registered = _merge(known, fleet, cells, now_ms)
        self._directories[fleet.name] = registered.directory
        return registered

    def directory(self, fleet: str, version: int = 0) -> Directory | None:
        """The directory of a fleet; None when it is still of the given version."""
        found = self._directories.get(fleet)
        if found is None:
            raise UnknownFleet(fleet, sorted(self._directories))
        return None if found.version == version else found

    def fleets(self) -> list[str]:
        """The names of the fleets that are registered."""
        return sorted(self._directories)

    def succeed(self, fleet: str, index: int, epoch: int) -> Directory:
        """Start a new epoch of a range whose servant of ``epoch`` is gone.

        Of several drivers that ask, the first one is heard; all get the same new epoch.
        """
        found = self._directories[fleet]
        if found.epochs[index] == epoch:
            epochs = (*found.epochs[:index], epoch + 1, *found.epochs[index + 1 :])
            found = self._directories[fleet] = replace(found, epochs=epochs, version=found.version + 1)
        return found


def _merge(known: Directory, fleet: Fleet, cells: NDArray[np.uint64], now_ms: int) -> Registered:
    old = known.fleet
    handle_of = dict(zip(old.ids.tolist(), range(len(old)), strict=True))
    handles = np.fromiter((handle_of.get(node_id, -1) for node_id in fleet.ids), np.int64, len(fleet))
    new = handles < 0
    handles[new] = np.arange(len(old), len(old) + int(new.sum()))

    def merged(before: NDArray[Any], now: NDArray[Any]) -> NDArray[Any]:
        column = np.concatenate([before, now[new]])
        column[handles] = now
        return column

    version = known.version + 1
    left, entered = range_of(known.bounds, known.cells[handles[~new]]), range_of(known.bounds, cells)
    touched = tuple(np.union1d(left, entered).tolist())
    directory = replace(
        known,
        fleet=Fleet(
            merged(old.ids, fleet.ids),
            merged(old.lat, fleet.lat),
            merged(old.lon, fleet.lon),
            merged(old.latency_ms, fleet.latency_ms),
            name=fleet.name,
        ),
        cells=merged(known.cells, cells),
        rosters=tuple(version if index in touched else roster for index, roster in enumerate(known.rosters)),
        version=version,
        registered_ms=merged(known.registered_ms, np.full(len(fleet), now_ms, np.int64)),
    )
    return Registered(handles.astype(np.uint32), touched, directory)
