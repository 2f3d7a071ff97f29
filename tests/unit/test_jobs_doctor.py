"""``faultset doctor`` as a command: exit codes, one JSON line, and what it says where there is no cluster."""

import json
import os
import sys
from pathlib import Path

import grpc
import pytest

from actors import attach, exposure
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.driver import systems
from faultset_ray.errors import ClusterUnreachable
from jobs import doctor, output

HEAD = "10.0.0.7:6379"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """``run(…)`` as ``faultset doctor …``: exit code, result, findings by check, stdout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in list(os.environ):
        if name.startswith(("RAY_", "FAULTSET_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(attach, "canonicalize_bootstrap_address", lambda target: None if target == "auto" else target)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            output.run(doctor.application)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        result = json.loads(told.out.splitlines()[-1])
        return ended.value.code, result, {each["check"]: each for each in result.get("findings", ())}, told.out

    return call


@pytest.fixture
def cluster(monkeypatch):
    """A cluster that answers as it is told to; its places are in this process."""

    class Cluster:
        answers = grpc.StatusCode.OK
        open = False

        def ask(self, bootstrap, token):
            assert bootstrap == HEAD
            return (
                self.answers
                if token or self.open or self.answers is not grpc.StatusCode.OK
                else grpc.StatusCode.UNAUTHENTICATED
            )

    cluster = Cluster()
    monkeypatch.setattr(attach, "ask", cluster.ask)
    monkeypatch.setattr(exposure, "ask", cluster.ask)
    backend = LocalBackend([Place("n1", {"faultset.io/store": "true"}, host="10.0.0.8")])
    monkeypatch.setattr(systems, "open_backend", lambda name, system, address, config: backend)
    return cluster


def test_without_a_cluster_this_machine_is_looked_at(run):
    code, result, found, out = run()
    assert (code, result["counts"]["failed"]) == (0, 0)
    assert {"config", "wheel", "engine", "versions", "store_disk", "ray"} <= found.keys()
    assert (found["ray"]["level"], found["store_disk"]["level"]) == ("skipped", "skipped")
    assert "no place was looked at" in " ".join(out.replace("│", " ").split())


def test_this_machine_alone(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FAULTSET_STORE_DIR", str(tmp_path / "stores"))
    monkeypatch.setenv("RAY_ADDRESS", HEAD)
    code, _, found, _ = run("--local")
    assert code == 0
    assert found["store_disk"]["numbers"]["path"] == str(tmp_path / "stores")
    assert not (tmp_path / "stores").exists()


def test_something_failed(run, tmp_path):
    Path("faultset.toml").write_text('[codes]\nput = "rs:0+9"\n')
    code, result, found, out = run()
    assert (code, result["level"], found["config"]["level"]) == (4, "failed", "failed")
    assert "failed: config" in out
    Path("faultset.toml").write_text("[nothing]\na = 1\n")
    code, _, found, _ = run()
    assert (code, found["config"]["level"]) == (4, "failed")


def test_settings_that_only_look_like_ours(run, monkeypatch):
    monkeypatch.setenv("FAULTSET_SISTEM", "prod")
    code, result, found, _ = run()
    assert (code, result["level"], found["config"]["level"]) == (0, "warning", "warning")


@pytest.mark.parametrize("how", ["--address", "RAY_ADDRESS", "FAULTSET_CLUSTER_ADDRESS"])
@pytest.mark.parametrize(
    ("answers", "said"),
    [(grpc.StatusCode.UNAVAILABLE, "nothing listens there"), (grpc.StatusCode.UNAUTHENTICATED, "it asks for a token")],
)
def test_a_named_cluster_that_can_not_be_reached(run, cluster, monkeypatch, how, answers, said):
    cluster.answers = answers
    if how != "--address":
        monkeypatch.setenv(how, HEAD)
    code, _, found, _ = run(*(["--address", HEAD] if how == "--address" else []))
    assert (code, found["ray"]["level"]) == (5, "failed")
    assert said in found["ray"]["text"]
    assert "versions" in found, "this machine is looked at all the same"


def test_a_cluster_that_asks_for_a_token(run, cluster, monkeypatch, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("FAULTSET_STORE_DIR", str(tmp_path / "stores"))
    code, _, found, out = run("--address", HEAD, "--system", "prod")
    assert code == 0
    assert (found["ray"]["level"], found["auth"]["level"]) == ("ok", "ok")
    assert found["token"]["text"] == f"{token} has mode 0644: others may read Ray's token"
    assert found["clock"]["place"] == found["store_disk"]["place"] == "n1"
    assert found["place"]["text"] == "1 of 1 places answer"
    assert "secret" not in out


def test_an_open_cluster_is_a_finding(run, cluster):
    cluster.open = True
    code, _, found, _ = run("--address", HEAD)
    assert (code, found["auth"]["level"]) == (0, "warning")
    assert found["auth"]["numbers"]["hosts"] == ["10.0.0.7", "10.0.0.8"]


def test_what_connecting_refuses(run, cluster, monkeypatch):
    cluster.open = True

    def refuse(*_):
        raise ClusterUnreachable(HEAD, "another version of Ray")

    monkeypatch.setattr(systems, "open_backend", refuse)
    code, _, found, _ = run("--address", HEAD)
    assert (code, [each for each in found if each == "ray"]) == (5, ["ray"])


def test_a_name_that_no_system_can_have(run, cluster):
    code, result, _, _ = run("--address", HEAD, "--system", "a b")
    assert (code, result["error"]["code"]) == (2, "input_error")
