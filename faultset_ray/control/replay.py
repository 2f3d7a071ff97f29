"""Recorded traces against any policy: what it would have done, and how well.

A replay is ``absorb`` and ``decide`` in a loop, with the trace's own time. Where the trace says which nodes were
truly bad, the report also says how soon that was noticed and how often a good node was ejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.control.health import Changes, Health, absorb, decide, needs_sketch
from faultset_ray.control.policy import Policy
from faultset_ray.control.states import State
from faultset_ray.control.trace import Trace
from faultset_ray.errors import InputError
from faultset_ray.limits import DECIDE_MS

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Report:
    """What one policy did with a trace. Fields about truth are None where the trace has none."""

    nodes: int
    samples: int
    ejections: int
    readmissions: int
    flaps: int
    """Ejections of a node that had been ejected and re-admitted before, without a change of truth in between."""
    out_s: float
    """Seconds that nodes were out, summed over nodes; so are the other sums."""
    peak_out: float
    """The highest share of a region's nodes that was out at once."""
    false_ejections: int | None = None
    """Of nodes that were good."""
    false_out_s: float | None = None
    """Seconds that good nodes were out."""
    unseen_bad_s: float | None = None
    """Seconds that bad nodes were survivors."""
    episodes: int | None = None
    """Times that a node was bad, each from its first bad sample to its next good one."""
    detected: int | None = None
    """Episodes in which the node was no survivor at some time."""
    detection_ms_median: float | None = None
    """From an episode's first sample to the decision; None where none was detected."""
    detection_ms_max: float | None = None
    detection_samples_max: int | None = None
    """The episode's samples until the decision, its first included."""


def replay(trace: Trace, policy: Policy, *, tick_ms: int = DECIDE_MS) -> Report:
    """Run a trace against a policy.

    Parameters
    ----------
    tick_ms : int
        Samples of so many milliseconds are taken together, and then decided about.

    Raises
    ------
    InputError
        If ``tick_ms`` is no integer of at least 1.
    """
    if not columns.is_integer(tick_ms) or tick_ms < 1:
        raise InputError(f"tick_ms is {tick_ms!r}; expected an integer of at least 1")
    run = Replay(policy, trace.cells)
    ticks = trace.at_ms // tick_ms
    edges = [*np.flatnonzero(np.diff(ticks, prepend=-1)).tolist(), len(ticks)]
    for begin, end in pairwise(edges):
        batch = slice(begin, end)
        bad = None if trace.bad is None else trace.bad[batch]
        run.feed(trace.at_ms[batch], trace.nodes[batch], trace.latency_ms[batch], trace.ok[batch], bad)
    return run.report()


def compare(trace: Trace, policies: Mapping[str, Policy], *, tick_ms: int = DECIDE_MS) -> dict[str, Report]:
    """Run a trace against several policies, each by its name."""
    return {name: replay(trace, policy, tick_ms=tick_ms) for name, policy in policies.items()}


