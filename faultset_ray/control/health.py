"""What is known about the nodes of a range, in columns, and the decisions made from it: no clock, no I/O.

``absorb`` takes samples in, ``decide`` moves every node's state by one step. Both work in place on a
:class:`Health` that belongs to the caller alone; on a copy they are a dry run, in a loop a replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.evidence import evidence, statistic
from faultset_ray.control.health_columns import COLUMNS, FORMAT
from faultset_ray.control.policy import STATISTICS, Policy, Rules
from faultset_ray.control.states import Blocked, Mark, Rule, State, survival
from faultset_ray.errors import InputError
from faultset_ray.kernels import health as kernels
from faultset_ray.kernels import judge
from faultset_ray.kernels.find import find, index_of
from faultset_ray.kernels.group import Groups, group_cells
from faultset_ray.kernels.health import SKETCH_WORDS
from faultset_ray.kernels.select import select_grouped

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
    ejections : uint8[n]
        Those that count for the hold-down.
    sketch : uint64[n, 8] or uint64[0, 8]
        Weights of latencies by bucket, a byte each; without rows unless the policy compares p95.
    floats, times, words, halves, octets : float64[n, 8], int64[n, 8], uint32[n, 16], uint16[n, 32], uint8[n, 64]
        The lines that all columns but handles, cells, since_ms and until_ms are views of; for kernels.
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
    sketch: NDArray[np.uint64]

    def __init__(
        self,
        handles: NDArray[np.uint32],
        cells: NDArray[np.uint64],
        octets: NDArray[np.uint8],
        since_ms: NDArray[np.int64],
        until_ms: NDArray[np.int64],
        sketch: NDArray[np.uint64],
    ) -> None:
        self.handles, self.cells, self.since_ms, self.until_ms = handles, cells, since_ms, until_ms
        self.octets, self.sketch = octets, sketch
        self.floats, self.times = octets.view(np.float64), octets.view(np.int64)
        self.words, self.halves = octets.view(np.uint32), octets.view(np.uint16)
        views = {array.dtype: array for array in (octets, self.floats, self.times, self.words, self.halves)}
        for name, column in COLUMNS.items():
            if column.position is not None:
                setattr(self, name, views[np.dtype(column.kind)][:, column.position])

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
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
            kernels.lines(n if sketch else 0).view(np.uint64),
        )
        for name, column in COLUMNS.items():
            if column.position is not None and column.blank != 0:
                getattr(made, name)[:] = column.blank
        return made

    def __len__(self) -> int:
        return len(self.handles)

    @cached_property
    def groups(self) -> Groups:
        """The nodes' slots by cell, cells in order of their first node."""
        return group_cells(self.cells)

    @cached_property
    def group_of(self) -> NDArray[np.uint32]:
        """uint32[n]: the group of each slot."""
        order, starts, cells = self.groups
        groups = np.empty(len(order), np.uint32)
        groups[order] = np.repeat(np.arange(len(cells), dtype=np.uint32), np.diff(starts))
        return groups

    @cached_property
    def unmarked(self) -> NDArray[np.int64]:
        """int64[g]: how many nodes of each group have no mark, which are those that caps count."""
        return np.bincount(self.group_of[self.mark == Mark.NONE], minlength=len(self.groups.cells))

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
        enrolled.since_ms[kept], enrolled.until_ms[kept] = known.since_ms[here[kept]], known.until_ms[here[kept]]
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
            self.since_ms[taken],
            self.until_ms[taken],
            kernels.lines_of(self.sketch, taken if len(self.sketch) else taken[:0]),
        )

    @staticmethod
    def joined(parts: Sequence[Health]) -> Health:
        """Return the nodes of several ranges as one; no handle may be in two. At least one part."""
        sketched = any(len(part.sketch) for part in parts)
        parts = [part.with_sketch(wanted=sketched) for part in parts]

        def all_of(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts])

        names = ("handles", "cells", "octets", "since_ms", "until_ms", "sketch")
        return Health(*map(all_of, names)).take(np.argsort(all_of("handles"), kind="stable"))

    def with_sketch(self, *, wanted: bool) -> Health:
        """Return these nodes with or without a sketch, as a change of the policy may ask: itself, or a copy.

        A new sketch knows the last latency of each node.
        """
        if bool(len(self.sketch)) == wanted:
            return self
        changed = self.copy()
        changed.sketch = kernels.sketches_of(np.ascontiguousarray(self.last)) if wanted else changed.sketch[:0].copy()
        return changed

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
        found = columns["format"].tolist() if "format" in columns else None
        if found != [FORMAT]:
            raise InputError(f"health columns have format {found}; this version reads [{FORMAT}]")
        missing = [name for name in (*COLUMNS, "sketch") if name not in columns]
        if missing:
            raise InputError(f"health columns lack {', '.join(missing)}")
        n = len(columns["handles"])
        lengths = {name: len(columns[name]) for name in COLUMNS}
        if set(lengths.values()) != {n} or columns["sketch"].shape not in {(n, SKETCH_WORDS), (0, SKETCH_WORDS)}:
            raise InputError(f"health columns differ in length: {lengths}, sketch {columns['sketch'].shape}")
        made = cls.empty(columns["handles"], columns["cells"], sketch=len(columns["sketch"]) > 0)
        for name in (*COLUMNS, "sketch"):
            getattr(made, name)[:] = columns[name]
        return made

    def set_marks(self, slots: Slots, mark: Mark, now_ms: int) -> Changes:
        """Mark nodes, or with :attr:`Mark.NONE` take their marks away; return those that changed.

        A node that is out while its mark goes is judged anew by the next ``decide``: it was not counted
        by the cap.
        """
        slots = np.unique(slots[slots >= 0])
        slots = slots[self.mark[slots] != mark]
        before, survived = self.state[slots], survival(self.state[slots], self.mark[slots])
        self.mark[slots] = mark
        self.__dict__.pop("unmarked", None)  # counted anew when it is next needed
        if mark == Mark.NONE:
            out = slots[self.state[slots] >= State.EJECTED]
            self.state[out], self.until_ms[out], self.since_ms[out] = State.SUSPECT, 0, now_ms
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


