"""Objects under seeded crashes, damage and lost messages; ``make test-long-objects`` runs a thousand seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from sim.objects_drill import HAPPENING, drill

SEEDS = range(12)
counted: Counter[str] = Counter()


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost(seed):
    counted.update(drill(seed))


def test_the_drills_did_something():
    """Last: over all seeds, each thing that may happen did."""
    for what in HAPPENING:
        assert counted[what] > 0, counted


def test_a_drill_replays_byte_for_byte_in_any_process():
    program = "from sim.objects_drill import drill; print(drill(5)['trace'])"
    here = drill(5)["trace"]
    environ = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) == here
