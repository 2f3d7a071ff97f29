"""Changes of nodes in a form for keeping: 14 bytes each in place of 50, with nothing rounded.

Versions and times come in runs. State, rule, mark and threshold of a change together are one of few kinds. The region
of a node is the one that it is in now, unless it came from another or is gone; so what is packed is read beside the
nodes of its range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.number import number_values

Column = NDArray[Any]

_FIELDS: Final = {"before": 3, "after": 3, "rule": 5, "mark": 2, "survived": 1, "survives": 1}
"""What is of one kind, beside its threshold, and in how many bits."""
_THRESHOLD_AT: Final = np.uint64(sum(_FIELDS.values()))


class Home(Protocol):
    """The nodes of a range; :class:`~faultset_ray.control.health.Health` is it."""

    cells: NDArray[np.uint64]

    def find(self, handles: NDArray[np.uint32]) -> NDArray[np.int64]:
        """The slot of each handle, -1 where it is not here."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A column that goes on by the same step for long: where each run of it begins, and with what."""

    rows: NDArray[np.uint32]
    values: NDArray[np.int64]
    step: int

    @classmethod
    def of(cls, column: NDArray[np.int64], step: int) -> Self:
        """Pack int64[k]."""
        level = column - step * np.arange(len(column))
        rows = np.flatnonzero(np.append(True, level[1:] != level[:-1])) if len(column) else np.empty(0, np.int64)
        return cls(rows.astype(np.uint32), column[rows], step)

    def part(self, start: int, stop: int) -> NDArray[np.int64]:
        """Rows ``start`` to ``stop`` of the column."""
        rows = np.arange(start, stop)
        run = np.searchsorted(self.rows, rows, side="right") - 1
        return self.values[run] + self.step * (rows - self.rows[run])

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.rows.nbytes + self.values.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Changes by ascending version, packed; at least one, not changed once they are made."""

    version: Runs
    at_ms: Runs
    handle: NDArray[np.uint32]
    kind: NDArray[np.uint16] | NDArray[np.int32]
    """[k]: which of ``kinds`` each is."""
    value: NDArray[np.float64]
    kinds: NDArray[np.uint64]
    """uint64[d]: the fields of a kind, and above them the number of its threshold."""
    thresholds: NDArray[np.float64]
    elsewhere: NDArray[np.uint32]
    """uint32[e]: rows whose region is not the one that their node is in."""
    regions: NDArray[np.uint64]
    """uint64[e]: which it is."""

    @classmethod
    def of(cls, columns: Mapping[str, Column], home: Home) -> Self:
        """Pack columns as those of :class:`~faultset_ray.control.journal.Events`.

        Raises
        ------
        ValueError
            A state, rule or mark is past all that there are.
        """
        threshold = number_values(columns["threshold"].view(np.uint64))
        key = threshold.number.astype(np.uint64) << _THRESHOLD_AT
        at = np.uint64(0)
        for name, bits in _FIELDS.items():
            if columns[name].max() >= 1 << bits:
                raise ValueError(f"{name} of a change is {columns[name].max()}; there are {1 << bits} at most")
            key |= columns[name].astype(np.uint64) << at
            at += np.uint64(bits)
        kind = number_values(key)
        narrow = kind.number.astype(np.uint16) if len(kind.cells) <= 1 << 16 else kind.number
        return cls(
            Runs.of(columns["version"], 1),
            Runs.of(columns["at_ms"], 0),
            columns["handle"].copy(),
            narrow,
            columns["value"].copy(),
            kind.cells.copy(),
            threshold.cells.view(np.float64).copy(),
            *_apart(columns["handle"], columns["cell"], home),
        )

    def __len__(self) -> int:
        return len(self.handle)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    @property
    def last(self) -> int:
        """Its newest version."""
        return self.version_of(len(self) - 1)

    def version_of(self, row: int) -> int:
        """The version of one row."""
        return int(self.version.part(row, row + 1)[0])

    def until(self, version: int) -> int:
        """How many of its rows are no newer than a version."""
        first = self.version.values
        run = int(np.searchsorted(first, version, side="right")) - 1
        if run < 0:
            return 0
        end = int(self.version.rows[run + 1]) if run + 1 < len(first) else len(self)
        return min(end, int(self.version.rows[run]) + version - int(first[run]) + 1)

    def cells(self, start: int, stop: int, home: Home) -> NDArray[np.uint64]:
        """uint64[stop - start]: the regions that some rows are about."""
        cells = _at_home(self.handle[start:stop], home)
        inside = slice(*np.searchsorted(self.elsewhere, (start, stop)))
        cells[self.elsewhere[inside] - start] = self.regions[inside]
        return cells

    def columns(self, start: int, stop: int, home: Home) -> dict[str, Column]:
        """The columns of some rows, as they were."""
        kinds = self.kinds[self.kind[start:stop]]
        threshold = self.thresholds[(kinds >> _THRESHOLD_AT).astype(np.int64)]
        found: dict[str, Column] = {
            "version": self.version.part(start, stop),
            "at_ms": self.at_ms.part(start, stop),
            "handle": self.handle[start:stop],
            "value": self.value[start:stop],
            "threshold": threshold,
            "cell": self.cells(start, stop, home),
        }
        at = np.uint64(0)
        for name, bits in _FIELDS.items():
            found[name] = (kinds >> at & np.uint64((1 << bits) - 1)).astype(np.uint8)
            at += np.uint64(bits)
        return found

    def rehomed(self, before: Home, home: Home) -> Self:
        """The same, to be read beside other nodes than before."""
        elsewhere, regions = _apart(self.handle, self.cells(0, len(self), before), home)
        return replace(self, elsewhere=elsewhere, regions=regions)


def _at_home(handles: NDArray[np.uint32], home: Home) -> NDArray[np.uint64]:
    slots = home.find(handles)
    cells = np.zeros(len(handles), np.uint64)
    here = slots >= 0
    cells[here] = home.cells[slots[here]]
    return cells


def _apart(
    handles: NDArray[np.uint32], cells: NDArray[np.uint64], home: Home
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Which rows are about another region than their node's, and which they are about."""
    rows = np.flatnonzero(_at_home(handles, home) != cells)
    return rows.astype(np.uint32), cells[rows]
