"""The coordinator against a dict: whatever is done in whatever order, with restarts, what was acknowledged holds."""

import math
import shutil
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from killed import checkpoint, latencies

from faultset_ray.control.ranges import range_of
from faultset_ray.control.states import Mark
from faultset_ray.coordinator.directory import Update
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import InputError, StaleEpoch, UnknownNode
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet
from faultset_ray.policy import Policy

PRECISION = 2
spots = st.tuples(st.sampled_from([-80.0, -10.0, 0.5, 33.0, 80.0]), st.sampled_from([-170.0, -5.0, 60.0, 175.0]))
names = st.integers(0, 25).map("né{}\n".format)
nodes = st.dictionaries(names, st.tuples(spots, st.sampled_from([1.0, 9.0, math.nan])), min_size=1, max_size=12)
policies = st.builds(Policy, threshold_ms=st.sampled_from([5.0, 50.0, math.inf]), survivors_min=st.integers(0, 3))


def same(one, other):
    """Whether two directories say the same."""
    for name in ("version", "ranges", "policy", "policy_version"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("cells", "registered_ms", "living", "marks"):
        assert getattr(one, name).dtype == getattr(other, name).dtype
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert one.fleet.ids.tolist() == other.fleet.ids.tolist()
    for name in ("lat", "lon", "latency_ms"):
        np.testing.assert_array_equal(getattr(one.fleet, name), getattr(other.fleet, name))


class CoordinatorMachine(RuleBasedStateMachine):
    durable = True

    def __init__(self):
        super().__init__()
        self.root = tempfile.mkdtemp()
        self.coordinator = Coordinator("s", self.durable, self.root)
        self.epoch = 0
        self.nodes = []
        """By handle: id, spot, latency, when registered, living, mark."""
        self.now_ms = 1000
        self.directory = self.had = None
        self.policy = Policy()
        self.policy_version = 1
        self.requests = 0
        self.saved = {}
        self.moves = {}
        self.retired = {}
        self.ids_used = set()

    def teardown(self):
        self.coordinator.close()
        shutil.rmtree(self.root)

    def request(self):
        self.requests += 1
        return self.requests.to_bytes(16, "big")

    def handle_of(self):
        return {node[0]: handle for handle, node in enumerate(self.nodes) if node[4]}

    def changed(self, touched, cells_before, cells_after):
        """What the directory became, by which ranges were touched."""
        old, new = self.directory, self.coordinator.directory("f")
        cells = np.concatenate([np.array(cells_before, np.uint64), np.array(cells_after, np.uint64)])
        expected = {old.ranges[position].id for position in range_of(old.bounds, cells)}
        assert set(touched) == expected
        assert new.version == old.version + bool(expected)
        assert new.ranges == tuple(
            replace(info, roster=new.version) if info.id in expected else info for info in old.ranges
        )
        self.directory = new

    def register(self, given, ranges_max, policy):
        self.now_ms += 5
        ids, places = list(given), [given[node_id] for node_id in given]
        fleet = Fleet(ids, [p[0][0] for p in places], [p[0][1] for p in places], [p[1] for p in places], name="f")
        cells = encode_many(fleet.lat, fleet.lon, PRECISION)
        known, request = self.handle_of(), self.request()
        args = (fleet, cells, PRECISION, ranges_max, self.now_ms, policy, request)
        registered = self.coordinator.register(*args)
        before = []
        for node_id, handle in zip(ids, registered.handles.tolist(), strict=True):
            mark, (spot, latency), at_ms = 0, given[node_id], self.now_ms
            if node_id in known:
                assert handle == known[node_id]
                before.append(int(self.directory.cells[handle]))
                mark = self.nodes[handle][5]
                if math.isnan(latency):
                    latency, at_ms = self.nodes[handle][2:4]
            else:
                assert handle == len(self.nodes), "handles are dense and never given again"
                self.nodes.append(None)
            self.nodes[handle] = (node_id, spot, latency, at_ms, True, mark)
        assert registered.handles.dtype == np.uint32
        if self.directory is None:
            self.directory = registered.directory
            assert set(registered.touched) == {info.id for info in self.directory.ranges}
            self.ids_used = set(registered.touched)
        else:
            self.changed(registered.touched, before, cells.tolist())
        if policy is not None:
            self.policy, self.policy_version = policy, self.directory.version
        again = self.coordinator.register(*args[:-2], Policy(threshold_ms=77), request)
        assert again.handles.tolist() == registered.handles.tolist()
        assert again.directory.version == self.directory.version, "a repeated request changes nothing"

    @initialize(nodes=nodes, ranges_max=st.integers(1, 6), policy=st.none() | policies)
    def first(self, nodes, ranges_max, policy):
        self.register(nodes, ranges_max, policy)

    @rule(nodes=nodes, policy=st.none() | policies)
    def register_again(self, nodes, policy):
        self.register(nodes, 99, policy)

    @rule(ids=st.lists(names, max_size=8))
    def remove(self, ids):
        known, request = self.handle_of(), self.request()
        removed = self.coordinator.remove("f", ids, request)
        expected = [known[node_id] for node_id in dict.fromkeys(ids) if node_id in known]
        assert removed.handles.tolist() == expected
        self.changed(removed.touched, self.directory.cells[expected].tolist(), [])
        for handle in expected:
            self.nodes[handle] = (*self.nodes[handle][:4], False, 0)
        if expected:
            again = self.coordinator.remove("f", ids, request)
            assert set(expected) <= set(again.handles.tolist())
            assert again.directory.version == self.directory.version

    @rule(ids=st.lists(names, max_size=5), mark=st.sampled_from(list(Mark)))
    def mark(self, ids, mark):
        known, request = self.handle_of(), self.request()
        if not set(ids) <= set(known):
            with pytest.raises(UnknownNode) as caught:
                self.coordinator.mark("f", ids, mark, request)
            assert caught.value.node_id not in known
            assert caught.value.unknown == len(set(ids) - set(known))
            return
        marked = self.coordinator.mark("f", ids, mark, request)
        expected = [known[node_id] for node_id in dict.fromkeys(ids)]
        assert marked.handles.tolist() == expected
        self.changed(marked.touched, self.directory.cells[expected].tolist(), [])
        for handle in expected:
            self.nodes[handle] = (*self.nodes[handle][:5], int(mark))
        if expected:
            again = self.coordinator.mark("f", ids, Mark.NONE, request)
            assert again.directory.version == self.directory.version

    @rule(policy=policies)
    def set_policy(self, policy):
        request = self.request()
        self.directory = self.coordinator.set_policy("f", policy, request)
        self.policy, self.policy_version = policy, self.directory.version
        assert self.coordinator.set_policy("f", Policy(threshold_ms=78), request).version == self.directory.version

    @rule(index=st.integers(0, 9), back=st.integers(-1, 2))
    def succeed(self, index, back):
        old = self.directory
        info = old.ranges[index % len(old.ranges)]
        asked = info.epoch - back
        self.directory = self.coordinator.succeed("f", info.id, asked)
        heard = back == 0
        assert self.directory.find(info.id) == replace(info, epoch=info.epoch + heard)
        assert self.directory.version == old.version + heard
        assert self.coordinator.succeed("f", info.id, asked).ranges == self.directory.ranges

    @rule(index=st.integers(0, 9), steps=st.integers(-1, 3), whole=st.booleans(), gap=st.integers(-2, 2))
    def save(self, index, steps, whole, gap):
        info = self.directory.ranges[index % len(self.directory.ranges)]
        epoch, version, table = self.saved.get(info.id, (0, -1, {}))
        handles = sorted({version % 7, (version + steps) % 5})
        since = -1 if whole else max(version + gap, 0)
        given = checkpoint(info.epoch, max(version + steps, 0), since, handles)
        rows = latencies(given)
        if whole:
            fits = given.epoch >= epoch and given.version >= version
        else:
            fits = info.id in self.saved and since <= version < given.version
        kept = self.coordinator.save("f", info.id, info.epoch, given)
        if fits:
            self.saved[info.id] = (info.epoch, given.version, rows if whole else table | rows)
        assert kept == self.saved.get(info.id, (0, -1))[1]
        for epoch in (info.epoch - 1, info.epoch + 1):
            with pytest.raises(StaleEpoch):
                self.coordinator.save("f", info.id, epoch, checkpoint(epoch, 99))

    @rule(index=st.integers(0, 9), count=st.integers(1, 3), cuts=st.sets(st.integers(1, 2**64 - 1), max_size=3))
    def begin_move(self, index, count, cuts):
        ranges = self.directory.ranges
        sources = ranges[index % len(ranges) :][:count]
        lower = sources[0].lower
        end = next((info.lower for info in ranges if info.lower > sources[-1].lower), 1 << 64)
        bounds = [lower, *sorted(cut for cut in cuts if lower < cut < end)]
        ids = {info.id for info in sources}
        busy = [move for move in self.moves.values() if ids & {info.id for info in move.sources}]
        try:
            move = self.coordinator.begin_move("f", [info.id for info in sources], bounds)
        except InputError:
            assert busy
            return
        if busy:
            assert busy == [move]
            return
        assert move.sources == sources
        fresh = {info.id for info in move.targets}
        assert not fresh & self.ids_used, "ids of ranges are never given again"
        self.ids_used |= fresh
        self.moves[move.id] = move
        for info in move.targets:
            assert self.coordinator.save("f", info.id, 1, checkpoint(1, 0, handles=[info.id], value=info.id)) == 0

    @precondition(lambda self: self.moves)
    @rule(commit=st.booleans(), pick=st.integers(0, 9))
    def end_move(self, commit, pick):
        move = list(self.moves.values())[pick % len(self.moves)]
        last = {info.id: checkpoint(info.epoch, 40 + info.id) for info in move.sources}
        now = [self.directory.find(info.id) for info in move.sources]
        if commit and any(new.epoch != old.epoch for new, old in zip(now, move.sources, strict=True)):
            with pytest.raises(StaleEpoch):
                self.coordinator.commit_move("f", move.id, last)
            return
        del self.moves[move.id]
        if not commit:
            assert self.coordinator.abort_move("f", move.id).ranges == self.directory.ranges
            assert all(self.coordinator.checkpoint("f", info.id) is None for info in move.targets)
            return
        version = self.directory.version + 1
        stale = [new.roster for new in now] != [old.roster for old in move.sources]
        targets = [replace(info, roster=version) if stale else info for info in move.targets]
        expected = {*self.directory.ranges} - {*now} | {*targets}
        self.directory = self.coordinator.commit_move("f", move.id, last)
        assert self.directory.version == version
        assert self.directory.ranges == tuple(sorted(expected, key=lambda info: info.lower))
        assert self.coordinator.commit_move("f", move.id, last).version == version
        for info in move.sources:
            self.saved.pop(info.id, None)
            self.retired[info.id] = tuple(target.id for target in move.targets)
        for info in move.targets:
            self.saved[info.id] = (1, 0, {info.id: float(info.id)})

    @precondition(lambda self: self.durable)
    @rule(clean=st.booleans())
    def restart(self, clean):
        if clean:
            self.coordinator.close()
        else:
            self.coordinator._ledger.catalog.home.close()  # as the kernel does for a process that is gone
        self.coordinator = Coordinator("s", self.durable, self.root)

    @precondition(lambda self: self.durable)
    @rule()
    def compact(self):
        known = self.coordinator._ledger.known("f")
        self.coordinator._ledger.catalog.compact(known.key, known.roster.whole())

    @invariant()
    def the_epoch_grows(self):
        about = self.coordinator.about()
        assert about.epoch >= self.epoch
        self.epoch = about.epoch

    @invariant()
    def the_directory_is_all_that_was_registered(self):
        if self.directory is None:
            return
        found = self.coordinator.directory("f")
        if self.had is not None and self.had.version != found.version:
            news = self.coordinator.directory("f", self.had.version)
            same(self.had.updated(news) if isinstance(news, Update) else news, found)
        self.had = found
        assert (found.version, found.ranges) == (self.directory.version, self.directory.ranges)
        assert (found.policy, found.policy_version) == (self.policy, self.policy_version)
        assert self.coordinator.directory("f", found.version) is None
        columns = zip(
            found.fleet,
            found.cells.tolist(),
            found.registered_ms.tolist(),
            found.living.tolist(),
            found.marks.tolist(),
            self.nodes,
            strict=True,
        )
        for node, cell, at_ms, living, mark, expected in columns:
            node_id, (lat, lon), latency, registered_ms, is_living, marked = expected
            assert (node.id, node.lat, node.lon) == (node_id, lat, lon)
            assert (at_ms, living, mark) == (registered_ms, is_living, marked)
            assert node.latency_ms == latency or (math.isnan(latency) and math.isnan(node.latency_ms))
            assert cell == int(encode_many(np.array([lat]), np.array([lon]), PRECISION)[0])

    @invariant()
    def ranges_hold_every_living_node_once(self):
        if self.directory is None:
            return
        directory = self.coordinator.directory("f")
        members = [directory.members(info.id) for info in directory.ranges]
        living = [handle for handle, node in enumerate(self.nodes) if node[4]]
        assert sorted(np.concatenate(members).tolist()) == living
        for position, handles in enumerate(members):
            assert (np.diff(handles) > 0).all()
            assert set(range_of(directory.bounds, directory.cells[handles]).tolist()) <= {position}

    @invariant()
    def what_was_saved_is_there(self):
        if self.directory is None:
            return
        assert {move.id: move for move in self.coordinator.moves("f")} == self.moves
        for info in self.directory.ranges:
            found = self.coordinator.checkpoint("f", info.id)
            if info.id not in self.saved:
                assert found is None
                continue
            _, version, rows = self.saved[info.id]
            assert (found.whole, found.version) == (True, version)
            assert latencies(found) == rows
        for range_id, children in self.retired.items():
            left = self.coordinator.retired("f", range_id)
            assert (left.children, left.last.version) == (children, 40 + range_id)


class InMemory(CoordinatorMachine):
    durable = False


CoordinatorMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
InMemory.TestCase.settings = settings(max_examples=8, stateful_step_count=20)
test_coordinator_against_a_dict = CoordinatorMachine.TestCase
test_coordinator_in_memory_against_a_dict = InMemory.TestCase
