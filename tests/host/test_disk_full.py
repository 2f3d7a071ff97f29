"""A small disk becomes full, of one store and in a cluster: what was acknowledged stays, and room helps again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

HERE = Path(__file__).parent


@pytest.mark.needs("namespaces", "mount")
@pytest.mark.parametrize("kind", ["tmpfs"])
def test_a_full_disk(tmp_path, kind):
    assert "shards" in run_on_small_disk("disk_scenario.py", tmp_path, tmp_path, kind, "16m", 120)


@pytest.mark.timeout(1000)
@pytest.mark.needs("namespaces", "mount")
def test_the_runbook_of_a_full_disk(tmp_path):
    disk = tmp_path / "disk-a"
    disk.mkdir()
    assert "as they were put" in run_on_small_disk("full_disk_scenario.py", tmp_path, disk, "tmpfs", "24m", 900)


def run_on_small_disk(scenario: str, root: Path, disk: Path, kind: str, size: str, seconds: float) -> str:
    """What a scenario said. The disk and all processes are in namespaces of their own, and are gone with them."""
    script = 'mount -t "$1" -o size="$2" none "$3" && exec "$4" "$5" "$6"'
    arguments = [kind, size, str(disk), sys.executable, str(HERE / scenario), str(root)]
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, "sh", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, HERE.parents[:2][::-1]))},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    sys.stderr.write(done.stderr[-2000:])
    return done.stdout
