"""The servant that holds one range of a fleet and decides who in it survives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Servant
from faultset_ray.control.compose import RegionPart
from faultset_ray.errors import StaleEpoch
from faultset_ray.kernels.group import group_cells
from faultset_ray.kernels.select import select_grouped

Handles = NDArray[np.uint32]


class Region(Servant):
    """Columns of the nodes of one range, sorted by handle, owned by this servant alone.

    Its state is in memory: when it dies, a successor with a higher epoch is loaded from what the
    coordinator knows, which is what was registered; observations since then are lost.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._version = 0
        self._roster = 0
        self._handles = np.empty(0, np.uint32)
        self._cells = np.empty(0, np.uint64)
        self._latency = np.empty(0, np.float64)
        self._at_ms = np.empty(0, np.int64)
        _warm_up()
        self._group()

    def load(
        self,
        epoch: int,
        roster: int,
        handles: Handles,
        cells: NDArray[np.uint64],
        latency_ms: NDArray[np.float64],
        at_ms: NDArray[np.int64],
    ) -> int:
        """Take the whole roster of the range: these nodes and no others.

        Whole, since of increments one may be lost; so rosters may come in any order, and again.

        Parameters
        ----------
        epoch : int
            The epoch that the caller believes this servant to be of.
        roster : int
            Its number. One that is not newer than what is loaded changes nothing.
        handles : uint32[n]
            Ascending.
        cells, latency_ms, at_ms : uint64[n], float64[n], int64[n]
            Where each node is, its latency (NaN for no measurement) and when that was true; a later
            observation is kept.

        Returns
        -------
        int
            The version now.
        """
        self._check(epoch)
        if roster <= self._roster:
            return self._version
        slots, known = self._find(handles)
        observed = known.copy()
        observed[known] = self._at_ms[slots[known]] > at_ms[known]
        kept = slots[observed]
        latency_ms, at_ms = latency_ms.copy(), at_ms.copy()  # the caller's may be read-only
        latency_ms[observed], at_ms[observed] = self._latency[kept], self._at_ms[kept]
        self._roster, self._handles, self._cells = roster, handles, cells
        self._latency, self._at_ms = latency_ms, at_ms
        self._group()
        self._version += 1
        return self._version

    def observe(self, epoch: int, handles: Handles, latency_ms: NDArray[np.float64], at_ms: int) -> int:
        """Take the latest latencies; older than what is known, and unknown nodes, are passed over.

        Parameters
        ----------
        handles, latency_ms : uint32[n], float64[n]
            NaN for a node that could not be measured.

        Returns
        -------
        int
            How many were taken.
        """
        self._check(epoch)
        slots, known = self._find(handles)
        newer = known.copy()
        newer[known] = self._at_ms[slots[known]] <= at_ms
        self._latency[slots[newer]] = latency_ms[newer]
        self._at_ms[slots[newer]] = at_ms
        self._version += 1
        return int(newer.sum())

    def survivors(self, threshold_ms: float) -> RegionPart:
        """Run the failover: in each cell, the nodes at or below the threshold, by latency."""
        groups = self._groups
        indices, counts = select_grouped(self._latency, groups.order, groups.starts, threshold_ms)
        return RegionPart(
            self._epoch,
            self._version,
            self._roster,
            groups.cells,
            self._handles[groups.order[groups.starts[:-1]]],
            counts,
            self._handles[indices],
        )

    def _check(self, epoch: int) -> None:
        if epoch != self._epoch:
            raise StaleEpoch("region", epoch, self._epoch)

    def _find(self, handles: Handles) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Slot of each handle, and whether it is really there."""
        slots = np.searchsorted(self._handles, handles)
        known = slots < len(self._handles)
        known[known] = self._handles[slots[known]] == handles[known]
        return slots, known

    def _group(self) -> None:
        """Cells in order of first registration: slots are sorted by handle, and grouping is stable."""
        self._groups = group_cells(self._cells)


def _warm_up() -> None:
    """Compile the kernels now, not within the first caller's deadline."""
    groups = group_cells(np.array([64, 64, 128], np.uint64))
    select_grouped(np.array([3.0, 1.0, 2.0]), groups.order, groups.starts, 2.0)
