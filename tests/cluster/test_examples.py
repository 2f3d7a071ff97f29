"""The examples run, in this process and on a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.support import PROJECT, bare

EXAMPLES = ("interactive.py", "encode_decode.py")


def output(name: str, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, Path(PROJECT, "examples", name), *arguments],
        env=bare(PYTHONPATH=PROJECT, **environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_in_this_process(name):
    assert output(name, "local").count("\n") > 3


@pytest.mark.cluster
@pytest.mark.ray
def test_the_answers_on_a_cluster_are_the_same(head):
    assert output("interactive.py", RAY_ADDRESS=head.address, **head.token) == output("interactive.py", "local")
