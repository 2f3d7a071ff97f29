"""What changed in a range, in order: columns of events, each with a version of its own.

A journal is bounded. Whoever asks for more than it still has is told so, and never given a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.states import Mark, Rule, survival
from faultset_ray.errors import HistoryLost
from faultset_ray.limits import JOURNAL_EVENTS_MAX

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
    def joined(cls, blocks: Sequence[Events]) -> Self:
        """The events of all blocks, in their order."""
        if not blocks:
            return cls.none()
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
    """The newest events of a range.

    Parameters
    ----------
    floor
        The version behind which every event is there.
    events_max
        How many are kept at least; whole blocks of older ones go.
    """

    def __init__(self, floor: int = 0, events_max: int = JOURNAL_EVENTS_MAX) -> None:
        self.floor = floor
        self._events_max = events_max
        self._blocks: deque[Events] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, events: Events) -> None:
        """Add what is newer than all that is there, and forget the oldest if there are too many."""
        if not len(events):
            return
        self._blocks.append(events)
        self._count += len(events)
        while self._count - len(self._blocks[0]) >= self._events_max:
            oldest = self._blocks.popleft()
            self._count -= len(oldest)
            self.floor = int(oldest.version[-1])

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
        room = self._count if limit is None else limit
        for block in self._blocks:
            if block.version[-1] > version and room > 0:
                newer = block.after_version(version)[:room]
                room -= len(newer)
                found.append(newer)
        events = Events.joined(found) if len(found) != 1 else found[0]
        return events if until is None else events.until_version(until)
