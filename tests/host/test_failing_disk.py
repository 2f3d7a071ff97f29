"""System calls that a disk refuses under a store, also those that SQLite makes: nothing acknowledged is lost, nothing else kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    path = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = HERE / "failing_disk.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(path), str(source), "-ldl"], check=True)
    return path


@pytest.mark.needs("cc")
@pytest.mark.parametrize(
    ("part", "how"),
    [(part, f"{call} {code}") for part in ("/records-", "/tmp/") for call in ("sync", "write") for code in (5, 28)]
    + [("/shards/", "sync 5")],
)
def test_refused_system_calls(tmp_path, shim, part, how):
    flag, root = tmp_path / "flag", tmp_path / "root"
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parents[1])]),
        "LD_PRELOAD": str(shim),
        "FAIL_FLAG": str(flag),
        "FAIL_PATH": part,
    }
    command = [sys.executable, str(HERE / "failing_disk_scenario.py"), str(root), how]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
