"""Health equals the naive state machine on random traces: every column, change and answer after every step."""

import random

import pytest
from health_traces import random_trace

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def test_long_health(large):
    rng = random.Random(large.seed)
    for _ in range(large.count(100_000)):
        random_trace(rng)
