"""The commands around the HTTP API: tokens, and what `serve` refuses before it begins."""

import json
import stat
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import jobs.serve
from faultset_ray.errors import InputError
from faultset_ray.http.tokens import TokenFile
from jobs import output
from jobs.cli import application


def now_ms():
    return int(1000 * time.time())


@pytest.fixture
def faultset(monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(output.console, "quiet", False)
        result = CliRunner().invoke(application, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def last(result):
    return json.loads(result.stdout.splitlines()[-1])


def test_a_token_is_made_listed_and_revoked(faultset, tmp_path):
    path = tmp_path / "tokens.json"
    before_ms = now_ms()
    made = last(faultset("token", "add", "--file", path, "--scope", "read", "--scope", "write", "--days", 2, "--json"))
    bearer = made["token"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert bearer.split("_", 2)[2] not in path.read_text()
    assert before_ms <= made["expires_ms"] - 2 * 86_400_000 <= now_ms()
    found = TokenFile(path).find(bearer, now_ms())
    assert found.scopes == ("read", "write")
    other = last(faultset("token", "add", "--file", path, "--scope", "admin", "--note", "for CI"))
    assert other["token"] != bearer
    listed = faultset("token", "list", "--file", path)
    assert [token["id"] for token in last(listed)["tokens"]] == [made["id"], other["id"]]
    assert "for CI" in listed.stdout
    assert bearer not in listed.stdout
    assert last(faultset("token", "revoke", "--file", path, made["id"]))["revoked"] == made["id"]
    assert TokenFile(path).find(bearer, now_ms()) is None
    assert TokenFile(path).find(other["token"], now_ms()) is not None


def test_a_secret_on_a_command_line_is_not_taken(faultset, tmp_path):
    path = tmp_path / "tokens.json"
    bearer = last(faultset("token", "add", "--file", path, "--scope", "read"))["token"]
    with pytest.raises(InputError) as raised:
        faultset("token", "revoke", "--file", path, bearer)
    assert bearer not in str(raised.value)
    with pytest.raises(InputError, match="no scope"):
        faultset("token", "add", "--file", path, "--scope", "root")


def test_serve_refuses_other_machines_without_tokens(faultset):
    with pytest.raises(InputError, match="tokens"):
        faultset("serve", "--host", "0.0.0.0")


def test_the_application_goes_by_the_config_of_who_builds_it(tmp_path, monkeypatch):
    made = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text('[codes]\nput = "copy:2"\n[cluster]\nsystem = "file"\naddress = "h:1"\n')
    monkeypatch.setenv("FAULTSET_CONFIG", str(tmp_path / "own.toml"))
    monkeypatch.delenv("FAULTSET_SYSTEM", raising=False)
    host = SimpleNamespace(application=lambda *given, **options: made.append((*given[1:], options)))
    monkeypatch.setattr(jobs.serve, "_ingress", lambda: host)
    jobs.serve.app({"tokens": str(tmp_path / "t")})
    monkeypatch.setenv("FAULTSET_SYSTEM", "variable")
    jobs.serve.app({"tokens": str(tmp_path / "t")})
    jobs.serve.app({"tokens": str(tmp_path / "t"), "system": "argument"})
    assert [options["system"] for (options,) in made] == ["file", "variable", "argument"]
    assert {options["settings"].codes.put for (options,) in made} == {"copy:2"}


def test_the_application_for_serves_own_configuration(tmp_path):
    for args in ({}, {"system": "prod"}, {"tokens": None}):
        with pytest.raises(InputError, match="tokens"):
            jobs.serve.app(args)
    with pytest.raises(InputError, match="takes no 'tokns'"):
        jobs.serve.app({"tokns": "x"})
    with pytest.raises(InputError, match="takes no 'host'"):
        jobs.serve.app({"host": "127.0.0.1"})
    with pytest.raises(InputError, match="hosts"):
        jobs.serve.app({"tokens": str(tmp_path / "t"), "hosts": ["*"]})
