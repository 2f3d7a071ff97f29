"""The host tests are never green without having run, and what they need is what gets installed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from host.conftest import CHECKS, OURS, PROGRAMS

ROOT = Path(__file__).parents[2]
HOST = ROOT / "tests" / "host"
TOOLS = HOST / "tools"


def needed():
    """What the marks of the host tests name."""
    calls = [
        node
        for path in HOST.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.needs"
    ]
    return {ast.literal_eval(thing) for call in calls for thing in call.args}


def test_missing_programs_are_named_and_end_in_77(tmp_path):
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    bare = {**os.environ, "PATH": str(tmp_path), "FAULTSET_TEST_PYTHON": sys.executable}
    command = ["/bin/sh", ROOT / "tests" / "host" / "run", "-k", "disk_full"]  # needs what comes with no Python
    run = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 77, run.stdout + run.stderr
    assert "missing here: " in run.stdout
    assert "namespaces" in run.stdout
    assert " passed" not in run.stdout.splitlines()[-1]


def test_what_a_test_skips_itself_is_no_success_either(tmp_path):
    (tmp_path / "conftest.py").write_text((HOST / "conftest.py").read_text())
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_one():\n    pass\ndef test_other():\n    pytest.skip('not today')\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "markers=needs", "--rootdir", tmp_path]
    run = subprocess.run([*command, tmp_path], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 77, run.stdout + run.stderr
    assert "test_some.py::test_other skipped itself" in run.stdout


def test_what_the_tests_look_for_is_what_is_installed():
    listed = subprocess.run([TOOLS, "--list"], check=True, capture_output=True, text=True, timeout=60).stdout
    table = {tuple(line.split()[0].split("|")): line.split()[1:] for line in listed.splitlines()}
    assert needed() >= CHECKS.keys(), "a condition that nobody needs"
    things = needed() - {"root", *OURS}
    assert table.keys() == {PROGRAMS.get(thing, (thing,)) for thing in things}
    assert all(table.values()), "each is of a package"


@pytest.mark.parametrize("thing", OURS)
def test_programs_of_our_own_environment_are_pinned(thing):
    assert f"\n{thing}==" in (ROOT / "constraints.txt").read_text()


def test_where_nothing_can_be_installed_what_is_missing_is_named(tmp_path):
    for program in ("tr", "id", "sh"):
        (tmp_path / program).symlink_to(
            next(Path(where, program) for where in ("/usr/bin", "/bin") if Path(where, program).exists())
        )
    run = subprocess.run([TOOLS], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert "gcc libc6-dev" in run.stderr
    assert "apt-get and root are needed" in run.stderr
