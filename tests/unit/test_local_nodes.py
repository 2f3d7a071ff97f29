"""Ray nodes that are kept by name, here with processes that only say they were Ray's."""

import fcntl
import json
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

import pytest

from actors import local_nodes
from actors.local_nodes import LocalNodes
from actors.processes import tree_of
from faultset_ray.config import Config
from faultset_ray.errors import ClusterUnreachable, InputError

FAKE = """
import subprocess, sys, time
role, log = sys.argv[1:3]
with open(log, "a") as file:
    print(*sys.argv[1:], file=file)
if role in {fails!r}:
    sys.exit("no port is free")
subprocess.Popen(["sleep", "600"])
print("Ray runtime started.", flush=True)
time.sleep(600)
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Nodes of a name; what they were started with is in ``started``. None is left."""
    for name in [name for name in os.environ if name.startswith(("RAY_", "FAULTSET_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    nodes = LocalNodes("demo")
    nodes.fails = set()
    nodes.log = tmp_path / "started"
    nodes.environ = []

    def command(role, options):
        nodes.environ.append(nodes._environment())
        given = [f"--{name}={value}" for name, value in options.items()]
        role = options.get("labels", role).rpartition("=")[2]
        return [sys.executable, "-c", FAKE.format(fails=nodes.fails), role, str(nodes.log), *given]

    monkeypatch.setattr(nodes, "_command", command)
    yield nodes
    nodes.end()


def pids(there):
    return {node.number: node.root.pid for node in there.nodes}


def test_nodes_outlive_who_started_them_until_they_are_ended(made):
    there = made.start(2, 3)
    assert LocalNodes("demo").read() == there
    assert [node.number for node in there.nodes] == [0, 1, 2]
    tree = tree_of([node.root for node in there.nodes])
    assert len(tree) == 6
    assert {each for node in there.nodes for each in (node.root, *node.below)} == set(tree)
    assert all(os.getsid(node.root.pid) == node.root.pid for node in there.nodes), "Ctrl-C here is not theirs"
    head, first, second = made.log.read_text().splitlines()
    assert "--num-cpus=0" in head
    assert there.temporary in head
    assert "faultset.io/store=true,faultset.io/region=local-1" in first
    assert "--num-cpus=3" in second
    assert Path(there.temporary).is_dir()
    assert {each.pid for each in made.end()} == {each.pid for each in tree}
    assert not any(each.runs for each in tree)
    assert (made.read(), Path(there.temporary).exists(), made.config.exists()) == (None, False, False)
    assert made.token.exists(), "for those that come again under this name"
    assert made.end() == []


def test_what_others_may_not_read(made):
    made.start(1, 1)
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    for path in (made.token, made._record):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_node_knows_its_cluster_and_no_other(made, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another")
    made.start(1, 1)
    told = made.environ[0]
    assert {name for name in told if name.startswith("RAY_")} == {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"}
    assert told["FAULTSET_STORE_DIR"] == str(made.folder / "stores")
    assert told["FAULTSET_STATE_DIR"] == str(made.folder / "state")
    monkeypatch.setenv("FAULTSET_STORE_DIR", "/disk/stores")
    assert str(made.store_dir) == "/disk/stores", "this machine's own setting counts more"


def test_the_file_for_other_commands(made):
    there = made.start(1, 1)
    config = Config.load(made.config, environ={})
    assert (config.cluster.address, config.cluster.system) == (there.address, "demo")
    assert (config.security.ray_auth_mode, config.security.ray_token_path) == ("token", str(made.token))


def test_again_does_nothing_and_what_is_gone_comes_back(made):
    there = made.start(2, 1)
    assert pids(made.start(2, 1)) == pids(there)
    _, gone, _ = there.nodes
    os.kill(gone.root.pid, signal.SIGKILL)  # alone: what is below it is left
    os.waitpid(gone.root.pid, 0)
    assert gone.below[0].runs
    again = made.start(3, 1)
    assert sorted(pids(again)) == [0, 1, 2, 3]
    assert (pids(again)[0], pids(again)[2]) == (pids(there)[0], pids(there)[2])
    assert not gone.below[0].runs
    with pytest.raises(InputError, match="has 3 nodes already"):
        made.start(2, 1)


def test_without_its_head_a_cluster_is_made_anew(made):
    there = made.start(1, 1)
    os.kill(there.nodes[0].root.pid, signal.SIGKILL)
    os.waitpid(there.nodes[0].root.pid, 0)
    again = made.start(1, 1)
    assert set(pids(again).values()).isdisjoint(pids(there).values())
    assert not any(each.runs for node in there.nodes for each in (node.root, *node.below))
    assert not Path(there.temporary).exists()


def test_a_node_that_does_not_start_leaves_nothing(made):
    made.fails = {"local-2"}
    with pytest.raises(ClusterUnreachable, match="no port is free"):
        made.start(2, 1)
    assert made.log.read_text().count("local-2") >= local_nodes._TRIES
    assert made.read() is None
    assert not [path for path in Path("/proc").glob("[0-9]*") if str(made.log) in command_line(path)]


def command_line(path):
    try:
        return (path / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_numbers_of_another_boot_are_nobody(made):
    there = made.start(1, 1)
    record = json.loads(made._record.read_text())
    kept = [node.root for node in there.nodes] + [each for node in there.nodes for each in node.below]
    for node in record["nodes"]:
        for each in (node["root"], *node["below"]):
            each["boot"] = "the one before"
    made._record.write_text(json.dumps(record))
    assert made.end() == []
    assert all(each.runs for each in kept), "they only have the same numbers"
    for each in kept:
        each.send(signal.SIGKILL)


def test_a_record_that_can_not_be_read_is_named(made):
    made.folder.mkdir(parents=True)
    made._record.write_text("{")
    with pytest.raises(InputError, match=r"cluster\.json can't be read"):
        made.start(1, 1)
    made._record.unlink()


def test_two_at_once(made):
    made.folder.mkdir(parents=True)
    with (made.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another command"):
            made.start(1, 1)
    shutil.rmtree(made.folder)
