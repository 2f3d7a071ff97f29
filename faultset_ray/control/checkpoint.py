"""What is kept of a range in case its servant dies: its nodes' health, and the journal that goes with it.

A whole checkpoint stands alone. An increment holds only the nodes that changed state since an older
version, and the events behind those changes; it is small, so it is made often, and what was in one is
what a watcher may see. Measurements between two whole checkpoints are lost with the servant, changes of
state are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.journal import Events

Columns = dict[str, NDArray[Any]]

_FORMAT: Final = 1
_EPOCHS_MAX: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state of one range at one version; plain values and arrays, not changed once they are made."""

    epoch: int
    """The epoch of the servant that made it."""
    version: int
    """Everything up to this version is in it, and in what it builds on."""
    since: int
    """The version that it builds on; -1 when it is whole."""
    at_ms: int
    """The servant's clock when it was made."""
    roster: int
    """The roster of nodes that it is about."""
    floor: int
    """Events up to here were forgotten."""
    health: Columns
    """What :meth:`Health.to_columns <faultset_ray.control.health.Health.to_columns>` gives."""
    events: Events
    """Of a whole one all that the journal had, of an increment those behind ``since``."""
    epochs: NDArray[np.int64]
    """int64[e]: the newest epochs of the range, ascending."""
    begins: NDArray[np.int64]
    """int64[e]: the version with which each of them began."""

    @property
    def whole(self) -> bool:
        """Whether it stands alone."""
        return self.since < 0

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(column.nbytes for column in self.to_columns().values())

    def to_columns(self) -> Columns:
        """Plain arrays by name, as ``numpy.savez`` takes them; they are shared."""
        scalars = (_FORMAT, self.epoch, self.version, self.since, self.at_ms, self.roster, self.floor)
        return {
            "checkpoint": np.array(scalars, np.int64),
            "epochs": self.epochs,
            "begins": self.begins,
            **{f"health/{name}": column for name, column in self.health.items()},
            **{f"events/{name}": column for name, column in self.events.to_columns().items()},
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Self:
        """The opposite of :meth:`to_columns`.

        Raises
        ------
        ValueError
            It is of another format.
        """
        form, epoch, version, since, at_ms, roster, floor = columns["checkpoint"].tolist()
        if form != _FORMAT:
            raise ValueError(f"a checkpoint of format {form}; this version reads {_FORMAT}")
        return cls(
            epoch,
            version,
            since,
            at_ms,
            roster,
            floor,
            _below("health/", columns),
            Events.from_columns(_below("events/", columns)),
            np.asarray(columns["epochs"], np.int64),
            np.asarray(columns["begins"], np.int64),
        )

    def succeeded(self, epoch: int) -> Checkpoint:
        """This whole checkpoint as a servant of a new epoch goes on from it."""
        epochs = np.append(self.epochs, np.int64(epoch))[-_EPOCHS_MAX:]
        begins = np.append(self.begins, np.int64(self.version))[-_EPOCHS_MAX:]
        return replace(self, epoch=epoch, epochs=epochs, begins=begins)


def folded(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """A whole checkpoint and the increments after it, ascending by version, made into one whole.

    Where increments overlap, the newer one counts, and no event is taken twice.
    """
    whole, *increments = checkpoints
    assert whole.whole, "the first one stands alone"
    if not increments:
        return whole
    blocks, version = [whole.events], whole.version
    for increment in increments:
        assert increment.since <= version <= increment.version, "increments leave no gap"
        blocks.append(increment.events.after_version(version))
        version = increment.version
    newest = increments[-1]
    health = newest_rows([whole.health, *(increment.health for increment in increments)])
    return replace(newest, since=-1, floor=whole.floor, health=health, events=Events.joined(blocks))


def newest_rows(tables: Sequence[Columns]) -> Columns:
    """One table of all handles in ``tables``, each with its row in the last table that has it."""
    handles = np.concatenate([table["handle"] for table in tables])
    order = np.argsort(handles, kind="stable")
    last = np.append(np.diff(handles[order]) != 0, True)[: len(order)]
    rows = order[last]
    return {
        name: np.concatenate([table[name] for table in tables])[rows] if _is_column(column, tables[-1]) else column
        for name, column in tables[-1].items()
    }


def rows_of(table: Columns, handles: NDArray[np.uint32]) -> Columns:
    """The rows of those of ``handles`` (ascending) that are in ``table``."""
    rows = np.flatnonzero(np.isin(table["handle"], handles))
    return {name: column[rows] if _is_column(column, table) else column for name, column in table.items()}


def _is_column(column: NDArray[Any], table: Columns) -> bool:
    return column.ndim > 0 and len(column) == len(table["handle"])


def _below(prefix: str, columns: Mapping[str, NDArray[Any]]) -> Columns:
    return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}
