"""Objects under many seeds of crashes, damage and lost messages; see ``sim/objects_drill.py``."""

import pytest
from sim.objects_drill import HAPPENING, drill

pytestmark = [pytest.mark.long, pytest.mark.timeout(14_400)]


def test_long_objects(large):
    large.drills(1_000, drill, HAPPENING)
