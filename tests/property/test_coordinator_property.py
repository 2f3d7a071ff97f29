"""The coordinator against a dict: registrations in any order, handles for good, rosters told when they change."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from faultset_ray.control.ranges import range_of
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet

PRECISION = 2
spots = st.tuples(st.sampled_from([-80.0, -10.0, 0.5, 33.0, 80.0]), st.sampled_from([-170.0, -5.0, 60.0, 175.0]))
nodes = st.dictionaries(
    st.integers(0, 25).map("n{}".format),
    st.tuples(spots, st.sampled_from([1.0, 9.0, math.nan])),
    min_size=1,
    max_size=12,
)


class CoordinatorMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.coordinator = Coordinator("s")
        self.handles = {}
        self.known = {}
        self.rosters = {}
        self.now_ms = 1000
        self.directory = None

    def register(self, nodes, ranges_max):
        self.now_ms += 5
        ids, places = list(nodes), [nodes[node_id] for node_id in nodes]
        fleet = Fleet(ids, [p[0][0] for p in places], [p[0][1] for p in places], [p[1] for p in places], name="f")
        cells = encode_many(fleet.lat, fleet.lon, PRECISION)
        old = self.directory
        registered = self.coordinator.register(fleet, cells, PRECISION, ranges_max, self.now_ms)
        self.directory = registered.directory
        for node_id, handle in zip(ids, registered.handles.tolist(), strict=True):
            assert handle == self.handles.setdefault(node_id, len(self.handles))
            self.known[node_id] = (*nodes[node_id], self.now_ms)
        assert registered.handles.dtype == np.uint32
        self.check_touched(old, registered, ids)

    def check_touched(self, old, registered, ids):
        new = registered.directory
        now = {new.ranges[position].id for position in new.positions(registered.handles)}
        if old is None:
            assert set(registered.touched) == now == {info.id for info in new.ranges}
            return
        before = [self.handles[node_id] for node_id in ids if self.handles[node_id] < len(old.fleet)]
        left = {old.ranges[position].id for position in old.positions(np.array(before, np.intp))}
        assert set(registered.touched) == now | left
        for info, before in zip(new.ranges, old.ranges, strict=True):
            roster = new.version if info.id in registered.touched else before.roster
            assert info == replace(before, roster=roster)
        assert new.version == old.version + 1

    @initialize(nodes=nodes, ranges_max=st.integers(1, 6))
    def first(self, nodes, ranges_max):
        self.register(nodes, ranges_max)

    @rule(nodes=nodes)
    def again(self, nodes):
        self.register(nodes, 99)

    @rule(index=st.integers(0, 5), back=st.integers(-1, 2))
    def succeed(self, index, back):
        old = self.directory
        info = old.ranges[index % len(old.ranges)]
        asked = info.epoch - back
        self.directory = self.coordinator.succeed("f", info.id, asked)
        heard = back == 0
        assert self.directory.find(info.id) == replace(info, epoch=info.epoch + heard)
        assert self.directory.version == old.version + heard
        assert self.coordinator.succeed("f", info.id, asked).ranges == self.directory.ranges

    @invariant()
    def the_directory_is_all_that_was_registered(self):
        if self.directory is None:
            return
        found = self.coordinator.directory("f")
        assert found.version == self.directory.version
        assert self.coordinator.directory("f", found.version) is None
        columns = zip(found.fleet, found.cells.tolist(), found.registered_ms.tolist(), strict=True)
        assert len(found.fleet) == len(self.known)
        for handle, (node, cell, at_ms) in enumerate(columns):
            (lat, lon), latency, registered_ms = self.known[node.id]
            assert self.handles[node.id] == handle
            assert (node.lat, node.lon, at_ms) == (lat, lon, registered_ms)
            assert node.latency_ms == latency or (math.isnan(latency) and math.isnan(node.latency_ms))
            assert cell == int(encode_many(np.array([lat]), np.array([lon]), PRECISION)[0])

    @invariant()
    def ranges_hold_every_node_once(self):
        if self.directory is None:
            return
        members = [self.directory.members(info.id) for info in self.directory.ranges]
        assert sorted(np.concatenate(members).tolist()) == list(range(len(self.directory.fleet)))
        for index, handles in enumerate(members):
            assert (np.diff(handles) > 0).all()
            assert set(range_of(self.directory.bounds, self.directory.cells[handles]).tolist()) <= {index}


CoordinatorMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
test_coordinator_against_a_dict = CoordinatorMachine.TestCase
