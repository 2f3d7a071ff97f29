"""Health equals the naive state machine on random traces."""

import numpy as np
from health_traces import random_trace


def test_traces_equal_the_naive_machine():
    rng = np.random.default_rng(4)
    for _ in range(1_000):
        random_trace(rng)
