"""What is kept of a range in case its servant dies: its nodes' health, and the journal that goes with it.

A whole checkpoint stands alone. An increment holds only the nodes that changed state since an older
version, and the events behind those changes; it is small, so it is made often, and what was in one is
what a watcher may see. Measurements between two whole checkpoints are lost with the servant, changes of
state are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.alarms import Alarms
from faultset_ray.control.health import Health
from faultset_ray.control.journal import Events
from faultset_ray.control.passage import Passage, Rows, below
from faultset_ray.control.ranges import range_of

Columns = dict[str, NDArray[Any]]

_FORMAT: Final = 2
_FORMATS_READ: Final = (1, 2)
"""Events of format 1 do not say who survived, nor where; see :meth:`Events.from_columns`."""
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
    samples: int
    """Observations that its servant had taken."""
    health: Columns
    """What :meth:`Health.to_columns <faultset_ray.control.health.Health.to_columns>` gives."""
    events: Events
    """Of a whole one all that the journal had, of an increment those behind ``since``."""
    epochs: NDArray[np.int64]
    """int64[e]: the newest epochs of the range, ascending."""
    begins: NDArray[np.int64]
    """int64[e]: the version with which each of them began."""
    alarms: Alarms = field(default_factory=Alarms)
    passage: Passage = field(default_factory=Passage)
    policy: str = ""
    """By which the samples were judged, as JSON; empty for not known."""
    birth: str = ""
    """Of the fleet's history; empty where an earlier version made it."""

    @property
    def whole(self) -> bool:
        """Whether it stands alone."""
        return self.since < 0

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(column.nbytes for column in self.to_columns().values())

    def since_of(self, epoch: int, version: int) -> int:
        """The version here that follows on what a servant of ``epoch`` had at ``version``; see :func:`since_of`."""
        return since_of(self.epochs, self.begins, epoch, version)

    def to_columns(self) -> Columns:
        """Plain arrays by name, as ``numpy.savez`` takes them; they are shared."""
        scalars = (_FORMAT, self.epoch, self.version, self.since, self.at_ms, self.roster, self.floor, self.samples)
        return {
            "checkpoint": np.array(scalars, np.int64),
            "epochs": self.epochs,
            "begins": self.begins,
            **self.alarms.to_columns(),
            **self.passage.to_columns(),
            "policy": np.frombuffer(self.policy.encode(), np.uint8),
            "birth": np.frombuffer(self.birth.encode(), np.uint8),
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
        form, epoch, version, since, at_ms, roster, floor, samples = columns["checkpoint"].tolist()
        if form not in _FORMATS_READ:
            raise ValueError(f"a checkpoint of format {form}; this version reads {_FORMATS_READ}")
        return cls(
            epoch,
            version,
            since,
            at_ms,
            roster,
            floor,
            samples,
            below("health/", columns),
            Events.from_columns(below("events/", columns)),
            np.asarray(columns["epochs"], np.int64),
            np.asarray(columns["begins"], np.int64),
            Alarms.from_columns(columns),
            Passage.from_columns(columns),
            bytes(columns.get("policy", b"")).decode(),
            bytes(columns.get("birth", b"")).decode(),
        )

    def without_health(self) -> Checkpoint:
        """Only the journal: what those who watch read of a range that is no more."""
        return replace(self, health={}, passage=Passage())

    def set_back(self, by_ms: int) -> Checkpoint:
        """The same as if it had been made so much earlier: for who does not believe the clock that it was made by."""
        if by_ms == 0:
            return self
        parked = self.passage.parked
        parked = Rows(Health.from_columns(_set_back(parked.health.to_columns(), by_ms)), parked.rosters)
        return replace(
            self,
            at_ms=self.at_ms - by_ms,
            health=_set_back(self.health, by_ms),
            alarms=self.alarms.set_back(by_ms),
            passage=replace(self.passage, parked=parked),
        )

    def succeeded(self, epoch: int) -> Checkpoint:
        """This whole checkpoint as a servant of a new epoch goes on from it."""
        epochs = np.append(self.epochs, np.int64(epoch))[-_EPOCHS_MAX:]
        begins = np.append(self.begins, np.int64(self.version))[-_EPOCHS_MAX:]
        return replace(self, epoch=epoch, epochs=epochs, begins=begins)


def _set_back(health: Columns, by_ms: int) -> Columns:
    times = ("last_ms", "measured_ms", "since_ms", "until_ms")  # 0 and less stand for no time
    return {**health, **{name: np.where(health[name] > 0, health[name] - by_ms, health[name]) for name in times}}


def unsaved(epoch: int) -> Checkpoint:
    """What a servant of ``epoch`` goes on from whose predecessors died before anything was saved: nothing."""
    nothing = Health.empty(np.empty(0, np.uint32), np.empty(0, np.uint64)).to_columns()
    one = np.array([epoch], np.int64)
    return Checkpoint(epoch, 0, -1, 0, 0, 0, 0, nothing, Events.none(), one, one * 0)


def since_of(epochs: NDArray[np.int64], begins: NDArray[np.int64], epoch: int, version: int) -> int:
    """From where on someone missed nothing who knew a range as a servant of ``epoch`` had it at ``version``.

    What that servant had not saved when it died did not happen: then it is where its successor began.
    """
    later = np.flatnonzero(epochs > epoch)
    return min(version, int(begins[later[0]])) if len(later) else version


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
    return replace(
        increments[-1],
        since=-1,
        floor=whole.floor,
        health=newest_rows(
            [whole.health, *(increment.health for increment in increments)], increments[-1].passage.gone
        ),
        events=Events.joined(blocks),
    )


def divided(checkpoints: Sequence[Checkpoint], bounds: NDArray[np.uint64]) -> list[Checkpoint]:
    """The nodes of whole checkpoints as new ranges with these lower bounds, each at version 0 in its first epoch."""
    health = Health.joined([Health.from_columns(checkpoint.health) for checkpoint in checkpoints])
    alarms = Alarms.joined([checkpoint.alarms for checkpoint in checkpoints])
    passage = Passage.joined([checkpoint.passage for checkpoint in checkpoints])
    ones = np.ones(1, np.int64)

    def part(number: int) -> Checkpoint:
        def inside(cells: NDArray[np.uint64]) -> NDArray[np.bool_]:
            own: NDArray[np.bool_] = range_of(bounds, cells) == number
            return own

        return Checkpoint(
            epoch=1,
            version=0,
            since=-1,
            at_ms=max(checkpoint.at_ms for checkpoint in checkpoints),
            roster=max(checkpoint.roster for checkpoint in checkpoints),
            floor=0,
            samples=0,
            health=health.take(inside(health.cells)).to_columns(),
            events=Events.none(),
            epochs=ones,
            begins=ones * 0,
            alarms=alarms.of(inside),
            passage=passage.of(inside),
            policy=checkpoints[0].policy,
            birth=checkpoints[0].birth,
        )

    return [part(number) for number in range(len(bounds))]


def newest_rows(tables: Sequence[Columns], gone: NDArray[np.uint32]) -> Columns:
    """One table of the nodes of several; who is in more than one has the row of the last, who is ``gone`` none."""
    health, *later = map(Health.from_columns, tables)
    for newer in later:
        health = Health.joined([health.take(~np.isin(health.handles, newer.handles)), newer])
    return health.take(~np.isin(health.handles, gone)).to_columns()
