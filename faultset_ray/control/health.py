"""What is known about the nodes of a range, in columns, and how samples come in: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.health_columns import ADDED, COLUMNS, FORMAT, NO_THRESHOLDS, numbered
from faultset_ray.control.states import Mark, Rule, survival
from faultset_ray.errors import InputError
from faultset_ray.kernels import health as kernels
from faultset_ray.kernels.find import find, index_of
from faultset_ray.kernels.group import Groups, group_cells, numbers_of
from faultset_ray.kernels.health import SKETCH_WORDS
from faultset_ray.policy import STATISTICS, Rules

Slots = NDArray[np.int64]


class Changes(NamedTuple):
    """Nodes whose state or mark changed, ascending by handle; arrays of equal length."""

    handles: NDArray[np.uint32]
    before: NDArray[np.uint8]
    """:class:`~faultset_ray.control.states.State` before and after; equal where only the mark changed."""
    after: NDArray[np.uint8]
    rule: NDArray[np.uint8]
    """:class:`~faultset_ray.control.states.Rule`: why; it says what ``value`` and ``threshold`` are."""
    value: NDArray[np.float64]
    threshold: NDArray[np.float64]
    survived: NDArray[np.bool_]
    """Whether each was a survivor before, and is one now: state and mark together say so."""
    survives: NDArray[np.bool_]
    mark: NDArray[np.uint8]
    """:class:`~faultset_ray.control.states.Mark` now."""
    cells: NDArray[np.uint64]
    """The regions that they are in."""

    @classmethod
    def joined(cls, parts: Sequence[Changes]) -> Self:
        """Those of all parts, one after the other."""
        return cls(*(np.concatenate([part[column] for part in parts]) for column in range(len(cls._fields))))

    def settled(self, decided: Changes) -> tuple[Self, Self]:
        """Join what was decided about nodes to the changes of this, just before, in which their marks went.

        Without its mark a node counts for the cap, and only with the decision after is it known what it is. So
        nobody is told anything in between.

        Returns
        -------
        marked, rest : Changes
            These, the nodes as they were decided to be; and the others of ``decided``.
        """
        freed = np.flatnonzero(self.rule == Rule.UNMARKED)
        _, mine, theirs = np.intersect1d(self.handles[freed], decided.handles, return_indices=True)
        marked = self.joined([self])
        marked.after[freed[mine]], marked.survives[freed[mine]] = decided.after[theirs], decided.survives[theirs]
        rest: list[Any] = [np.delete(column, theirs) for column in decided]
        return marked, type(self)(*rest)

    def __len__(self) -> int:
        return len(self.handles)


class Health:
    """Columns of the nodes of one range, ascending by handle; a slot is a position in them.

    Attributes
    ----------
    handles, cells : uint32[n], uint64[n]
    last : float64[n]
        The last latency in ms that was measured; NaN where none was.
    ewma, weight, peak : float64[n]
        Mean of the latencies weighted by age, the sum of these weights, and the decaying maximum.
    last_ms, measured_ms : int64[n]
        When the last sample was taken, and the last that did not fail; -1 for never.
    window : uint32[n]
        The last 32 samples, the newest in bit 0, 1 for a bad one.
    good, failures : uint16[n]
        Good samples in a row, failed samples in a row; they stop at 65,535.
    state, mark, rule, blocked : uint8[n]
        See :mod:`faultset_ray.control.states`.
    since_ms, until_ms : int64[n]
        When the state was entered; until when it is held, 0 for no hold-down.
    value, threshold : float64[n]
        What the rule looked at when it came to hold, and what it compared that with; NaN for nothing.
    ejections : uint8[n]
        Those that count for the hold-down.
    thresholds : float64[p]
        All values of ``threshold``, NaN the first: there are few, so a node has the number of its own in two bytes.
    sketch : uint64[n, 8] or uint64[0, 8]
        Weights of latencies by bucket, a byte each; without rows unless the policy compares p95.
    floats, times, words, halves, octets : float64[n, 8], int64[n, 8], uint32[n, 16], uint16[n, 32], uint8[n, 64]
        The lines that the columns from last to ejections are views of; for kernels.
    entered : int64[n, 3]
        What since_ms, until_ms and value are views of.
    """

    handles: NDArray[np.uint32]
    cells: NDArray[np.uint64]
    last: NDArray[np.float64]
    ewma: NDArray[np.float64]
    weight: NDArray[np.float64]
    peak: NDArray[np.float64]
    last_ms: NDArray[np.int64]
    measured_ms: NDArray[np.int64]
    window: NDArray[np.uint32]
    good: NDArray[np.uint16]
    failures: NDArray[np.uint16]
    state: NDArray[np.uint8]
    mark: NDArray[np.uint8]
    rule: NDArray[np.uint8]
    blocked: NDArray[np.uint8]
    ejections: NDArray[np.uint8]
    since_ms: NDArray[np.int64]
    until_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    sketch: NDArray[np.uint64]

    def __init__(
        self,
        handles: NDArray[np.uint32],
        cells: NDArray[np.uint64],
        octets: NDArray[np.uint8],
        entered: NDArray[np.int64],
        sketch: NDArray[np.uint64],
        thresholds: NDArray[np.float64] = NO_THRESHOLDS,
    ) -> None:
        self.handles, self.cells, self.octets, self.entered, self.sketch = handles, cells, octets, entered, sketch
        self.thresholds = thresholds
        self.floats, self.times = octets.view(np.float64), octets.view(np.int64)
        self.words, self.halves = octets.view(np.uint32), octets.view(np.uint16)
        noted = {array.dtype: array for array in (entered, entered.view(np.float64))}
        views = {array.dtype: array for array in (octets, self.floats, self.times, self.words, self.halves)}
        for name, column in COLUMNS.items():
            if column.position is not None:
                setattr(self, name, views[np.dtype(column.kind)][:, column.position])
            elif column.entered is not None:
                setattr(self, name, noted[np.dtype(column.kind)][:, column.entered])

    @classmethod
    def empty(cls, handles: NDArray[np.uint32], cells: NDArray[np.uint64], *, sketch: bool = False) -> Self:
        """Make the columns of nodes of which nothing is known.

        Parameters
        ----------
        handles, cells : uint32[n], uint64[n]
            Ascending by handle; copied.
        sketch : bool
            Whether there is to be one; see :func:`needs_sketch`.
        """
        n = len(handles)
        made = cls(
            np.array(handles, np.uint32),
            np.array(cells, np.uint64),
            kernels.lines(n),
            np.zeros((n, kernels.VALUE + 1), np.int64),
            kernels.lines(n if sketch else 0).view(np.uint64),
        )
        for name, column in COLUMNS.items():
            if column.blank != 0 and name != "threshold":
                getattr(made, name)[:] = column.blank
        return made

    def __len__(self) -> int:
        return len(self.handles)

    @property
    def threshold(self) -> NDArray[np.float64]:
        """float64[n], read only: made of ``thresholds`` whenever it is asked for."""
        return self.threshold_of(slice(None))

    def threshold_of(self, slots: Slots | slice) -> NDArray[np.float64]:
        """Return the thresholds of some nodes; float64[m]."""
        return self.thresholds[self.halves[slots, kernels.THRESHOLD]]

    def note(self, slots: Slots, value: NDArray[np.float64], threshold: NDArray[np.float64]) -> None:
        """Keep what the rules of some nodes looked at as they came to hold, and what they compared that with."""
        if not len(slots):
            return
        self.value[slots] = value
        self.thresholds, numbers = numbered(self.thresholds, threshold, self.halves[:, kernels.THRESHOLD])
        self.halves[slots, kernels.THRESHOLD] = numbers

    @cached_property
    def groups(self) -> Groups:
        """The nodes' slots by cell, cells in order of their first node; ``order`` and ``starts`` are uint32."""
        order, starts, cells = group_cells(self.cells)
        return Groups(order.astype(np.uint32), starts.astype(np.uint32), cells)

    @cached_property
    def group_of(self) -> NDArray[np.uint32]:
        """uint32[n]: the group of each slot."""
        return numbers_of(self.groups, np.uint32)

    @cached_property
    def unmarked(self) -> NDArray[np.int32]:
        """int32[g]: how many nodes of each group have no mark, which are those that caps count."""
        counts = np.bincount(self.group_of[self.mark == Mark.NONE], minlength=len(self.groups.cells))
        return counts.astype(np.int32)

    def find(self, handles: NDArray[np.uint32]) -> Slots:
        """Return the slot of each handle, int64[m]; -1 where it is not here."""
        slots: Slots = find(self.handles, _own(handles), *self.handle_table)
        return slots

    @cached_property
    def handle_table(self) -> tuple[NDArray[np.uint32], int]:
        """What handles are found by; see :func:`~faultset_ray.kernels.find.index_of`."""
        return index_of(self.handles)

    def enroll(
        self,
        handles: NDArray[np.uint32],
        cells: NDArray[np.uint64],
        latency_ms: NDArray[np.float64],
        at_ms: NDArray[np.int64],
        rules: Rules,
    ) -> Health:
        """Return the columns of a new roster: these nodes and no others.

        What is known of a node that was here is kept. A registered latency is a sample, which counts if it is
        newer than the node's last; NaN is none, and tells nothing.

        Parameters
        ----------
        handles, cells, latency_ms, at_ms : uint32[n], uint64[n], float64[n], int64[n]
            Ascending by handle; may be read-only.
        """
        enrolled = Health.empty(handles, cells, sketch=needs_sketch(rules))
        known = self.with_sketch(wanted=needs_sketch(rules))
        here = self.find(enrolled.handles)
        kept = np.flatnonzero(here >= 0)
        enrolled.octets[kept] = known.octets[here[kept]]
        enrolled.entered[kept], enrolled.thresholds = known.entered[here[kept]], known.thresholds
        if len(enrolled.sketch):
            enrolled.sketch[kept] = known.sketch[here[kept]]
        measured = np.flatnonzero((at_ms > enrolled.last_ms) & ~np.isnan(latency_ms))
        absorb(enrolled, measured, latency_ms[measured], None, at_ms[measured], rules)
        return enrolled

    def take(self, slots: Slots | NDArray[np.bool_]) -> Health:
        """Return a copy of some nodes, by ascending slots or by a mask: the part of a range that moves."""
        taken = np.flatnonzero(slots) if slots.dtype == np.bool_ else slots.astype(np.int64)
        return Health(
            self.handles[taken],
            self.cells[taken],
            kernels.lines_of(self.octets, taken),
            self.entered[taken],
            kernels.lines_of(self.sketch, taken if len(self.sketch) else taken[:0]),
            self.thresholds,
        )

    @staticmethod
    def joined(parts: Sequence[Health]) -> Health:
        """Return the nodes of several ranges as one; no handle may be in two. At least one part."""
        sketched = any(len(part.sketch) for part in parts)
        parts = [part.with_sketch(wanted=sketched) for part in parts]

        def all_of(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts])

        names = ("handles", "cells", "octets", "entered", "sketch")
        order = np.argsort(all_of("handles"), kind="stable")
        whole = Health(*map(all_of, names)).take(order)
        whole.thresholds = parts[0].thresholds
        if any(part.thresholds is not whole.thresholds for part in parts):
            whole.set_thresholds(all_of("threshold")[order])
        return whole

    def with_sketch(self, *, wanted: bool) -> Health:
        """Return these nodes with or without a sketch, as a change of the policy may ask: itself, or a copy.

        A new sketch knows the last latency of each node.
        """
        if bool(len(self.sketch)) == wanted:
            return self
        changed = self.copy()
        changed.sketch = kernels.sketches_of(np.ascontiguousarray(self.last)) if wanted else changed.sketch[:0].copy()
        return changed

    def set_thresholds(self, threshold: NDArray[np.float64]) -> None:
        """Keep float64[n] as the thresholds of all nodes."""
        numbers = self.halves[:, kernels.THRESHOLD]
        numbers[:] = 0
        self.thresholds, numbers[:] = numbered(NO_THRESHOLDS, threshold, numbers)

    def copy(self) -> Health:
        """Return columns of its own, for a dry run."""
        return self.take(np.arange(len(self)))

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name, and the version of their format: plain arrays, copied."""
        columns = {name: np.array(getattr(self, name)) for name in (*COLUMNS, "sketch")}
        return {"format": np.array([FORMAT], np.int64), **columns}

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Health:
        """Make health of what :meth:`to_columns` gave; the arrays are copied, so they may be read-only.

        Raises
        ------
        InputError
            If the columns are of another format, incomplete, or not of one length.
        """
        found = int(columns["format"][0]) if "format" in columns else None
        if found not in (*ADDED, FORMAT):
            raise InputError(f"health columns have format {found}; this version reads up to {FORMAT}")
        blank = ADDED.get(found, ())
        missing = [name for name in (*COLUMNS, "sketch") if name not in columns and name not in blank]
        if missing:
            raise InputError(f"health columns lack {', '.join(missing)}")
        n = len(columns["handles"])
        lengths = {name: len(columns[name]) for name in COLUMNS if name not in blank}
        if set(lengths.values()) != {n} or columns["sketch"].shape not in {(n, SKETCH_WORDS), (0, SKETCH_WORDS)}:
            raise InputError(f"health columns differ in length: {lengths}, sketch {columns['sketch'].shape}")
        made = cls.empty(columns["handles"], columns["cells"], sketch=len(columns["sketch"]) > 0)
        for name in (*lengths, "sketch"):
            if name == "threshold":
                made.set_thresholds(columns[name])
            else:
                getattr(made, name)[:] = columns[name]
        return made

    def set_marks(self, slots: Slots, mark: Mark) -> Changes:
        """Mark nodes, or with :attr:`Mark.NONE` take their marks away; return those that changed.

        Their states stay. A node that is out while its mark goes is counted by the cap from then on, and the next
        ``decide`` takes some back where there are too many; see :meth:`Changes.settled`.
        """
        slots = slots[slots >= 0]
        slots = np.unique(slots[self.mark[slots] != mark])
        before, survived = self.state[slots], survival(self.state[slots], self.mark[slots])
        self.mark[slots] = mark
        self.__dict__.pop("unmarked", None)  # counted anew when it is next needed
        rule = {Mark.DRAIN: Rule.DRAINED, Mark.PIN: Rule.PINNED, Mark.NONE: Rule.UNMARKED}[mark]
        nothing = np.full(len(slots), np.nan)
        return self._changes(slots, before, survived, np.full(len(slots), rule, np.uint8), nothing, nothing)

    def _changes(
        self,
        slots: Slots,
        before: NDArray[np.uint8],
        survived: NDArray[np.bool_],
        rule: NDArray[np.uint8],
        value: NDArray[np.float64],
        threshold: NDArray[np.float64],
    ) -> Changes:
        """What became of some nodes, beside what they were and why."""
        after, mark = self.state[slots], self.mark[slots]
        surviving = survival(after, mark)
        return Changes(
            self.handles[slots], before, after, rule, value, threshold, survived, surviving, mark, self.cells[slots]
        )


def needs_sketch(rules: Rules) -> bool:
    """Tell whether a policy compares p95."""
    return STATISTICS[rules.statistic] == "p95"


def absorb(
    health: Health,
    slots: Slots,
    latency_ms: NDArray[np.float64],
    ok: NDArray[np.bool_] | None,
    at_ms: int | NDArray[np.int64],
    rules: Rules,
) -> int:
    """Take samples in, in their order; several of one node may be among them.

    Parameters
    ----------
    health : Health
        Changed in place.
    slots : int64[m]
        Where each sample belongs; a negative one is passed over.
    latency_ms : float64[m]
        Not negative; NaN is a failed sample.
    ok : bool[m], optional
        False is a failed sample too.
    at_ms : int or int64[m]
        When each was taken, not negative. One older than its node's last is passed over.

    Returns
    -------
    int
        How many were taken.
    """
    m = len(slots)
    latency_ms = _own(latency_ms)
    taken, _ = kernels.absorb_samples(
        slots,
        latency_ms,
        latency_ms.view(np.uint64),
        np.ones(m, np.bool_) if ok is None else _own(ok),
        _own(at_ms) if isinstance(at_ms, np.ndarray) else np.full(m, at_ms, np.int64),
        health.floats,
        health.times,
        health.words,
        health.halves,
        health.sketch,
        rules.statistic,
        rules.threshold_ms,
        rules.recover_ms,
        rules.half_life_ms,
        kernels.bucket_above(rules.threshold_ms),
        kernels.bucket_above(rules.recover_ms),
    )
    return int(taken)


def _own(array: NDArray[Any]) -> NDArray[Any]:
    """Copy what is read-only, as arrays from Ray are: kernels would be compiled once more for it."""
    return array if array.flags.writeable and array.flags.c_contiguous else array.copy()
