"""Regions that did not answer: named when somebody looks, since there may be hundreds of thousands of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.geohash import cells_to_strings


class Missing:
    """What was not heard of, range by range.

    Parameters
    ----------
    cells : mapping of range to uint64[n]
        The cell of each node that it is about, in any order and as often as it has nodes.
    saved_ms : mapping of range to int
        When what was last saved of a range was made.
    at_ms : int
        When it was asked.
    """

    def __init__(
        self, cells: Mapping[int, NDArray[np.uint64]], saved_ms: Mapping[int, int] | None = None, at_ms: int = 0
    ) -> None:
        self._cells = cells
        self._saved_ms = saved_ms or {}
        self._at_ms = at_ms

    def __bool__(self) -> bool:
        """Whether any region is missing; a range without nodes has none."""
        return any(len(cells) for cells in self._cells.values())

    @cached_property
    def cells(self) -> NDArray[np.uint64]:
        """uint64[m], ascending: the regions' cells, each once."""
        return np.unique(np.concatenate([np.empty(0, np.uint64), *self._cells.values()]))

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """Geohashes, range by range in Z-order."""
        return tuple(region for regions in self._by_range.values() for region in regions)

    @cached_property
    def ages_ms(self) -> dict[str, int | None]:
        """How old what was last saved of each region is; None where nothing was."""
        return {region: self._age_ms(range_id) for range_id, regions in self._by_range.items() for region in regions}

    @cached_property
    def _by_range(self) -> dict[int, list[str]]:
        return {range_id: cells_to_strings(np.unique(cells)).tolist() for range_id, cells in self._cells.items()}

    def _age_ms(self, range_id: int) -> int | None:
        return max(self._at_ms - self._saved_ms[range_id], 0) if range_id in self._saved_ms else None


class Told(int):
    """How many were told of what a verb says, and the regions that did not answer in time: an int with two words more.

    These may still have heard it.
    """

    _missing: Missing | Sequence[str]

    def __new__(cls, count: int, missing: Missing | Sequence[str] = ()) -> Self:
        """An int with what was not heard of."""
        told = super().__new__(cls, count)
        told._missing = missing
        return told

    @property
    def whole(self) -> bool:
        """Whether every region answered."""
        return not self._missing

    @property
    def missing_regions(self) -> list[str]:
        """Geohashes of the regions that did not answer in time."""
        missing = self._missing
        return list(missing.regions if isinstance(missing, Missing) else missing)

    def __reduce__(self) -> tuple[Any, ...]:
        return Told, (int(self), self.missing_regions)