def decide(health: Health, rules: Rules, now_ms: int, freeze: tuple[int, int] | None = None) -> Changes:
    """Move every node's state by one step, given the evidence so far.

    Where a cap limits the ejections of a region, the worst go first: failing nodes, then by the statistic,
    ties by handle. Where more are out than it allows, since nodes left or the policy is another, the best of
    them are taken back. So no region has more nodes out than its cap after this.

    Parameters
    ----------
    health : Health
        Changed in place.
    now_ms : int
        Not before that of an earlier call.
    freeze : (since_ms, until_ms), optional
        Until then no node is ejected, and who was ejected since is taken back.

    Returns
    -------
    Changes
        Nodes whose state changed.
    """
    frozen = freeze is not None and now_ms < freeze[1]
    lines = health.octets, health.words, health.halves, health.times
    slots = judge.active(*lines, rules.window_mask, rules.ttl_ms, now_ms)
    before = health.state[slots]
    candidates = np.empty(len(slots), np.int64)
    count = judge.judge(
        slots,
        *lines,
        health.since_ms,
        health.until_ms,
        now_ms,
        frozen,
        freeze[0] if freeze is not None else 0,
        rules.bad,
        rules.window_mask,
        rules.good,
        rules.hold_min_ms,
        rules.hold_max_ms,
        rules.ttl_ms,
        candidates,
    )
    _eject(health, slots, candidates[:count].copy(), rules, now_ms)
    changed = slots[health.state[slots] != before]
    before = before[health.state[slots] != before]
    survived = survival(before, health.mark[changed])
    return health._changes(  # noqa: SLF001 - columns of its own
        changed, before, survived, health.rule[changed], *evidence(health, changed, rules, now_ms)
    )


