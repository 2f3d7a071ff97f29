"""The control plane under many seeds of crashes, drops, delays, moves and returning dead; see ``sim/control_drill.py``."""

from collections import Counter

import pytest
from sim.control_drill import drill

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


def test_long_control(large):
    counted: Counter = Counter()
    for seed in range(large.seed, large.seed + large.count(1_000)):
        try:
            counted.update(drill(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    large.notes.append(", ".join(f"{number:,} {what}" for what, number in sorted(counted.items())))
    for what in ("told", "observed", "whole", "partial", "moved", "crashed", "returned"):
        assert counted[what] > 0, counted
