"""The control plane under many seeds of crashes, drops, delays, moves and returning dead; see ``sim/control_drill.py``."""

import pytest
from sim.control_drill import HAPPENING, drill

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


def test_long_control(large):
    large.drills(1_000, drill, HAPPENING)
