"""The host tests are never green without having run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_missing_programs_are_named_and_end_in_77(tmp_path):
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    bare = {**os.environ, "PATH": str(tmp_path), "FAULTSET_TEST_PYTHON": sys.executable}
    command = ["/bin/sh", ROOT / "tests" / "host" / "run", "-k", "disk_full"]  # needs what comes with no Python
    run = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 77, run.stdout + run.stderr
    assert "missing here: " in run.stdout
    assert "namespaces" in run.stdout
    assert " passed" not in run.stdout.splitlines()[-1]
