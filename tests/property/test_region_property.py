"""The region servant against a dict: rosters and observations in any order, survivors at any time."""

import math

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from faultset_ray.control.region import Region
from faultset_ray.errors import StaleEpoch

EPOCH = 4
cells = st.integers(0, 5).map(lambda number: number << 56 | 6)
latencies = st.sampled_from([0.0, 1.5, 20.0, 100.0, math.inf, math.nan])
clock = st.integers(0, 30)
handles = st.integers(0, 12)
nodes = st.tuples(cells, latencies, clock)


def columns(roster):
    ascending = sorted(roster)
    cell, latency, at = zip(*(roster[handle] for handle in ascending), strict=True) if roster else ((), (), ())
    return (
        np.array(ascending, np.uint32),
        np.array(cell, np.uint64),
        np.array(latency, np.float64),
        np.array(at, np.int64),
    )


def survivors(model, threshold):
    """``[(cell, first, survivors)]``, plainly."""
    groups = {}
    for handle in sorted(model):
        groups.setdefault(model[handle][0], []).append(handle)
    return [
        (cell, members[0], sorted((h for h in members if model[h][1] <= threshold), key=lambda h: model[h][1]))
        for cell, members in groups.items()
    ]


class RegionMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.region = Region(EPOCH)
        self.model = {}
        self.roster = 0
        self.version = 0

    @rule(step=st.integers(-2, 3), roster=st.dictionaries(handles, nodes, max_size=10))
    def load(self, step, roster):
        number = max(0, self.roster + step)
        arrays = columns(roster)
        for array in arrays:
            array.flags.writeable = False
        self.region.load(EPOCH, number, *arrays)
        if number > self.roster:
            self.roster = number
            for handle in roster.keys() & self.model.keys():
                _, latency, at = self.model[handle]
                if at > roster[handle][2]:
                    roster[handle] = (roster[handle][0], latency, at)
            self.model = roster

    @rule(seen=st.dictionaries(handles, latencies, max_size=6), at=clock)
    def observe(self, seen, at):
        taken = [handle for handle in seen if handle in self.model and self.model[handle][2] <= at]
        found = self.region.observe(EPOCH, np.array([*seen], np.uint32), np.array([*seen.values()], np.float64), at)
        assert found == len(taken)
        for handle in taken:
            self.model[handle] = (self.model[handle][0], seen[handle], at)

    @rule(epoch=st.sampled_from([EPOCH - 1, EPOCH + 1]))
    def of_another_epoch(self, epoch):
        with pytest.raises(StaleEpoch):
            self.region.load(epoch, self.roster + 1, *columns({3: (6, 1.0, 99)}))
        with pytest.raises(StaleEpoch):
            self.region.observe(epoch, np.array([*self.model], np.uint32), np.zeros(len(self.model)), 99)

    @rule(threshold=st.sampled_from([0.0, 1.5, 50.0, 100.0, math.inf]))
    def ask(self, threshold):
        part = self.region.survivors(threshold)
        bounds = np.cumsum(part.counts)[:-1]
        found = zip(part.cells.tolist(), part.first.tolist(), np.split(part.handles, bounds), strict=bool(self.model))
        assert [(cell, first, group.tolist()) for cell, first, group in found] == survivors(self.model, threshold)
        assert (part.epoch, part.roster) == (EPOCH, self.roster)

    @invariant()
    def versions_grow(self):
        version = self.region.survivors(0.0).version
        assert version >= self.version
        self.version = version


RegionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
test_region_against_a_dict = RegionMachine.TestCase
