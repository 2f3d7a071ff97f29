"""Handles by ids, for callers that know nodes by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.coordinator.directory import Directory
from faultset_ray.errors import UnknownNode


class Named:
    """The handle of each living node of the fleets that were asked about; made anew when nodes come or go."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[NDArray[Any], NDArray[Any], dict[str, int]]] = {}

    def handles(self, directory: Directory, ids: Sequence[str]) -> NDArray[np.uint32]:
        """The handle of each id: uint32[n].

        Raises
        ------
        UnknownNode
            The fleet has no node of one of the ids.
        """
        known = self._of(directory)
        handles = np.fromiter((known.get(node_id, -1) for node_id in ids), np.int64, len(ids))
        unknown = np.flatnonzero(handles < 0)
        if len(unknown):
            raise UnknownNode(ids[unknown[0]], directory.fleet.name, len(unknown))
        return handles.astype(np.uint32)

    def _of(self, directory: Directory) -> dict[str, int]:
        fleet, living = directory.fleet, directory.living
        made = self._made.get(fleet.name)
        if made is None or made[0] is not fleet.ids or made[1] is not living:
            alive = np.flatnonzero(living)
            handle_of = dict(zip(fleet.ids[alive].tolist(), alive.tolist(), strict=True))
            made = self._made[fleet.name] = fleet.ids, living, handle_of
        return made[2]
