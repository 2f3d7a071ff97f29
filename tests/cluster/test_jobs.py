"""The jobs as their users run them: as commands, and submitted to a cluster that has only the dependencies."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import schemas
from typer.testing import CliRunner
from waiting import free_port

import faultset_ray as fs
from cluster.support import PROJECT, RayHead, at_most, bare
from faultset_ray._version import __version__
from jobs.cli import application

ray = pytest.mark.ray
NODES = [fs.Node(f"n{i:03d}", 10.0 * (i % 8), -9.0 * (i % 5), float(i * 37 % 200)) for i in range(200)]


@pytest.fixture(scope="module")
def fleet_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fleet") / "fleet.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(fs.Node._fields)
        writer.writerows(NODES)
    return path


def job(*arguments: object, **environ: str) -> tuple[int, dict[str, object], str]:
    """Exit code, result (the last line of stdout, held to its schema) and stderr of ``python -m jobs.…``."""
    module, *rest = map(str, arguments)
    done = subprocess.run(
        [sys.executable, "-m", module, *rest],
        cwd=PROJECT,
        env=bare(**environ),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, result_of(module, done.stdout), done.stderr


def result_of(module: str, text: str) -> dict[str, object]:
    """The last line, held to the schema of the verb that is the module."""
    [result] = schemas.checked([module.removeprefix("jobs.")], text.strip().splitlines()[-1])
    return result


def said(*command: object) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=PROJECT, env=bare(PYTHONPATH=PROJECT), capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("verb", ["failover", "encode", "decode", "drill"])
def test_a_verb_and_its_job_are_one(verb):
    as_module = said(sys.executable, "-m", f"jobs.{verb}", "--help")
    as_verb = CliRunner().invoke(application, [verb, "--help"])
    assert as_verb.exit_code == 0
    assert "--help" in options(as_module)
    assert options(as_module) == options(as_verb.stdout)


def options(text: str) -> set[str]:
    return {word for word in text.split() if word.startswith("--")}


def test_the_command_lists_its_verbs():
    faultset = Path(sys.executable).with_name("faultset")
    assert {"failover", "encode", "decode", "drill"} <= set(said(faultset, "--help").split())
    assert said(faultset, "--version").strip() == __version__


def test_failover_in_this_process(fleet_file):
    code, result, _ = job("jobs.failover", "--nodes-file", fleet_file, "--threshold", 50, "--precision", 3)
    assert code == 0
    assert result["survivors"] == fs.faultset(NODES, 50.0, 3)


def test_nobody_survives(tmp_path):
    path = tmp_path / "fleet.jsonl"
    path.write_text(json.dumps(NODES[5]._asdict()))
    code, result, _ = job("jobs.failover", "--nodes-file", path, "--threshold", 1)
    assert (code, result["survivors"]) == (1, [])


def test_usage(tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text("id,lat,lon,latency_ms\na,95,0,1\n")
    code, result, stderr = job("jobs.failover", "--nodes-file", path, "--threshold", 1)
    assert code == 2
    assert result["error"]["code"] == "invalid_node"
    assert "line 2" in stderr
    assert job("jobs.failover", "--nodes-file", tmp_path / "none.csv", "--threshold", 1)[0] == 2
    assert job("jobs.encode", path, "--out", tmp_path / "out", "--code", "rs:4+-1")[0] == 2
    done = subprocess.run(
        [sys.executable, "-m", "jobs.failover"], cwd=PROJECT, env=bare(), capture_output=True, check=False
    )
    assert done.returncode == 2


def test_shards_round_trip_and_run_out(tmp_path):
    source, shards, out = tmp_path / "in.bin", tmp_path / "shards", tmp_path / "out.bin"
    source.write_bytes(np.random.default_rng(0).bytes(1_000_003))
    code, encoded, _ = job("jobs.encode", source, "-o", shards, "--code", "rs:3+2")
    assert code == 0
    assert encoded["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert [Path(path).exists() for path in encoded["shards"]] == [True] * 5
    for path in encoded["shards"][:2]:
        Path(path).unlink()
    code, decoded, _ = job("jobs.decode", shards, "--out", out)
    assert (code, decoded["sha256"]) == (0, encoded["sha256"])
    assert set(decoded["unusable"]) == {"0", "1"}
    assert out.read_bytes() == source.read_bytes()
    Path(encoded["shards"][3]).write_bytes(b"no shard")
    out.unlink()
    code, failed, stderr = job("jobs.decode", shards, "--out", out)
    assert code == 3
    assert failed["error"]["code"] == "not_enough_shards"
    assert (failed["error"]["have"], failed["error"]["need"]) == (2, 3)
    assert set(failed["error"]["missing"]) == {"0", "1", "3"}
    assert "have 2 shards, need 3" in stderr
    assert not out.exists()


@ray
def test_no_cluster(fleet_file):
    address = f"127.0.0.1:{free_port()}"
    with at_most(20.0):
        code, result, _ = job("jobs.failover", "--nodes-file", fleet_file, "--threshold", 1, "--address", address)
    assert (code, result["error"]["code"]) == (5, "cluster_unreachable")


def submit(head: RayHead, name: str, *entry: object) -> tuple[int, dict[str, object]]:
    """Submit from the checkout as the documentation says; the driver's own exit code, and its result."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.dashboard]
    command += ["--submission-id", name, "--working-dir", ".", "--", "python", "-m", *map(str, entry)]
    done = subprocess.run(
        command, cwd=PROJECT, env=bare(**head.token), capture_output=True, text=True, timeout=150, check=False
    )
    details = ask(head, f"/api/jobs/{name}")
    assert (done.returncode == 0) == (details["driver_exit_code"] == 0), done.stdout + done.stderr
    said = ask(head, f"/api/jobs/{name}/logs")["logs"]
    assert "Traceback" not in said, said
    return details["driver_exit_code"], result_of(str(entry[0]), said)


