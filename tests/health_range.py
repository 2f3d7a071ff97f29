"""A few nodes to tell samples to, one decision after each."""

import math

import numpy as np

from faultset_ray.control.decisions import decide
from faultset_ray.control.explain import explain
from faultset_ray.control.health import Health, absorb, needs_sketch
from faultset_ray.control.states import Rule, State
from faultset_ray.policy import Policy

GOOD, BAD, FAILED = 10.0, 500.0, math.nan


class Range:
    """A few nodes, a clock in seconds, and events as (handle, state before, state after, rule)."""

    def __init__(self, sizes, **policy):
        self.policy = Policy(**policy)
        self.rules = self.policy.rules
        self.now_ms = 1_000_000
        self.freeze = None
        cells = np.repeat(np.arange(len(sizes), dtype=np.uint64) << np.uint64(4) | np.uint64(1), sizes)
        self.health = Health.empty(np.arange(len(cells), dtype=np.uint32), cells, sketch=needs_sketch(self.rules))

    def hear(self, latencies, after_s=1.0):
        """One sample of each node named, then a decision; {slot: latency} or one for all."""
        self.now_ms += round(1000 * after_s)
        if not isinstance(latencies, dict):
            latencies = dict.fromkeys(range(len(self.health)), latencies)
        slots, values = np.array(list(latencies), np.int64), np.array(list(latencies.values()), np.float64)
        absorb(self.health, slots, values, None, self.now_ms, self.rules)
        return self.decide()

    def decide(self, after_s=0.0):
        self.now_ms += round(1000 * after_s)
        changes = decide(self.health, self.rules, self.now_ms, self.freeze)
        rows = zip(*(column.tolist() for column in changes[:4]), strict=True)
        return [(handle, State(old).label, State(new).label, Rule(why).label) for handle, old, new, why in rows]

    @property
    def states(self):
        return [State(state).label for state in self.health.state]

    def why(self, slot):
        return explain(self.health, slot, self.rules, self.now_ms, f"n{slot}", "u")
