"""The examples run, in this process and on a cluster."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.support import PROJECT, bare, verb

TUTORIAL = Path(PROJECT, "docs", "tutorials", "outage.md")
PIPELINE = Path(PROJECT, "docs", "tutorials", "pipeline.md")
EXAMPLES = ("interactive.py", "encode_decode.py")


def output(name: str, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, Path(PROJECT, "examples", name), *arguments],
        env=bare(PYTHONPATH=PROJECT, **environ),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_in_this_process(name):
    assert output(name, "local").count("\n") > 3


def test_each_example_is_run():
    assert {path.name for path in Path(PROJECT, "examples").glob("*.py")} == {*EXAMPLES, "dag.py"}


@pytest.mark.docs
@pytest.mark.ray
def test_the_dag(tmp_path):
    """On a Ray of its own, whose workers find the code as the example does; what it prints is on the page."""
    told = output("dag.py", FAULTSET_STATE_DIR=str(tmp_path))
    [shown] = re.findall(r"^\$ python examples/dag.py\n(.*?)^```$", PIPELINE.read_text(), re.MULTILINE | re.DOTALL)
    assert told == shown


@pytest.mark.docs
@pytest.mark.ray
@pytest.mark.parametrize("name", EXAMPLES)
def test_on_a_cluster(head, name):
    assert output(name, RAY_ADDRESS=head.address, **head.token).count("\n") > 3


@pytest.mark.cluster
@pytest.mark.ray
def test_the_answers_on_a_cluster_are_the_same(head):
    assert output("interactive.py", RAY_ADDRESS=head.address, **head.token) == output("interactive.py", "local")


@pytest.mark.cluster
@pytest.mark.ray
def test_the_tutorial_on_a_cluster(head, tmp_path, monkeypatch):
    """Every command of its last part, as it stands there, with the files that the parts before have made."""
    text = TUTORIAL.read_text()
    python = "".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    environ = bare(PYTHONPATH=PROJECT)
    subprocess.run([sys.executable, "-c", python], cwd=tmp_path, env=environ, check=True, timeout=120)
    [console] = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exported, *commands = [shlex.split(line.removeprefix("$ ")) for line in console.splitlines()]
    assert exported == ["export", "RAY_ADDRESS=HOST:6379", "FAULTSET_SYSTEM=prod"]
    environ = {**head.token, "RAY_ADDRESS": head.address, "FAULTSET_SYSTEM": "tutorial", "PYTHONPATH": PROJECT}
    told = [(name, verb(environ, *arguments, cwd=tmp_path)) for name, *arguments in commands]
    assert {name for name, _ in told} == {"faultset"}
    said = [[json.loads(line) for line in done.stdout.splitlines()] for _, done in told]
    by_verb = dict(zip([command[1] for command in commands], said, strict=True))
    assert [verdict["state"] for verdict in by_verb["why"][0]["verdicts"]] == ["ejected"]
    assert sorted(by_verb["survivors"][0]["by_region"]["u0y"]) == ["fra-0", "fra-2"]
    assert {(change["id"], change["after"]) for change in by_verb["watch"][:-1]} >= {
        ("fra-1", "ejected"), ("fra-3", "ejected"), ("par-0", "healthy")
    }  # fmt: skip
    assert by_verb["replay"][0]["policies"].keys() == {"policy", "other"}
