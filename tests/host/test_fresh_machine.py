"""From a clone to the main job: with Python, make and a package index to set up, then without any network."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import schemas

ROOT = Path(__file__).parents[2]
PRIVATE = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the last commit, with a home directory of its own, set up by ``make setup``."""
    home = tmp_path_factory.mktemp("fresh")
    run(["git", "clone", "--quiet", str(ROOT), str(home / "clone")], home)
    run(["make", "setup"], home)
    return home / "clone"


def run(command: list[str], home: Path, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    ours = ("VIRTUAL_ENV", "PYTHONPATH", "MAKE", "MFLAGS")  # of the environment, and of the make, that runs these tests
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    where = home / "clone" if (home / "clone").exists() else home
    done = subprocess.run(
        command,
        cwd=where,
        env={**inherited, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.needs("git", "make")
def test_setting_up_again_is_quick(clone):
    before = time.monotonic()
    run(["make", "setup"], clone.parent)
    assert time.monotonic() - before < 2.0


@pytest.mark.needs("git", "make")
@pytest.mark.parametrize("verb", ["failover", "encode", "decode", "drill"])
def test_each_job_and_its_verb_explain_themselves(clone, verb):
    job = run([".venv/bin/python", "-m", f"jobs.{verb}", "--help"], clone.parent).stdout
    command = run([".venv/bin/faultset", verb, "--help"], clone.parent).stdout
    assert "Usage" in job
    assert "Usage" in command


@pytest.mark.needs("git", "make", "root", "namespaces", "ip")
def test_the_main_job_needs_no_network(clone, tmp_path):
    report = tmp_path / "report.json"
    started = time.monotonic()
    run([*PRIVATE, f"ip link set lo up && make drill ARGS='--report {report}'"], clone.parent)
    seconds = time.monotonic() - started
    found = json.loads(report.read_text())
    schemas.check("drill", found)
    assert found["sha256_in"] == found["sha256_out"]
    assert len(found["killed"]) == 3
    assert seconds < 120
