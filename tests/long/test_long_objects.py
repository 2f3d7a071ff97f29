"""Objects under many seeds of crashes, damage and lost messages; see ``sim/objects_drill.py``."""

from collections import Counter

import pytest
from sim.objects_drill import drill

pytestmark = [pytest.mark.long, pytest.mark.timeout(14_400)]


def test_long_objects(large):
    counted: Counter = Counter()
    for seed in range(large.seed, large.seed + large.count(1_000)):
        try:
            counted.update(drill(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: make test-long-objects SEED={seed} COUNT=1 replays it") from error
    del counted["trace"]
    large.notes.append(", ".join(f"{number:,} {what}" for what, number in sorted(counted.items())))
    for what in ("put", "read", "deleted", "killed", "damaged", "points", "drivers"):
        assert counted[what] > 0, counted
