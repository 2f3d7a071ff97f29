"""A short soak of real kills; ``make soak`` runs a long one."""

from __future__ import annotations

import pytest
from soak.soak import KINDS, Soak

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def test_nothing_acknowledged_is_lost_to_real_kills(tmp_path):
    soak = Soak(tmp_path, seconds=15.0, seed=1, nodes=5, pause=1.0, settle=False)
    line, ok = soak.run()
    assert ok, line
    assert set(soak.kills) == {*KINDS}
