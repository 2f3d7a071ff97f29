"""The coordinator: who is registered under which handle, which range is whose, and in which epoch.

State is in memory for now and dies with the coordinator, which lives on the cluster's head.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Servant
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.coordinator.directory import Directory, RangeInfo, Registered
from faultset_ray.errors import InputError, UnknownFleet
from faultset_ray.model import Fleet


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
            ranges = tuple(RangeInfo(index, lower, 1, 1) for index, lower in enumerate(bounds.tolist()))
            registered_ms = np.full(len(fleet), now_ms, np.int64)
            directory = Directory(fleet, cells, precision, ranges, 1, registered_ms)
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

    def succeed(self, fleet: str, range_id: int, epoch: int) -> Directory:
        """Start a new epoch of a range whose servant of ``epoch`` is gone.

        Of several drivers that ask, the first one is heard; all get the same new epoch.
        """
        found = self._directories[fleet]
        info = found.find(range_id)
        if info is not None and info.epoch == epoch:
            ranges = tuple(replace(each, epoch=epoch + 1) if each is info else each for each in found.ranges)
            found = self._directories[fleet] = replace(found, ranges=ranges, version=found.version + 1)
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
    left, entered = known.positions(handles[~new]), range_of(known.bounds, cells)
    touched = tuple(known.ranges[position].id for position in np.union1d(left, entered).tolist())
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
        ranges=tuple(replace(info, roster=version) if info.id in touched else info for info in known.ranges),
        version=version,
        registered_ms=merged(known.registered_ms, np.full(len(fleet), now_ms, np.int64)),
    )
    return Registered(handles.astype(np.uint32), touched, directory)
