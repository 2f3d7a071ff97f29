"""The answers of all ranges made into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.control.region import RegionPart
from faultset_ray.geohash import cells_to_strings

Strings = NDArray[np.object_]


class Survivors:
    """Who can be trusted, and what is not known: one answer about one fleet, immutable.

    All arrays are read-only; lists and mappings are made anew each time they are asked for.

    Attributes
    ----------
    fleet : str
    threshold_ms : float
    at_ms : int
        When the question was asked.
    handles : uint32[s]
        The survivors: regions in order of first registration, each ascending by latency.
    versions : mapping of range to (epoch, version)
        Which state of each range that answered this is.
    missing_regions : list of str
        Geohashes of the regions that did not answer in time. Their nodes are neither survivors nor dead.
    empty_regions : list of str
        Geohashes of the regions that answered, where no node survives.
    """

    fleet: str
    threshold_ms: float
    at_ms: int
    handles: NDArray[np.uint32]
    _versions: dict[int, tuple[int, int]]
    _missing: tuple[str, ...]
    _all_ids: Strings
    _cells: NDArray[np.uint64]
    _starts: NDArray[np.int64]

    def __init__(
        self,
        fleet: str,
        threshold_ms: float,
        at_ms: int,
        ids: Strings,
        cells: NDArray[np.uint64],
        starts: NDArray[np.int64],
        handles: NDArray[np.uint32],
        versions: Mapping[int, tuple[int, int]],
        missing_regions: list[str],
    ) -> None:
        self.__setstate__(
            {
                "fleet": fleet,
                "threshold_ms": threshold_ms,
                "at_ms": at_ms,
                "handles": handles,
                "_versions": dict(versions),
                "_missing": tuple(missing_regions),
                "_all_ids": ids,
                "_cells": cells,
                "_starts": starts,
            }
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Survivors are immutable; {name} can't be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Survivors are immutable; {name} can't be deleted")

    @cached_property
    def ids(self) -> Strings:
        """object[s] of str: the survivors' ids, in the order of ``faultset()`` on registration order."""
        ids = self._all_ids[self.handles]
        ids.flags.writeable = False
        return ids

    @cached_property
    def by_region(self) -> Mapping[str, Strings]:
        """Survivors' ids by region (geohash), for regions that have any; made as it is looked at."""
        return _ByRegion(self)

    @property
    def versions(self) -> dict[int, tuple[int, int]]:
        """See the class."""
        return dict(self._versions)

    @property
    def missing_regions(self) -> list[str]:
        """See the class."""
        return list(self._missing)

    @property
    def empty_regions(self) -> list[str]:
        """See the class."""
        return [str(text) for text in cells_to_strings(self._cells[np.diff(self._starts) == 0])]

    @property
    def whole(self) -> bool:
        """Whether every region answered."""
        return not self._missing

    def __len__(self) -> int:
        return len(self.handles)

    def __repr__(self) -> str:
        missing = f", {len(self._missing)} regions missing" if self._missing else ""
        return f"Survivors({self.fleet!r}, {len(self):,} of threshold {self.threshold_ms:g} ms{missing})"

    def __getstate__(self) -> dict[str, Any]:
        """Only the survivors' own ids travel, not the fleet's."""
        state = {**self.__dict__, "ids": self.ids, "_all_ids": None}
        state.pop("by_region", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fill the instance; an array that came by an older pickle protocol is writable, and is not kept so."""
        for name, value in state.items():
            self.__dict__[name] = columns.frozen(value) if isinstance(value, np.ndarray) else value


class _ByRegion(Mapping[str, Strings]):
    def __init__(self, survivors: Survivors) -> None:
        self._survivors = survivors
        occupied = np.flatnonzero(np.diff(survivors._starts))  # noqa: SLF001 - one value in two classes
        names = cells_to_strings(survivors._cells[occupied])  # noqa: SLF001
        self._groups = {str(name): int(group) for name, group in zip(names, occupied, strict=True)}

    def __getitem__(self, region: str) -> Strings:
        group = self._groups[region]
        starts = self._survivors._starts  # noqa: SLF001
        return self._survivors.ids[starts[group] : starts[group + 1]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


def compose(parts: Sequence[RegionPart]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint32]]:
    """Put the cells of all parts into order of first registration.

    Returns
    -------
    cells : uint64[g]
    starts : int64[g + 1]
        Where each cell's survivors begin in ``handles``.
    handles : uint32[s]
    """
    if not parts:
        return np.empty(0, np.uint64), np.zeros(1, np.int64), np.empty(0, np.uint32)
    cells = np.concatenate([part.cells for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    handles = np.concatenate([part.handles for part in parts])
    order = np.argsort(np.concatenate([part.first for part in parts]), kind="stable")
    begins = (np.cumsum(counts) - counts)[order]
    counts = counts[order]
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    gather = np.arange(len(handles)) + np.repeat(begins - starts[:-1], counts)
    return cells[order], starts, handles[gather]
