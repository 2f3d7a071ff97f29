"""``kill -9`` at random moments in the middle of writes."""

from killed import kill_often


def test_acknowledged_changes_are_there_after_each_kill(tmp_path):
    assert kill_often(tmp_path, kills=4, seed=1) > 10