def _eject(health: Health, active: Slots, candidates: Slots, rules: Rules, now_ms: int) -> None:
    """Eject as many candidates as caps allow, the others are suspect; where too many are out, take some back."""
    admitted = np.ones(len(candidates), np.bool_)
    if rules.eject_numerator < rules.eject_denominator:
        out = active[(health.state[active] >= State.EJECTED) & (health.mark[active] == Mark.NONE)]
        room = health.unmarked * rules.eject_numerator // rules.eject_denominator
        room -= np.bincount(health.group_of[out], minlength=len(room))
        _take_back(health, out, -room, rules, now_ms)
        candidates = candidates[np.argsort(health.mark[candidates] == Mark.NONE, kind="stable")]  # marked ones first
        marked = int(np.count_nonzero(health.mark[candidates] != Mark.NONE))
        candidates[marked:] = _worst_first(health, candidates[marked:], rules)
        judge.admit(candidates[marked:], health.group_of, room, admitted[marked:])
    judge.eject(
        candidates,
        admitted,
        now_ms,
        rules.hold_min_ms,
        rules.hold_max_ms,
        health.octets,
        health.halves,
        health.since_ms,
        health.until_ms,
    )


def _take_back(health: Health, out: Slots, surplus: NDArray[np.int64], rules: Rules, now_ms: int) -> None:
    """Make the best of the nodes that are out suspects again, in each group as many as are more than its cap."""
    over = out[surplus[health.group_of[out]] > 0]
    if not len(over):
        return
    best_first = _worst_first(health, over, rules)[::-1]
    chosen = np.zeros(len(best_first), np.bool_)
    judge.admit(best_first, health.group_of, surplus.copy(), chosen)
    back = best_first[chosen]
    health.state[back], health.rule[back], health.blocked[back] = State.SUSPECT, Rule.CAPPED, Blocked.CAP
    health.since_ms[back], health.until_ms[back] = now_ms, 0


def _worst_first(health: Health, slots: Slots, rules: Rules) -> Slots:
    """Order nodes as they are ejected: failing ones, then by the statistic, ties by handle."""
    badness = np.where(health.failures[slots] > 0, np.inf, statistic(health, slots, rules))
    return slots[np.lexsort((slots, -badness))]


def survives(health: Health) -> NDArray[np.bool_]:
    """Return which nodes survive by state and mark: bool[n]."""
    return survival(health.state, health.mark)


def live_survivors(health: Health, rules: Rules) -> tuple[Slots, NDArray[np.int64]]:
    """Return who survives by state and mark.

    Returns
    -------
    slots : int64[s]
        Group after group (see :attr:`Health.groups`), each ascending by the policy's statistic, ties by
        handle; failing and unmeasured nodes last.
    counts : int64[g]
        Survivors of each group.
    """
    return _ranked(health, rules.statistic, _BY_STATE)


def plain_survivors(health: Health, threshold_ms: float) -> tuple[Slots, NDArray[np.int64]]:
    """Return who survives by the plain rule: the last sample did not fail and is at most the threshold.

    States are not asked, marks are. The result is as in :func:`live_survivors`, ordered by the last latency.
    """
    return _ranked(health, kernels.LAST, threshold_ms)


_BY_STATE = -1.0


def _ranked(health: Health, statistic_number: int, threshold_ms: float) -> tuple[Slots, NDArray[np.int64]]:
    ranks = judge.ranks(
        health.octets, health.halves, health.floats, health.sketch, statistic_number, float(threshold_ms)
    )
    return select_grouped(ranks, health.groups.order, health.groups.starts, np.inf)


def warm_up() -> None:
    """Compile all of the above, or load it from the cache: not within the first caller's deadline."""
    n = 4
    for policy in (Policy(eject_max=0.5), Policy(statistic="p95")):
        rules = policy.rules
        health = Health.empty(np.arange(n, dtype=np.uint32), np.full(n, 64, np.uint64), sketch=needs_sketch(rules))
        absorb(health, health.find(health.handles), np.array([np.nan, 3.0, 500.0, 500.0]), None, 0, rules)
        decide(health, rules, 1)
        live_survivors(health, rules)
        plain_survivors(health, 2.0)
        health.with_sketch(wanted=True)
