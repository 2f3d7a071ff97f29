"""The region servant against a model: rosters, observations, marks, crashes and moves; survivors at any time.

The model keeps what was told, by hand, under the plain policy: the last sample decides.
"""

import math

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from faultset_ray.control.checkpoint import Checkpoint, folded, unsaved
from faultset_ray.control.messages import Members, Orders
from faultset_ray.control.region import Region
from faultset_ray.control.states import State
from faultset_ray.errors import StaleEpoch
from faultset_ray.policy import Policy

THRESHOLD = 100.0
ORDERS = Orders(1, Policy(threshold_ms=THRESHOLD))
cells = st.integers(0, 5).map(lambda number: number << 56 | 6)
latencies = st.sampled_from([0.0, 1.5, 20.0, 100.0, 101.0, math.inf, math.nan])
clock = st.integers(0, 30)
handles = st.integers(0, 12)
marks = st.sampled_from([0, 0, 0, 1, 2])
nodes = st.tuples(cells, latencies, clock, marks)


def members(number, roster):
    ascending = sorted(roster)
    columns = zip(*(roster[handle] for handle in ascending), strict=True) if roster else ((), (), (), ())
    dtypes = (np.uint64, np.float64, np.int64, np.uint8)
    arrays = [np.array(ascending, np.uint32)]
    arrays += [np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)]
    for array in arrays:
        array.flags.writeable = False
    return Members(number, *arrays)


class Node:
    """Of the model: where it is, its last sample (None for none), when that was, and its mark."""

    def __init__(self, cell, mark):
        self.cell, self.mark, self.at, self.last, self.failed = cell, mark, -1, None, False

    def sample(self, latency, ok, at):
        if at < self.at:
            return False
        self.at = at
        self.failed = not ok or math.isnan(latency)
        if not self.failed:
            self.last = latency
        return True

    def survives(self, threshold):
        within = self.last is not None and not self.failed and self.last <= threshold
        return self.mark != 1 and (within or self.mark == 2)

    def rank(self):
        return math.inf if self.failed or self.last is None else self.last


class RegionMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.epoch = 1
        self.region = Region(self.epoch)
        self.model = {}
        self.roster = 0
        self.registered = {}
        self.version = (0, 0)
        self.kept = []
        self.states = {}
        self.since = (self.epoch, 0)
        self.now = 0

    def tick(self):
        self.now += 1
        return self.now

    @rule(step=st.integers(-2, 3), roster=st.dictionaries(handles, nodes, max_size=10))
    def load(self, step, roster):
        number = max(0, self.roster + step)
        if self.roster == 0 and self.epoch > 1:
            with pytest.raises(StaleEpoch):
                self.region.load(self.epoch, ORDERS, self.tick(), members(number, roster), None)
            return
        self.region.load(self.epoch, ORDERS, self.tick(), members(number, roster), None)
        if number > self.roster:
            self.enroll(number, roster)

    def enroll(self, number, roster, had=None):
        """A roster was loaded by a servant that had the model's nodes, or others."""
        self.roster, self.registered, before = number, roster, self.model
        had = before.keys() if had is None else had
        self.model = {}
        for handle, (cell, latency, at, mark) in roster.items():
            node = self.model[handle] = before.get(handle) or Node(cell, mark)
            node.cell, node.mark = cell, mark
            if at > node.at and not math.isnan(latency):
                node.sample(latency, True, at)
        parked = self.region.parked(self.epoch)
        assert set(parked.handles.tolist()) == had - roster.keys()
        nobody = np.empty(0, np.uint32)
        self.region.followed(self.epoch, ORDERS, self.tick(), number - 1, parked.handles, nobody)
        assert len(self.region.parked(self.epoch)) == len(parked), "of rosters to come"
        self.region.followed(self.epoch, ORDERS, self.tick(), number, parked.handles, nobody)
        assert len(self.region.parked(self.epoch)) == 0

    @rule(seen=st.lists(st.tuples(handles, latencies, st.booleans(), clock), max_size=6))
    def observe(self, seen):
        taken = sum(self.model[h].sample(latency, ok, at) for h, latency, ok, at in seen if h in self.model)
        columns = zip(*seen, strict=True) if seen else ((), (), (), ())
        dtypes = (np.uint32, np.float64, np.bool_, np.int64)
        arrays = [np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)]
        if self.roster == 0:  # whose they are is not known yet, so nothing can be said of them
            with pytest.raises(StaleEpoch):
                self.region.observe(self.epoch, ORDERS, self.tick(), *arrays)
            return
        assert self.region.observe(self.epoch, ORDERS, self.tick(), *arrays) == taken

    @rule(chosen=st.sets(handles, max_size=4), mark=marks, behind=st.booleans())
    def mark(self, chosen, mark, behind):
        known = sorted(chosen & self.model.keys())
        before = self.roster - behind
        found = self.region.mark(
            self.epoch,
            ORDERS,
            self.tick(),
            before,
            self.roster + 1,
            np.array(known, np.uint32),
            np.full(len(known), mark, np.uint8),
        )
        if behind:
            assert found == self.roster
            return
        self.roster += 1
        assert found == self.roster
        for handle in known:
            self.model[handle].mark = mark
            self.registered[handle] = (*self.registered[handle][:3], mark)

    @rule(wrong=st.sampled_from([-1, 1]))
    def of_another_epoch(self, wrong):
        with pytest.raises(StaleEpoch):
            self.region.load(self.epoch + wrong, ORDERS, 0, members(self.roster + 1, {}), None)
        with pytest.raises(StaleEpoch):
            self.region.survivors(self.epoch + wrong, ORDERS, 0, None)

    @rule(threshold=st.sampled_from([0.0, 1.5, 50.0, 100.0, math.inf]))
    def ask(self, threshold):
        part = self.region.survivors(self.epoch, ORDERS, self.tick(), threshold)
        self.check(part, lambda node: node.survives(threshold))

    @rule()
    def ask_by_state(self):
        part = self.region.survivors(self.epoch, ORDERS, self.tick(), None)
        self.check(part, lambda node: node.survives(THRESHOLD))

    def check(self, part, survives):
        groups = {}
        for handle in sorted(self.model):
            groups.setdefault(self.model[handle].cell, []).append(handle)
        expected = [
            (cell, group[0], sorted((h for h in group if survives(self.model[h])), key=lambda h: self.model[h].rank()))
            for cell, group in groups.items()
        ]
        bounds = np.cumsum(part.counts)[:-1]
        found = zip(part.cells.tolist(), part.first.tolist(), np.split(part.handles, bounds), strict=bool(self.model))
        assert [(cell, first, group.tolist()) for cell, first, group in found] == expected
        assert (part.epoch, part.roster) == (self.epoch, self.roster)

    # -- What is saved

    @rule(whole=st.booleans(), acknowledged=st.booleans())
    def save(self, whole, acknowledged):
        made = self.region.checkpoint(self.epoch, self.tick(), whole)
        if made is None:
            return
        made = Checkpoint.from_columns(made.to_columns())
        self.kept = [made] if made.whole else [*self.kept, made]
        if acknowledged:
            self.region.saved(self.epoch, made.version, made.samples if made.whole else None, made.at_ms)

    @rule()
    def crash(self):
        """A successor goes on from what was saved, and is told the roster."""
        self.epoch += 1
        saved = folded(self.kept) if self.kept else unsaved(self.epoch)
        self.region = Region(self.epoch)
        self.region.load(self.epoch, ORDERS, self.tick(), members(self.roster, self.registered), saved)
        self.kept = [saved] if self.kept else []
        known = {handle: row for row, handle in enumerate(saved.health["handles"].tolist())}
        before, self.model = self.model, {}
        for handle in before.keys() & known.keys():
            node = self.model[handle] = before[handle]
            row = {name: saved.health[name][known[handle]] for name in ("last", "last_ms", "failures")}
            node.last = None if math.isnan(row["last"]) else float(row["last"])
            node.at, node.failed = int(row["last_ms"]), bool(row["failures"])
        self.enroll(self.roster, self.registered, known.keys())

    @rule(limit=st.integers(1, 5))
    def watch(self, limit):
        """Every change once, each from where the one before had left the node."""
        if self.roster == 0:
            with pytest.raises(StaleEpoch):
                self.region.changes(self.epoch, ORDERS, self.tick(), self.since, limit)
            return
        tail = self.region.changes(self.epoch, ORDERS, self.tick(), self.since, limit)
        events = tail.events
        assert len(events) <= limit
        assert all(version > self.since[1] for version in events.version.tolist())
        assert tail.version >= self.since[1]
        for handle, before, after in zip(
            events.handle.tolist(), events.before.tolist(), events.after.tolist(), strict=True
        ):
            assert self.states.get(handle, before) == before
            self.states[handle] = after if after != State.REMOVED else State.UNKNOWN
        self.since = self.epoch, tail.version

    @rule()
    def census(self):
        census = self.region.census(self.epoch, ORDERS, self.tick())
        unmarked = [node for node in self.model.values() if node.mark == 0]
        assert census.nodes == len(self.model)
        assert census.condition.measured == sum(node.last is not None or node.failed for node in unmarked)
        assert census.condition.bad == sum(
            (node.last is not None or node.failed) and not node.survives(THRESHOLD) for node in unmarked
        )
        degraded = 2 * census.condition.bad > census.condition.measured
        assert (census.condition.degraded_ms is not None) == degraded

    @rule()
    def seal_and_go_on(self):
        if self.roster == 0:
            with pytest.raises(StaleEpoch):
                self.region.seal(self.epoch, self.tick(), 1)
            return
        sealed = self.region.seal(self.epoch, self.tick(), 7)
        assert sealed.whole
        with pytest.raises(StaleEpoch):
            self.region.observe(self.epoch, ORDERS, self.now, *(np.empty(0, t) for t in (np.uint32, float, bool, int)))
        assert self.region.checkpoint(self.epoch, self.now, True) is None
        self.region.unseal(self.epoch, 6)
        assert self.region.census(self.epoch, ORDERS, self.now).sealed == 7
        self.region.unseal(self.epoch, 7)

    @invariant()
    def versions_grow(self):
        part = self.region.survivors(self.epoch, ORDERS, self.now, 0.0)
        assert (part.epoch, part.version) >= self.version
        self.version = part.epoch, part.version


RegionMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=25)
test_region_against_a_model = RegionMachine.TestCase
