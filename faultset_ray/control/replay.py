"""Recorded traces against any policy: what it would have done, and how well.

A replay is ``absorb`` and ``decide`` in a loop, with the trace's own time. With ``freeze_at`` the nodes are cut into
ranges as a system would cut them, and a census after each decision says whether the observer is doubted. With
``survivors_min`` the report says for how long regions were short, and how the ladder served them. Where the trace
says which nodes were truly bad, it also says how soon that was noticed and how often a good node was ejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.control.census import Freeze, advise, condition
from faultset_ray.control.decisions import decide
from faultset_ray.control.health import Changes, Health, absorb, needs_sketch
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.control.tally import Needs, Report, Tally
from faultset_ray.control.trace import Trace
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from faultset_ray.limits import DECIDE_MS, RANGES_SPARED
from faultset_ray.policy import Policy

Flags = NDArray[np.bool_]
_TICK_MS_MAX = 1 << 62
"""As late as a sample may be."""


def replay(trace: Trace, policy: Policy, *, tick_ms: int = DECIDE_MS) -> Report:
    """Run a trace against a policy.

    Parameters
    ----------
    tick_ms : int
        Samples of so many milliseconds are taken together, and then decided about.

    Raises
    ------
    InputError
        If ``tick_ms`` is no integer from 1 to 2^62, or what is given is no trace or no policy.
    """
    if not isinstance(trace, Trace):
        raise InputError(f"what is to be replayed is {shown(trace)}; expected a Trace, as Trace.read and Trace.of make")
    if not isinstance(policy, Policy):
        raise InputError(f"it is to be replayed against {shown(policy)}; expected a Policy")
    if not columns.is_integer(tick_ms) or not 1 <= tick_ms <= _TICK_MS_MAX:
        raise InputError(f"tick_ms is {shown(tick_ms)}; expected an integer from 1 to {_TICK_MS_MAX}")
    run = Replay(policy, trace.cells)
    ticks = trace.at_ms // tick_ms
    edges = [*np.flatnonzero(np.diff(ticks, prepend=-1)).tolist(), len(ticks)]
    for begin, end in pairwise(edges):
        batch = slice(begin, end)
        bad = None if trace.bad is None else trace.bad[batch]
        run.feed(trace.at_ms[batch], trace.nodes[batch], trace.latency_ms[batch], trace.ok[batch], bad)
    return run.report()


def compare(trace: Trace, policies: Mapping[str, Policy], *, tick_ms: int = DECIDE_MS) -> dict[str, Report]:
    """Run a trace against several policies, each by its name.

    Raises
    ------
    InputError
        As :func:`replay` does; or ``policies`` is no mapping.
    """
    if not isinstance(policies, Mapping):
        raise InputError(f"policies are {shown(policies)}; expected a mapping of names to policies")
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
        self._policy = policy
        self._rules = policy.rules
        self._health = Health.empty(np.arange(n, dtype=np.uint32), cells, sketch=needs_sketch(self._rules))
        self._now_ms: int | None = None
        self._samples = 0
        self._out_groups = np.zeros(len(self._health.groups.cells), np.int64)
        self._peak_groups = self._out_groups.copy()
        self._tally = Tally(n)
        self._needs = Needs(policy, self._health.groups.cells, np.diff(self._health.groups.starts))
        self._freeze: Freeze | None = None
        self._ranges = _cut(cells) if policy.freeze_at is not None and n else []

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
    ) -> Changes:
        """Take samples in, and decide at the time of the last: once, and again where the census then asks for it.

        Parameters
        ----------
        at_ms, nodes, latency_ms, ok : int64[m], uint32[m], float64[m], bool[m]
            Ascending by time, and not before those of an earlier call; at least one.
        bad : bool[m], optional
            Whether the node was truly bad; of several samples of a node the last counts.
        """
        now_ms = int(at_ms[-1])
        if self._now_ms is not None:
            self._tally.elapse(now_ms - self._now_ms)
            self._needs.elapse(now_ms - self._now_ms)
        self._now_ms = now_ms
        self._samples += absorb(self._health, nodes.astype(np.int64), latency_ms, ok, at_ms, self._rules)
        begun = self._tally.learn(at_ms, nodes, bad)
        made = [self._decide(now_ms, begun)]
        before, self._freeze = self._freeze, self._advised(now_ms)
        if self._freeze is not None and self._freeze != before:
            made.append(self._decide(now_ms, begun))
        np.maximum(self._peak_groups, self._out_groups, out=self._peak_groups)
        return made[0] if len(made) == 1 else Changes.joined(made)

    def _decide(self, now_ms: int, begun: NDArray[np.uint32]) -> Changes:
        freeze = None if self._freeze is None else (self._freeze.since_ms, self._freeze.until_ms)
        changes = decide(self._health, self._rules, now_ms, freeze)
        groups = self._health.group_of[changes.handles]
        np.add.at(self._out_groups, groups, self._tally.move(changes.handles, changes.before, changes.after))
        self._tally.detect(np.concatenate([changes.handles, begun]), now_ms)
        self._needs.move(groups, changes.survived, changes.survives)
        return changes

    def _advised(self, now_ms: int) -> Freeze | None:
        """What a coordinator would advise after a census of the ranges."""
        counted = [condition(self._health, slots, now_ms) for slots in self._ranges]
        return advise(counted, self._policy.freeze_at, self._freeze, now_ms)

    def report(self) -> Report:
        """Return what happened so far."""
        sizes = np.diff(self._health.groups.starts)
        peak = float((self._peak_groups / sizes).max(initial=0.0))
        short_s, unserved_s, panic_s = self._needs.report()
        found = self._tally.report(self._samples, peak)
        return replace(found, short_s=short_s, unserved_s=unserved_s, panic_s=panic_s)


def _cut(cells: NDArray[np.uint64]) -> list[NDArray[np.intp]]:
    """The nodes of each range that a small system cuts these cells into."""
    bounds = plan_bounds(cells, RANGES_SPARED)
    number = range_of(bounds, cells)
    return [np.flatnonzero(number == each) for each in range(len(bounds))]
