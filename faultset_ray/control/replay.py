"""Recorded traces against any policy: what it would have done, and how well.

A replay is ``absorb`` and ``decide`` in a loop, with the trace's own time. Where the trace says which nodes were
truly bad, the report also says how soon that was noticed and how often a good node was ejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.control.decisions import decide
from faultset_ray.control.health import Changes, Health, absorb, needs_sketch
from faultset_ray.control.policy import Policy
from faultset_ray.control.tally import Report, Tally
from faultset_ray.control.trace import Trace
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from faultset_ray.limits import DECIDE_MS

Flags = NDArray[np.bool_]


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
        raise InputError(f"tick_ms is {shown(tick_ms)}; expected an integer of at least 1")
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
        self._tally = Tally(n)

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
            As in :func:`~faultset_ray.control.decisions.decide`.
        """
        now_ms = int(at_ms[-1])
        if self._now_ms is not None:
            self._tally.elapse(now_ms - self._now_ms)
        self._now_ms = now_ms
        self._samples += absorb(self._health, nodes.astype(np.int64), latency_ms, ok, at_ms, self._rules)
        begun = self._tally.learn(at_ms, nodes, bad)
        changes = decide(self._health, self._rules, now_ms, freeze)
        moved = self._tally.move(changes.handles, changes.before, changes.after)
        np.add.at(self._out_groups, self._health.group_of[changes.handles], moved)
        np.maximum(self._peak_groups, self._out_groups, out=self._peak_groups)
        self._tally.detect(np.concatenate([changes.handles, begun]), now_ms)
        return changes

    def report(self) -> Report:
        """Return what happened so far."""
        sizes = np.diff(self._health.groups.starts)
        peak = float((self._peak_groups / sizes).max(initial=0.0))
        return self._tally.report(self._samples, peak)
