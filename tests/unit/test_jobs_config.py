"""``--config``, ``--set``, ``config show`` and ``config check``, as a process would run them."""

import json
import logging
import sys
from pathlib import Path

import pytest

from faultset_ray.config.loading import known
from jobs import cli, output, settings
from jobs.encode import encode


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """In a directory with a file of settings and one to encode."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "FAULTSET_SYSTEM", "FAULTSET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    Path("faultset.toml").write_text('[codes]\nencode = "rs:2+1"\n')
    Path("other.toml").write_text('[codes]\nencode = "rs:2+2"\n')
    Path("data").write_bytes(b"0123456789")


@pytest.fixture
def run(monkeypatch, capsys):
    """``run("config", "show")`` as ``faultset config show``: exit code, last line's JSON, stdout, stderr."""

    def run(*arguments, application=cli.application):
        monkeypatch.setattr(sys, "argv", ["faultset", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            output.run(application)
        out, err = capsys.readouterr()
        lines = out.splitlines()
        return ended.value.code, json.loads(lines[-1]) if lines else None, out, err

    return run


@pytest.fixture(autouse=True)
def logging_kept():
    """Handlers and levels are what they were, afterwards."""
    loggers = [logging.getLogger(name) for name in ("faultset_ray", "actors", "jobs")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def code_of(told):
    return told["code"].partition(",")[0]


def test_a_command_goes_by_the_first_that_says_something(run, monkeypatch):
    def encoded(*arguments, before=()):
        code, told, _, err = run(*before, "encode", "data", "-o", "d", "--force", *arguments)
        assert (code, err) == (0, "")
        return code_of(told)

    assert encoded() == "rs:2+1"
    assert encoded("--config", "other.toml") == "rs:2+2"
    assert encoded(before=("--config", "other.toml")) == "rs:2+2"
    assert encoded("--config", "faultset.toml", before=("--config", "other.toml")) == "rs:2+1"
    monkeypatch.setenv("FAULTSET_CONFIG", "other.toml")
    assert encoded() == "rs:2+2"
    monkeypatch.setenv("FAULTSET_CODES_ENCODE", "rs:3+1")
    assert encoded("--config", "other.toml") == "rs:3+1"
    assert encoded(before=("--set", "codes.encode=rs:3+2")) == "rs:3+2"
    assert encoded("--set", "codes.encode=rs:3+3", before=("--set", "codes.encode=rs:3+2")) == "rs:3+3"
    assert encoded("--code", "rs:1+1", "--set", "codes.encode=rs:3+3") == "rs:1+1"


def test_a_module_takes_them_too(run):
    code, told, *_ = run("data", "-o", "d", "--config", "other.toml", application=output.app(encode))
    assert (code, code_of(told)) == (0, "rs:2+2")
    code, told, *_ = run("data", "-o", "e", "--set", "codes.encode=rs:1+1", application=output.app(encode))
    assert (code, code_of(told)) == (0, "rs:1+1")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["encode", "data", "-o", "d", "--set", "codes.encoding=x"], "did you mean codes.encode?"),
        (["encode", "data", "-o", "d", "--config", "no.toml"], "no.toml: can't be read"),
        (["--config", "bad.toml", "encode", "data", "-o", "d"], "bad.toml, line 2: codes.putt is no setting"),
        (["--config", "bad.toml", "config", "show"], "did you mean codes.put?"),
        (["ls", "--set", "cluster.system=a/b"], "cluster.system is 'a/b'"),
        (["verify", "d", "--set", 'plugins={"nobody": {}}'], "plugins.nobody code 'nobody': no plug-in"),
    ],
)
def test_what_can_not_be_used_is_refused_before_anything_is_done(run, arguments, why):
    Path("bad.toml").write_text("[codes]\nputt = 1\n")
    code, told, _, err = run(*arguments)
    assert (code, told["error"]["code"]) == (2, "invalid_config")
    assert why in told["error"]["message"]
    assert why in " ".join(err.split())
    assert not Path("d").exists()


def test_help_needs_no_config(monkeypatch, capsys):
    Path("faultset.toml").write_text("[")
    monkeypatch.setattr(sys, "argv", ["faultset", "put", "--help"])
    with pytest.raises(SystemExit) as ended:
        output.run(cli.application)
    assert ended.value.code == 0
    assert "--config" in capsys.readouterr().out


def test_show_tells_every_value_and_where_it_comes_from(run, monkeypatch):
    monkeypatch.setenv("FAULTSET_CODES_TOLERATE", "1")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "canary")
    code, told, out, err = run("config", "show", "--set", "codes.put=rs:4+1")
    assert (code, err, told["file"]) == (0, "", "faultset.toml")
    assert "canary" not in out
    assert list(told["settings"]) == list(known())
    seen = {key: (each["value"], each["from"], each["where"]) for key, each in told["settings"].items()}
    assert seen["codes.encode"] == ("rs:2+1", "file", "faultset.toml, line 2")
    assert seen["codes.tolerate"] == (1, "variable", "FAULTSET_CODES_TOLERATE")
    assert seen["codes.put"] == ("rs:4+1", "flag", "--set")
    assert seen["stores.dir"] == (None, "default", "")
    assert seen["security.ray_token"] == ("***", "variable", "RAY_AUTH_TOKEN")
    _, told, out, _ = run("config", "show", "--changed", "--json")
    assert sorted(told["settings"]) == ["codes.encode", "codes.tolerate", "security.ray_token"]
    assert len(out.splitlines()) == 1


def test_check_tells_all_that_is_wrong(run, monkeypatch):
    Path("bad.toml").write_text("a = 1\n[codes]\nput = 2\n")
    monkeypatch.setenv("FAULTSET_SYSTM", "x")
    monkeypatch.setenv("FAULTSET_CODES_TOLERATE", "x")
    code, told, out, _ = run("config", "check", "bad.toml")
    assert code == 2
    assert [problem["key"] for problem in told["problems"]] == ["a", "codes.put", "codes.tolerate"]
    assert told["problems"][0]["where"] == "bad.toml, line 1"
    assert [warning["nearest"] for warning in told["warnings"]] == ["FAULTSET_SYSTEM"]
    assert "bad.toml: 3 problems, 1 warnings" in out


def test_check_also_tells_what_can_not_work(run):
    Path("faultset.toml").write_text('[codes]\nput = "rs:2+1"\ntolerate = 2\n')
    code, told, *_ = run("config", "check")
    [problem] = told["problems"]
    assert (code, problem["where"], problem["key"]) == (2, "faultset.toml, line 3", "codes.tolerate")
    assert run("config", "check", "other.toml")[0] == 0


def test_logs_are_as_the_config_says(capsys):
    settings.log_to_stderr("info", "json")
    logging.getLogger("faultset_ray.x").info("seen %d", 3)
    logging.getLogger("faultset_ray.x").debug("unseen")
    told = json.loads(capsys.readouterr().err)
    assert (told["levelname"], told["name"], told["message"]) == ("INFO", "faultset_ray.x", "seen 3")
    settings.log_to_stderr("error", "text")
    logging.getLogger("actors.y").warning("unseen")
    logging.getLogger("actors.y").error("seen")
    assert capsys.readouterr().err == "ERROR actors.y: seen\n"
