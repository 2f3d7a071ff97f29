"""What came of a policy's decisions: counts of ejections and flaps and, beside the truth, of errors and delays.

And what its regions had: for how long they were short, unserved, in panic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.ladder import Ladder, flag_regions
from faultset_ray.control.states import State
from faultset_ray.kernels.health import NEVER
from faultset_ray.policy import Policy

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
    short_s: float | None = None
    """Seconds that regions were below their need, or not yet well above it; None where the policy has none."""
    unserved_s: float | None = None
    """Seconds in which such a region had fewer survivors than it needs, the borrowed ones counted."""
    panic_s: float | None = None
    """Seconds that regions were in panic."""


class Tally:
    """Counts, node by node in columns, of what was decided and what was true.

    For each moment, in this order: :meth:`elapse`, :meth:`learn`, :meth:`move`, :meth:`detect`.
    """

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
        """Let time pass in which nothing changes."""
        out, false_out, unseen = self._counts
        self._out_ms += ms * out
        self._false_out_ms += ms * false_out
        self._unseen_ms += ms * unseen

    def learn(self, at_ms: NDArray[np.int64], nodes: NDArray[np.uint32], bad: Flags | None) -> NDArray[np.uint32]:
        """Take the truth about some nodes in, in order; return those that went bad.

        Parameters
        ----------
        at_ms, nodes, bad : int64[m], uint32[m], bool[m]
            Of several samples of a node the last counts. Nothing is learnt from None.
        """
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

    def move(self, nodes: NDArray[np.uint32], before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Take decisions in: states before and after; return by how much each changes the number of nodes out."""
        was_out, out = _is_out(before), _is_out(after)
        survives = (after == State.HEALTHY) | (after == State.SUSPECT)
        left, back = nodes[(after == State.EJECTED) & ~was_out], nodes[survives & was_out]
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
        """Return all counts; ``samples`` and ``peak`` go into fields of the report."""
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


class Needs:
    """How long regions were short of survivors, summed over regions; for a policy without a need, nothing.

    For each moment: :meth:`elapse`, then :meth:`move`.
    """

    def __init__(self, policy: Policy, cells: NDArray[np.uint64], sizes: NDArray[np.int64]) -> None:
        self._policy = policy
        self._cells = cells
        self._sizes = sizes
        self._own = np.zeros(len(cells), np.int64)
        self._flagged = np.zeros(len(cells), np.bool_)
        self._full_ms = np.full(len(cells), NEVER)
        self._now_ms = 0
        """Since the first moment."""
        self._counts = (0, 0, 0)
        """Regions that are short, short and not served, in panic."""
        self._ms = [0, 0, 0]

    def elapse(self, ms: int) -> None:
        """Let time pass in which nothing changes."""
        self._now_ms += ms
        self._ms = [total + ms * count for total, count in zip(self._ms, self._counts, strict=True)]

    def move(self, groups: NDArray[np.uint32], survived: Flags, survives: Flags) -> None:
        """Take in which nodes, of these regions, began or ceased to survive."""
        need = self._policy.survivors_min
        if need == 0:
            return
        np.add.at(self._own, groups, survives.astype(np.int64) - survived)
        self._flagged, self._full_ms = flag_regions(
            self._flagged, self._full_ms, self._own, self._sizes, self._policy, self._now_ms
        )
        short = np.flatnonzero(self._flagged)
        own = self._own[short]
        found = Ladder(self._cells, self._own, self._policy).found(self._cells[short], own)
        others = (self._sizes[short] > own) & (self._policy.panic == "all")
        unserved = own + found < need
        self._counts = (len(short), int(np.count_nonzero(unserved)), int(np.count_nonzero(unserved & others)))

    def report(self) -> tuple[float | None, float | None, float | None]:
        """Return for how many seconds regions were short, not served, and in panic; None without a need."""
        if self._policy.survivors_min == 0:
            return None, None, None
        short, unserved, panic = (ms / 1000 for ms in self._ms)
        return short, unserved, panic


def _is_out(states: NDArray[np.uint8]) -> Flags:
    out: Flags = (states == State.EJECTED) | (states == State.PROBATION)
    return out
