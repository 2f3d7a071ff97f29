"""Health equals the naive state machine: on random traces, and as hypothesis finds its way."""

import random
from fractions import Fraction

import numpy as np
from health_traces import LATENCIES_MS, THRESHOLD_MS, Pair, random_trace
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from naive.health import share_of

from faultset_ray.control.states import Mark, State
from faultset_ray.policy import STATISTICS, Policy

NODES = 10
seconds = st.sampled_from([0.0, 0.1, 0.3, 0.5, 2.0])
latencies = st.sampled_from(LATENCIES_MS)
nodes = st.integers(0, NODES - 1)


@st.composite
def policies(draw):
    window = draw(st.integers(1, 5))
    return Policy(
        statistic=draw(st.sampled_from(STATISTICS)),
        threshold_ms=draw(st.sampled_from([THRESHOLD_MS, 54.0, 91.0])),
        recover_ms=draw(st.sampled_from([None, 10.0, 40.0])),
        samples=(draw(st.integers(1, window)), window, draw(st.integers(1, 3))),
        hold_s=tuple(sorted((draw(seconds), draw(seconds)))),
        ttl_s=draw(st.sampled_from([None, 0.2, 0.5, 1.5])),
        half_life_s=draw(st.sampled_from([0.05, 0.4, 10.0])),
        eject_max=draw(st.sampled_from([1.0, 0.5, 1 / 3, 2 / 3, 0.0, 0.9999999])),
    )


def test_traces_equal_the_naive_machine():
    rng = random.Random(4)
    for _ in range(1_000):
        random_trace(rng)


class HealthMachine(RuleBasedStateMachine):
    @initialize(policy=policies(), start=st.integers(0, 10**6))
    def begin(self, policy, start):
        self.now_ms = start
        self.freeze = None
        self.pair = Pair(policy)

    @rule(rows=st.dictionaries(nodes, st.tuples(st.integers(0, 3), latencies, st.integers(0, 500)), min_size=1))
    def change_roster(self, rows):
        self.pair.enroll(
            [
                (handle, cell << 4 | 1, latency, max(0, self.now_ms - age))
                for handle, (cell, latency, age) in rows.items()
            ]
        )

    @rule(
        samples=st.lists(st.tuples(st.integers(0, NODES), latencies, st.booleans(), st.integers(0, 100)), max_size=20)
    )
    def absorb(self, samples):
        self.pair.absorb(
            [(handle, latency, ok, max(0, self.now_ms - age)) for handle, latency, ok, age in samples]
        )  # fmt: skip

    @rule(latency=latencies, times=st.integers(1, 6))
    def all_alike(self, latency, times):
        """An outage, or its end."""
        handles = [*self.pair.naive.nodes]
        self.pair.absorb([(handle, latency, True, self.now_ms) for handle in handles for _ in range(times)])

    @rule()
    def decide(self):
        before = self.pair.real.state.copy()
        self.pair.decide(self.now_ms, self.freeze)
        self.check_caps(before)

    def check_caps(self, before):
        """No more are out than the policy's share of the region, whatever became of the region or the policy."""
        health = self.pair.real
        counted = health.mark == Mark.NONE
        out = counted & (health.state >= State.EJECTED)
        went = out & (before < State.EJECTED) & (health.state == State.EJECTED)
        share = share_of(self.pair.policy)
        for cell in np.unique(health.cells[out]):
            region = health.cells == cell
            assert Fraction(int((out & region).sum())) <= share * int((counted & region).sum())
        frozen = self.freeze is not None and self.now_ms < self.freeze[1]
        assert not (frozen and went.any())

    @rule(handles=st.lists(nodes, min_size=1, max_size=4), mark=st.sampled_from(Mark))
    def set_mark(self, handles, mark):
        self.pair.set_mark(handles, mark)

    @rule(handles=st.lists(nodes, min_size=1, max_size=4), mark=st.sampled_from(Mark))
    def mark_and_decide(self, handles, mark):
        before = self.pair.real.state.copy()
        self.pair.mark_and_decide(handles, mark, self.now_ms, self.freeze)
        self.check_caps(before)

    @rule(handle=nodes)
    def explain(self, handle):
        self.pair.explain(handle, self.now_ms)

    @rule(policy=policies())
    def dry_run(self, policy):
        self.pair.dry_run(policy, self.now_ms, self.freeze)

    @rule(back_ms=st.integers(0, 1000), ahead_ms=st.integers(-100, 1000))
    def begin_freeze(self, back_ms, ahead_ms):
        self.freeze = (max(0, self.now_ms - back_ms), self.now_ms + ahead_ms)

    @rule(elapsed_ms=st.sampled_from([1, 50, 200, 1000, 3000]))
    def time_passes(self, elapsed_ms):
        self.now_ms += elapsed_ms

    @rule(policy=policies())
    def change_policy(self, policy):
        self.pair.change_policy(policy)


HealthMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestHealthMachine = HealthMachine.TestCase
