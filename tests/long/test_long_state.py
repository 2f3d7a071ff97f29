"""A coordinator that is killed hundreds of times while it writes."""

import pytest
from killed import kill_often

pytestmark = pytest.mark.long


@pytest.mark.timeout(3600)
def test_acknowledged_changes_are_there_after_each_kill(large, tmp_path):
    changes = kill_often(tmp_path, large.count(300), large.seed)
    large.notes.append(f"{changes:,} acknowledged changes")
