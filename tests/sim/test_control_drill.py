"""The control plane under seeded crashes, drops and delays; ``make test-long-control`` runs a thousand seeds."""

from collections import Counter

import pytest
from sim.control_drill import HAPPENING, drill

SEEDS = range(24)
counted: Counter = Counter()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_invariants_hold(seed):
    counted.update(drill(seed))


def test_the_drills_did_something():
    """Last: over all seeds, each thing that may happen did."""
    for what in HAPPENING:
        assert counted[what] > 0, counted
