"""A store on a small disk of its own that becomes full: what was acknowledged stays, and room helps again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

SCENARIO = Path(__file__).with_name("disk_scenario.py")


@pytest.mark.needs("namespaces", "mount")
@pytest.mark.parametrize("kind", ["tmpfs"])
def test_a_full_disk(tmp_path, kind):
    """The disk is mounted in a namespace of its own, and is gone with it."""
    script = 'mount -t "$1" -o size=16m none "$2" && exec "$3" "$4" "$2"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", kind, str(tmp_path), sys.executable, str(SCENARIO)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, SCENARIO.parents[1:3]))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "shards" in done.stdout
