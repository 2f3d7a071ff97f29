"""Where the cells of ranges stand in an answer: the same until nodes come or go, so it is told and worked out once."""

from __future__ import annotations

import threading
from dataclasses import replace

from faultset_ray.control.compose import Layout, RegionPart, lay_out
from faultset_ray.coordinator.directory import Directory, RangeInfo

_Key = tuple[str, int, int, int]
"""Birth of the fleet's history, range, epoch and roster."""


class Layouts:
    """The layouts of the fleets that one driver asks about; the newest of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[str, dict[_Key, RegionPart]] = {}
        """By fleet, parts that told their cells."""
        self._layouts: dict[str, tuple[list[_Key], Layout]] = {}

    def known(self, directory: Directory, info: RangeInfo) -> RegionPart | None:
        """A part that tells the cells of a range as it is registered now."""
        parts = self._parts.get(directory.fleet.name, {})
        return parts.get((directory.birth, info.id, info.epoch, info.roster))

    def of(self, directory: Directory, parts: dict[int, RegionPart]) -> Layout:
        """The layout of some parts, by range."""
        fleet, birth = directory.fleet.name, directory.birth
        keys = [(birth, range_id, part.epoch, part.roster) for range_id, part in parts.items()]
        with self._lock:
            known, layout = self._layouts.get(fleet, ([], None))
            if layout is None or known != keys:
                layout = lay_out(list(parts.values()))
                self._layouts[fleet] = keys, layout
                self._parts[fleet] = {
                    key: replace(part, counts=part.counts[:0], handles=part.handles[:0], flagged=None, rest=None)
                    for key, part in zip(keys, parts.values(), strict=True)
                }
            return layout
