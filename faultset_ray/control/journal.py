"""What changed in a range, in order: columns of events, each with a version of its own.

A journal is bounded. Whoever asks for more than it still has is told so, and never given a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.health import Health
from faultset_ray.control.packed import Packed
from faultset_ray.control.states import Mark, Rule, survival
from faultset_ray.errors import HistoryLost
from faultset_ray.limits import JOURNAL_BYTES_A_NODE, JOURNAL_BYTES_MIN

_DTYPES: Final = {
    "version": np.int64,
    "at_ms": np.int64,
    "handle": np.uint32,
    "before": np.uint8,
    "after": np.uint8,
    "rule": np.uint8,
    "value": np.float64,
    "threshold": np.float64,
    "survived": np.bool_,
    "survives": np.bool_,
    "mark": np.uint8,
    "cell": np.uint64,
}
_MERGED_MAX: Final = 1 << 14
"""Blocks up to so many events are joined with those that come after them: each costs some 2 KB beside its events."""


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Changes of nodes, ascending by version; columns of one length, not changed once they are made."""

    version: NDArray[np.int64]
    """int64[k]: the version of the range from which on it holds; strictly ascending."""
    at_ms: NDArray[np.int64]
    """int64[k]"""
    handle: NDArray[np.uint32]
    """uint32[k]"""
    before: NDArray[np.uint8]
    """uint8[k]: the state until then (:class:`~faultset_ray.control.states.State`)."""
    after: NDArray[np.uint8]
    """uint8[k]"""
    rule: NDArray[np.uint8]
    """uint8[k]: why (:class:`~faultset_ray.control.states.Rule`)."""
    value: NDArray[np.float64]
    """float64[k]: what the rule looked at."""
    threshold: NDArray[np.float64]
    """float64[k]: what it compared that with."""
    survived: NDArray[np.bool_]
    """bool[k]: whether it survived until then."""
    survives: NDArray[np.bool_]
    """bool[k]: whether it does from then on."""
    mark: NDArray[np.uint8]
    """uint8[k]: its mark from then on (:class:`~faultset_ray.control.states.Mark`)."""
    cell: NDArray[np.uint64]
    """uint64[k]: the region that it was in; 0 in journals of format 1, which did not say."""

    @classmethod
    def none(cls) -> Self:
        """No events."""
        return cls(*(np.empty(0, dtype) for dtype in _DTYPES.values()))

    @classmethod
    def joined(cls, blocks: Sequence[Self]) -> Self:
        """The events of all blocks, in their order; a single block is shared."""
        if not blocks:
            return cls.none()
        if len(blocks) == 1:
            return blocks[0]
        return cls(*(np.concatenate([getattr(block, name) for block in blocks]) for name in _DTYPES))

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Plain arrays by name, for files; they are shared."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Self:
        """The opposite of :meth:`to_columns`; columns of before there were ``survived`` and others do too."""
        if "cell" not in columns:
            columns = _completed(columns)
        return cls(*(np.asarray(columns[name], dtype) for name, dtype in _DTYPES.items()))

    def __len__(self) -> int:
        return len(self.version)

    def __getitem__(self, rows: slice) -> Events:
        """Some of the events; the arrays are views."""
        return Events(*(getattr(self, name)[rows] for name in _DTYPES))

    def after_version(self, version: int) -> Events:
        """Those that are newer than ``version``."""
        return self[int(np.searchsorted(self.version, version, side="right")) :]

    def until_version(self, version: int) -> Events:
        """Those that are no newer than ``version``."""
        return self[: int(np.searchsorted(self.version, version, side="right"))]


def _completed(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Columns of format 1 with what can be told of the others: marks from the rules that set them, else none."""
    rule = columns["rule"]
    mark = np.select([rule == Rule.DRAINED, rule == Rule.PINNED], [Mark.DRAIN, Mark.PIN], Mark.NONE).astype(np.uint8)
    return {
        **columns,
        "survived": survival(columns["before"], np.zeros_like(mark)),
        "survives": survival(columns["after"], mark),
        "mark": mark,
        "cell": np.zeros(len(rule), np.uint64),
    }


class Journal:
    """The newest events of a range, packed, and read beside its nodes.

    Kept are as many as :data:`~faultset_ray.limits.JOURNAL_BYTES_A_NODE` a node hold, a little more than one for each,
    and in small ranges :data:`~faultset_ray.limits.JOURNAL_BYTES_MIN`. What was decided last stays whole.

    Parameters
    ----------
    home
        The nodes of the range.
    floor
        The version behind which every event is there.
    bytes_min
        What it may always take up.
    """

    def __init__(self, home: Health, floor: int = 0, bytes_min: int = JOURNAL_BYTES_MIN) -> None:
        self.floor = floor
        self._home = home
        self._bytes_min = bytes_min
        self._blocks: list[Packed] = []

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return sum(block.nbytes for block in self._blocks)

    @property
    def _bytes_max(self) -> int:
        return max(self._bytes_min, JOURNAL_BYTES_A_NODE * len(self._home))

    def rehome(self, home: Health) -> None:
        """Go on beside these nodes of the range, in place of those of before; events say what they said."""
        before, self._home = self._home, home
        if not (np.array_equal(before.handles, home.handles) and np.array_equal(before.cells, home.cells)):
            self._blocks = [block.rehomed(before, home) for block in self._blocks]
            self._forget()

    def append(self, events: Events) -> None:
        """Add what is newer than all that is there, and forget the oldest if there is too much."""
        if not len(events):
            return
        first, count = len(self._blocks), len(events)
        while first and len(self._blocks[first - 1]) <= min(2 * count, _MERGED_MAX):
            first -= 1
            count += len(self._blocks[first])
        whole = Events.joined([*(self._read(block, 0, len(block)) for block in self._blocks[first:]), events])
        self._blocks[first:] = [Packed.of(whole.to_columns(), self._home)]
        self._forget()

    def since(self, version: int, limit: int | None = None, until: int | None = None) -> Events:
        """The events newer than ``version``, oldest first.

        Parameters
        ----------
        version
            The last one that is known already.
        limit
            At most so many.
        until
            None newer than this version.

        Raises
        ------
        HistoryLost
            Some of them were forgotten.
        """
        if version < self.floor:
            raise HistoryLost(version, self.floor)
        found: list[Events] = []
        room = len(self) if limit is None else limit
        for block in self._blocks:
            start = block.until(version)
            stop = min(start + room, len(block) if until is None else block.until(until))
            if stop > start:
                room -= stop - start
                found.append(self._read(block, start, stop))
        return Events.joined(found)

    def _read(self, block: Packed, start: int, stop: int) -> Events:
        return Events.from_columns(block.columns(start, stop, self._home))

    def _forget(self) -> None:
        """Let go of the oldest, a sixteenth more than has to go, so that it is not cut again at once."""
        surplus = self.nbytes - self._bytes_max
        if surplus <= 0:
            return
        surplus += self._bytes_max // 16
        while surplus > 0 and len(self._blocks) > 1:
            oldest = self._blocks[0]
            rows = min(len(oldest), 1 + surplus * len(oldest) // oldest.nbytes)
            self.floor = oldest.version_of(rows - 1)
            surplus -= oldest.nbytes
            if rows == len(oldest):
                del self._blocks[0]
            else:
                kept = self._read(oldest, rows, len(oldest))
                self._blocks[0] = Packed.of(kept.to_columns(), self._home)
