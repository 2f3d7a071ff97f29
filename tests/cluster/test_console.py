"""Blocks of the documentation that show a terminal, typed as they stand there, on a cluster with stores."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from console import HERE, Block, blocks

from actors.local_cluster import LocalNode
from cluster.support import PROJECT, bare, token_of_ray

pytestmark = [pytest.mark.ray, pytest.mark.docs, pytest.mark.timeout(600)]

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": name}, cpus=1) for name in "aabbcc"]
TYPED = [block for block in blocks() if block.run_by == HERE]


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def terminal(attached, tmp_path_factory):
    """What a reader has: the command, some files, a program that writes something, and a system with an object."""
    home = tmp_path_factory.mktemp("home")
    programs = {
        "faultset": f'exec {sys.executable} -m jobs.cli "$@"',
        "pg_dump": "printf 'all of %s' \"$1\"",
    }
    for name, script in programs.items():
        path = home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (home / "ledger.bin").write_bytes(os.urandom(100_000))
    (home / "notes.txt").write_text("what must not be lost")
    (home / "prod.toml").write_text('[cluster]\nsystem = "prod"\n')
    environ = token_of_ray() | {
        "RAY_ADDRESS": attached.address,
        "FAULTSET_SYSTEM": "prod",
        "FAULTSET_STATE_DIR": os.environ["FAULTSET_STATE_DIR"],
        "PYTHONPATH": PROJECT,
        "PATH": f"{home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
    }

    def typed(script: str) -> subprocess.CompletedProcess[str]:
        script = re.sub("(HEAD|HOST):6379", attached.address, script)
        script = script.replace("~/.local/state/faultset-ray", os.environ["FAULTSET_STATE_DIR"])
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=home,
            env=bare(**environ),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    (home / "fleet.csv").write_text("id,lat,lon,latency_ms\nfra-1,50.11,8.68,12\npar-1,48.86,2.35,210\n")
    begun = typed("faultset put scratch/0001 notes.txt --code rs:4+2; faultset register fleet.csv")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    return typed


def test_there_is_something_to_type():
    assert len(TYPED) >= 7
    assert {"README.md", "docs/guides/objects.md", "docs/recovery.md"} <= {block.page for block in TYPED}


@pytest.mark.parametrize("block", TYPED, ids=lambda block: f"{block.page}: {block.commands[0][:40]}")
def test_a_block(terminal, block: Block):
    done = terminal("\n".join(block.commands))
    assert done.returncode == 0, f"{block.commands}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"


def run(terminal, script: str) -> None:
    done = terminal(f"python - <<'PYTHON'\n{script}\nPYTHON")
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"


def test_ray_is_asked_for_logs_in_json(terminal, attached):
    [line] = [block.lines[0] for block in blocks() if block.lines[0].startswith("ray.init(")]
    line = line.replace('"auto"', repr(attached.address))
    run(terminal, f"import ray\nimport faultset_ray as fs\n{line}\nfs.connect(system='prod').close()")


def test_data_frames_on_a_cluster(terminal):
    """The blocks that need one, which the page marks as text."""
    text = Path(PROJECT, "docs", "guides", "dataframes.md").read_text().partition("## On a cluster")[2]
    shown = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [block.count("\n") for block in shown] == [3, 1]
    before = """
import fsspec, pandas as pd, ray
from faultset_ray.filesystem import FaultsetFileSystem
made = FaultsetFileSystem("prod", "HOST:6379", "rs:4+2")
made.pipe_file("raw/2026/a.csv", b"city,ms\\nOslo,40\\n")
pd.DataFrame({"city": ["Oslo", "Lyon"], "ms": [40, 2]}).to_parquet("by_city/one.parquet", filesystem=made)
"""
    after = "\nassert len(files.find('copy')) == 1\n"
    run(terminal, before + "\n".join(shown) + after)