def ask(head: RayHead, path: str) -> dict[str, object]:
    token = Path(head.token["RAY_AUTH_TOKEN_PATH"]).read_text()
    request = urllib.request.Request(head.dashboard + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def submitted(head: RayHead, *arguments: object, **environ: str) -> tuple[int, list[str], dict[str, object]]:
    """Exit code of ``faultset submit`` of a cluster's own address; the job's last lines, and the verb's result."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.submit", *map(str, arguments)],
        cwd=PROJECT,
        env=bare(**head.token, RAY_ADDRESS=head.address, **environ),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()[:-1], result_of("submit", done.stdout)


@ray
def test_submitted_failover(head, fleet_file):
    """Run from the checkout on a cluster that has the dependencies only."""
    options = ("--nodes-file", fleet_file, "--precision", 3, "--threshold", 50)
    code, job, result = submitted(head, "--submission-id", "failover", "--", "python", "-m", "jobs.failover", *options)
    assert (code, result["status"], result["driver_exit_code"]) == (0, "SUCCEEDED", 0)
    assert result["address"] == head.dashboard
    assert result_of("jobs.failover", job[-1])["survivors"] == fs.faultset(NODES, 50.0, 3)


@pytest.mark.cluster
@ray
def test_a_submitted_script_ends_with_its_own_exit_code(head, tmp_path):
    """Our code comes with it, though its directory has none."""
    script = "import os, sys, jobs, faultset_ray\nprint(os.environ['MINE'], faultset_ray.__version__)\nsys.exit(7)\n"
    (tmp_path / "s.py").write_text(script)
    code, job, result = submitted(head, "--working-dir", tmp_path, "--env", "MINE=a b", "--", "s.py")
    assert (code, result["driver_exit_code"]) == (7, 7)
    assert job[-1] == f"a b {__version__}"
    options = "--working-dir", tmp_path, "--submission-id", "slow"
    code, _, result = submitted(head, *options, "--no-wait", "--", "sh", "-c", "echo begun; exec sleep 300")
    assert (code, result["driver_exit_code"]) == (0, None)
    assert interrupted(head, "slow") == (130, "STOPPED")
    code, _, result = submitted(head, "--follow", "slow")
    assert (code, result["error"]["code"], result["error"]["status"]) == (5, "job_lost", "STOPPED")
    code, _, result = submitted(head, *options, "--", "true")
    assert (code, result["error"]["code"]) == (2, "input_error")
    assert "slow" in result["error"]["message"]


def interrupted(head: RayHead, name: str) -> tuple[int, str]:
    """Follow a job until it writes, press Ctrl-C so that it is stopped; exit code and status."""
    command = [sys.executable, "-m", "jobs.submit", "--follow", name, "--stop-on-interrupt"]
    environ = bare(**head.token, RAY_ADDRESS=head.address)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it, and pass it on
    try:
        process = subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        while process.stdout.readline() != "begun\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    return process.returncode, result_of("submit", out)["status"]


@pytest.mark.cluster
@ray
def test_submitted_encode_and_decode(head, tmp_path):
    source, shards, out = tmp_path / "in.bin", tmp_path / "shards", tmp_path / "out.bin"
    source.write_bytes(np.random.default_rng(1).bytes(3_000_017))
    code, encoded = submit(head, "encode", "jobs.encode", source, "--code", "rs:4+2", "--out", shards)
    assert (code, encoded["size"]) == (0, 3_000_017)
    for path in encoded["shards"][1:3]:
        Path(path).unlink()
    code, decoded = submit(head, "decode", "jobs.decode", shards, "--out", out)
    assert (code, decoded["sha256"]) == (0, encoded["sha256"])
    assert out.read_bytes() == source.read_bytes()


@ray
def test_drill(tmp_path):
    file, report = tmp_path / "file", tmp_path / "report.json"
    file.write_bytes(np.random.default_rng(2).bytes(2_000_001))
    code, result, _ = job(
        "jobs.drill", "--nodes", 4, "--code", "rs:2+2", "--kill", 2, "--file", file, "--seed", 3, "--report", report
    )
    assert code == 0, result
    assert json.loads(report.read_text()) == result
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (result["sha256_in"], result["sha256_out"]) == (digest, digest)
    assert len(result["lost_shards"]) == len(result["killed"]) == 2
    assert len({victim["region"] for victim in result["killed"]}) == 1, "one region, and all of it"
    assert (result["durability"], result["survivable"]) == ("fsync", 2)
    assert all(victim["place"] and len(victim["pids"]) > 1 for victim in result["killed"])
    assert set(result["survivors_after"]) < set(result["survivors_before"])


@pytest.mark.cluster
@ray
def test_a_drill_that_kills_one_too_many(tmp_path):
    file, report = tmp_path / "file", tmp_path / "report.json"
    file.write_bytes(b"lost" * 1000)
    code, result, stderr = job(
        "jobs.drill", "--nodes", 3, "--code", "rs:2+1", "--kill", 2, "--file", file, "--report", report
    )
    assert code == 3
    error = result["error"]
    assert (error["code"], error["have"], error["need"]) == ("not_enough_shards", 1, 2)
    assert sorted(map(int, error["missing"])) == sorted(result["lost_shards"])
    assert "have 1 shards, need 2" in stderr
    assert json.loads(report.read_text())["error"]["code"] == "not_enough_shards"