def table(reports: Mapping[str, Report]) -> str:
    """Write reports side by side: a Markdown table, one column a policy, without what no report knows."""
    names = [
        field.name for field in fields(Report) if any(getattr(r, field.name) is not None for r in reports.values())
    ]
    rows = [["", *reports], *([name, *(_text(getattr(r, name)) for r in reports.values())] for name in names)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join([row[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    rule = " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "".join(f"| {line} |\n" for line in (lines[0], rule, *lines[1:]))


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


class Replay:
    """A replay that is fed piece by piece, for traces that no memory would hold."""

    def __init__(self, policy: Policy, cells: NDArray[np.uint64]) -> None:
        """Begin with nodes of which nothing is known; node i is in the region ``cells[i]``."""
        n = len(cells)
        self._rules = policy.rules
        self._health = Health.empty(np.arange(n, dtype=np.uint32), cells, sketch=needs_sketch(self._rules))
        self._now_ms: int | None = None
        self._samples = 0
        self._out_groups = np.zeros(len(self._health.groups.cells), np.int64)
        self._peak_groups = self._out_groups.copy()
        self._tally = _Tally(n)

    @property
    def health(self) -> Health:
        """The nodes as they are now; not to be changed."""
        return self._health

    @property
    def peak_out(self) -> NDArray[np.int64]:
        """int64[g]: how many nodes of each region (in the order of ``health.groups``) were out at once, at most."""
        return self._peak_groups.copy()

    def feed(
        self,
        at_ms: NDArray[np.int64],
        nodes: NDArray[np.uint32],
        latency_ms: NDArray[np.float64],
        ok: Flags | None = None,
        bad: Flags | None = None,
        freeze: tuple[int, int] | None = None,
    ) -> Changes:
        """Take samples in, and decide once, at the time of the last.

        Parameters
        ----------
        at_ms, nodes, latency_ms, ok : int64[m], uint32[m], float64[m], bool[m]
            Ascending by time, and not before those of an earlier call; at least one.
        bad : bool[m], optional
            Whether the node was truly bad; of several samples of a node the last counts.
        freeze
            As in :func:`~faultset_ray.control.health.decide`.
        """
        now_ms = int(at_ms[-1])
        if self._now_ms is not None:
            self._tally.elapse(now_ms - self._now_ms)
        self._now_ms = now_ms
        self._samples += absorb(self._health, nodes.astype(np.int64), latency_ms, ok, at_ms, self._rules)
        begun = self._tally.learn(at_ms, nodes, bad)
        changes = decide(self._health, self._rules, now_ms, freeze)
        moved = self._tally.move(changes)
        np.add.at(self._out_groups, self._health.group_of[changes.handles], moved)
        np.maximum(self._peak_groups, self._out_groups, out=self._peak_groups)
        self._tally.detect(np.concatenate([changes.handles, begun]), now_ms)
        return changes

    def report(self) -> Report:
        """Return what happened so far."""
        sizes = np.diff(self._health.groups.starts)
        peak = float((self._peak_groups / sizes).max(initial=0.0))
        return self._tally.report(self._samples, peak)


class _Tally:
    """Counts, node by node in columns, of what was decided and what was true."""

    def __init__(self, nodes: int) -> None:
        self._ejections = self._readmissions = self._flaps = self._false = self._episodes = 0
        self._out_ms = self._false_out_ms = self._unseen_ms = 0
        self._survives, self._out, self._bad, self._detected, self._left, self._back = np.zeros((6, nodes), np.bool_)
        self._bad_since = np.zeros(nodes, np.int64)
        self._bad_samples = np.zeros(nodes, np.int64)
        self._detections: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._counts = (0, 0, 0)
        """Nodes that are out, out though good, and survivors though bad."""
        self._truth = False

    def elapse(self, ms: int) -> None:
        out, false_out, unseen = self._counts
        self._out_ms += ms * out
        self._false_out_ms += ms * false_out
        self._unseen_ms += ms * unseen

    def learn(self, at_ms: NDArray[np.int64], nodes: NDArray[np.uint32], bad: Flags | None) -> NDArray[np.uint32]:
        """Take the truth in; return the nodes that went bad."""
        if bad is None:
            return np.empty(0, np.uint32)
        self._truth = True
        was = self._bad[nodes]
        self._bad[nodes] = bad
        is_bad = self._bad[nodes]
        changed = is_bad != was
        self._left[nodes[changed]] = self._detected[nodes[changed]] = False
        first = np.flatnonzero(changed & is_bad & bad)[::-1]  # of repeated nodes the first is written last
        begun = np.unique(nodes[first])
        self._episodes += len(begun)
        self._bad_since[nodes[first]] = at_ms[first]
        self._bad_samples[begun] = 0
        np.add.at(self._bad_samples, nodes[bad], 1)
        self._recount()
        return begun

    def move(self, changes: Changes) -> NDArray[np.int64]:
        """Take decisions in; return by how much each changes the number of nodes that are out."""
        nodes, before, after = changes.handles, changes.before, changes.after
        was_out, out = _is_out(before), _is_out(after)
        survives = (after == State.HEALTHY) | (after == State.SUSPECT)
        left, back = nodes[out & ~was_out], nodes[survives & was_out]
        self._ejections += len(left)
        self._readmissions += len(back)
        self._flaps += int(np.count_nonzero(self._left[left] & self._back[left]))
        self._false += int(np.count_nonzero(~self._bad[left]))
        self._left[left], self._back[left] = True, False
        self._back[back] = True
        self._out[nodes], self._survives[nodes] = out, survives
        if len(nodes):
            self._recount()
        return out.astype(np.int64) - was_out

    def detect(self, nodes: NDArray[np.uint32], now_ms: int) -> None:
        """See which of these nodes are bad and no survivors, for the first time in their episode."""
        if self._truth and len(nodes):
            seen = np.unique(nodes[self._bad[nodes] & ~self._detected[nodes] & ~self._survives[nodes]])
            self._detected[seen] = True
            self._detections.append((now_ms - self._bad_since[seen], self._bad_samples[seen]))

    def report(self, samples: int, peak: float) -> Report:
        done = (len(self._out), samples, self._ejections, self._readmissions, self._flaps, self._out_ms / 1000, peak)
        if not self._truth:
            return Report(*done)
        delays = np.concatenate([np.empty(0, np.int64), *(delay for delay, _ in self._detections)])
        counts = np.concatenate([np.empty(0, np.int64), *(count for _, count in self._detections)])
        some = len(delays) > 0
        return Report(
            *done,
            self._false,
            self._false_out_ms / 1000,
            self._unseen_ms / 1000,
            self._episodes,
            len(delays),
            float(np.median(delays)) if some else None,
            float(delays.max()) if some else None,
            int(counts.max()) if some else None,
        )

    def _recount(self) -> None:
        self._counts = (
            int(np.count_nonzero(self._out)),
            int(np.count_nonzero(self._out & ~self._bad)),
            int(np.count_nonzero(self._survives & self._bad)),
        )


def _is_out(states: NDArray[np.uint8]) -> Flags:
    out: Flags = (states == State.EJECTED) | (states == State.PROBATION)
    return out
