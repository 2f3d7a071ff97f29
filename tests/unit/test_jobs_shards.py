"""The commands on shards as processes: pipes, JSON alone, progress on a terminal, exit codes."""

import json
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from commands import ROOT, faultset
from damaging import flip

CONTENT = np.random.default_rng(1).bytes(300_000)


@pytest.fixture
def encoded(tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    assert faultset(tmp_path, "encode", "f", "--code", "rs:4+2", "-o", "d").returncode == 0
    return tmp_path


def test_through_pipes(tmp_path):
    done = faultset(tmp_path, "encode", "-", "--code", "rs:4+2", "-o", "d", "--name", "dump", stdin=CONTENT)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.splitlines()[-1])["size"] == len(CONTENT)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [f"dump.{i:03d}.shard" for i in range(6)]
    flip(tmp_path / "d" / "dump.001.shard")
    done = faultset(tmp_path, "decode", "d", "-o", "-")
    assert done.returncode == 0
    assert done.stdout == CONTENT, "nothing but the data"
    lines = done.stderr.splitlines()
    assert json.loads(lines[-1])["unusable"] == {"1": "corrupt: stripe 0, granule 0"}
    assert b"\x1b" not in done.stderr, "no progress where there is no terminal"
    done = faultset(tmp_path, "encode", "-", "--code", "xor:2+1", "-o", "none", "--name", "a/b", stdin=b"")
    assert done.returncode == 2
    assert not (tmp_path / "none").exists()


def test_shards_of_a_lower_generation_are_stale(encoded):
    newer = [encoded / "new" / f"f.{index:03d}.shard" for index in range(6)]
    done = faultset(encoded, "encode", "f", "--code", "rs:4+2", "-o", "new", "--generation", "2")
    assert done.returncode == 0
    for path in newer[3:]:
        path.write_bytes((encoded / "d" / path.name).read_bytes())
    (encoded / "new" / "f.005.shard").unlink()
    done = faultset(encoded, "decode", "new", "-o", "out")
    assert done.returncode == 3
    missing = json.loads(done.stdout.splitlines()[-1])["error"]["missing"]
    assert missing == {"3": "stale: of generation 0, not 2", "4": "stale: of generation 0, not 2", "5": "missing"}


def test_a_named_pipe_is_not_replaced(encoded):
    os.mkfifo(encoded / "pipe")
    done = faultset(encoded, "decode", "d", "-o", "pipe")
    assert done.returncode == 2
    assert b"use `-o - > pipe`" in done.stderr
    assert (encoded / "pipe").is_fifo()


def test_too_little_for_a_pipe(encoded):
    for index in range(3):
        flip(encoded / "d" / f"f.{index:03d}.shard")
    done = faultset(encoded, "decode", "d", "-o", "-")
    assert done.returncode == 3
    assert len(done.stdout) < len(CONTENT)
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "not_enough_shards"
    assert faultset(encoded, "decode", "d", "-o", "out").returncode == 3
    assert not (encoded / "out").exists()


def test_json_alone(encoded):
    for arguments in (["encode", "f", "-o", "e"], ["decode", "d", "-o", "g"], ["verify", "d"], ["repair", "d"]):
        done = faultset(encoded, *arguments, "--json")
        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout)["size"] == len(CONTENT)


def test_verify_and_repair(encoded):
    before = {path.name: path.read_bytes() for path in (encoded / "d").iterdir()}
    assert faultset(encoded, "verify", "d").returncode == 0
    flip(encoded / "d" / "f.001.shard")
    (encoded / "d" / "f.003.shard").unlink()
    done = faultset(encoded, "verify", "d")
    assert done.returncode == 4
    assert b"4 of 6 shards are sound" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["recoverable"] is True
    assert result["damaged"] == {
        "1": {"file": "d/f.001.shard", "reason": "corrupt: stripe 0, granule 0", "corrupt": [[0, 0]]},
        "3": {"file": None, "reason": "missing", "corrupt": []},
    }
    done = faultset(encoded, "repair", "d")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["repaired"] == {"1": "d/f.001.shard", "3": "d/f.003.shard"}
    assert {path.name: path.read_bytes() for path in (encoded / "d").iterdir()} == before
    for index in range(3):
        flip(encoded / "d" / f"f.{index:03d}.shard")
    done = faultset(encoded, "verify", "d")
    assert done.returncode == 3
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["recoverable"], sorted(result["damaged"])) == (False, ["0", "1", "2"])
    assert result["error"]["have"] == 3
    assert faultset(encoded, "repair", "d").returncode == 3
    assert faultset(encoded, "verify", "nowhere").returncode == 2


def test_progress_on_a_terminal(encoded):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "decode", "d", "-o", "-"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=encoded, env=environ, stdout=subprocess.PIPE, stderr=theirs, check=False)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert done.stdout == CONTENT
    assert b"decode" in shown
    assert b"\x1b[" in shown
    assert b"/293.0 KiB" in shown, "of the total"


def test_encoding_again_is_refused(encoded):
    before = {path.name: path.read_bytes() for path in (encoded / "d").iterdir()}
    done = faultset(encoded, "encode", "f", "--code", "rs:2+1", "-o", "d", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "input_error"
    assert "already holds shards of f (6, such as f.000.shard)" in error["message"]
    assert {path.name: path.read_bytes() for path in (encoded / "d").iterdir()} == before


def test_one_of_several_is_named(encoded):
    (encoded / "g").write_bytes(b"other")
    assert faultset(encoded, "encode", "g", "--code", "rs:4+2", "-o", "d").returncode == 0
    done = faultset(encoded, "decode", "d", "-o", "out")
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert (done.returncode, error["code"]) == (2, "ambiguous_object")
    write_id = next(one.split()[0] for one in error["candidates"] if "(rs:4+2,matrix=cauchy, 5 bytes" in one)
    assert write_id.encode() in done.stderr
    for name in ("g", write_id):
        assert faultset(encoded, "decode", "d", "-o", "out", "--object", name).returncode == 0
        assert (encoded / "out").read_bytes() == b"other"
    flip(encoded / "d" / "f.001.shard")
    assert faultset(encoded, "verify", "d", "--object", "g").returncode == 0
    assert faultset(encoded, "verify", "d", "--object", "f").returncode == 4
    assert faultset(encoded, "repair", "d", "--object", "f").returncode == 0
    assert faultset(encoded, "verify", "d", "--object", "f").returncode == 0
    assert faultset(encoded, "verify", "d", "--object", "h").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["encode", "nofile", "-o", "e"], "there is no file nofile", 2),
        (["encode", "d", "-o", "e"], "d is a directory; expected a file", 2),
        (["encode", "f", "-o", "f"], "f is no directory", 2),
        (["encode", "f", "-o", "f/g"], "f/g is no directory", 2),
        (["encode", "f", "-o", "d"], "already holds shards of f (6, such as f.000.shard)", 2),
        (["encode", "-", "-o", "e", "--name", "a\nb"], "can't be what files are called", 2),
        (["decode", "empty", "-o", "out"], "empty holds no *.shard file", 3),
        (["verify", "empty"], "empty holds no *.shard file", 3),
        (["repair", "f"], "f is no directory; expected the one that holds the shard files", 2),
        (
            ["decode", "nodir", "-o", "out"],
            "there is no directory nodir; expected the one that holds the shard files",
            2,
        ),
        (["decode", "d/f.000.shard", "-o", "out"], "d/f.000.shard is no directory; expected the one that holds", 2),
        (["encode", "f", "-o", "-"], "shards are several files and can't go to stdout; name a directory", 2),
        (["decode", "d", "-o", "empty"], "empty is a directory", 2),
    ],
)
def test_what_can_not_be_is_told(encoded, arguments, told, code):
    (encoded / "empty").mkdir()
    done = faultset(encoded, *arguments)
    assert done.returncode == code
    assert told in " ".join(done.stderr.decode().split()).replace("│ ", "")
    assert not (encoded / "e").exists()
    assert not (encoded / "-").exists()


def test_what_is_in_files_that_are_no_shards_is_told(encoded):
    (encoded / "junk").mkdir()
    (encoded / "junk" / "readme.shard").write_bytes(b"junk")
    done = faultset(encoded, "decode", "junk", "-o", "out")
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    why = "readme.shard: ends within the header: 4 of 256 bytes at byte 4"
    assert (done.returncode, error["need"], error["missing"], error["unusable"]) == (3, None, {}, {"0": why})
    assert why in " ".join(done.stderr.decode().split())


@pytest.mark.parametrize("arguments", [["decode", "d", "-o", "-"], ["verify", "d"], ["verify", "d", "--json"]])
def test_a_pipe_that_nobody_reads(encoded, arguments):
    """1 would mean that there are no survivors."""
    read, write = os.pipe()
    os.close(read)
    done = faultset(encoded, *arguments, stdout=write)
    os.close(write)
    assert done.returncode == 2
    assert b"has closed it" in done.stderr
    assert b"Traceback" not in done.stderr


def test_encoding_again_by_force(encoded):
    other = CONTENT[::-1]
    (encoded / "f").write_bytes(other)
    (encoded / "d" / "f.001.new.shard").write_bytes(b"left by one that crashed")
    assert faultset(encoded, "encode", "f", "--code", "rs:2+1", "-o", "d").returncode == 2
    assert faultset(encoded, "encode", "f", "--code", "rs:2+1", "-o", "d", "--force").returncode == 0
    assert sorted(path.name for path in (encoded / "d").iterdir()) == [f"f.00{index}.shard" for index in range(3)]
    assert faultset(encoded, "decode", "d", "-o", "out").returncode == 0
    assert (encoded / "out").read_bytes() == other


def test_damaged_copies_are_removed(encoded):
    shards = encoded / "d"
    for name in ("a", "b"):
        (shards / f"{name}.shard").write_bytes((shards / "f.002.shard").read_bytes())
    flip(shards / "a.shard")
    done = faultset(encoded, "verify", "d", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["damaged"]) == (4, {})
    assert [copy["file"] for copy in result["damaged_copies"]] == ["d/a.shard"]
    done = faultset(encoded, "repair", "d", "--json")
    assert json.loads(done.stdout)["removed"] == ["d/a.shard"]
    assert not (shards / "a.shard").exists()
    assert faultset(encoded, "verify", "d").returncode == 0
    flip(shards / "b.shard")
    flip(shards / "f.002.shard")
    result = json.loads(faultset(encoded, "repair", "d", "--json").stdout)
    assert (list(result["repaired"]), len(result["removed"])) == (["2"], 1)
    assert len(list(shards.iterdir())) == 6
    assert faultset(encoded, "verify", "d").returncode == 0
