"""What every verb takes: how much it tells, and how a line of its log looks."""

import json
import logging
import sys

import pytest

from faultset_ray.config import Config
from jobs import output
from jobs.cli import VERBS, application, command

LOG = logging.getLogger("faultset_ray.test_jobs_flags")
EVERY_VERB = {"--json", "--config", "--set", "--verbose", "-v", "--quiet", "-q", "--log-format"}


def verbs():
    """Every verb with what it takes: ``config show``, not ``config``."""
    for name in VERBS:
        made = command(name)
        for own, verb in getattr(made, "commands", {"": made}).items():
            yield f"{name} {own}".strip(), verb


@pytest.mark.parametrize(("name", "verb"), [*verbs()])
def test_every_verb_takes_them(name, verb):
    assert set().union(*(each.opts for each in verb.params)) >= EVERY_VERB


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Exit code, stdout, stderr; while the verb reads its config it logs a line of each level."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FAULTSET_CONFIG", raising=False)
    levels = [
        (logger, logger.level, list(logger.handlers))
        for logger in map(logging.getLogger, ("faultset_ray", "actors", "jobs"))
    ]
    (tmp_path / "data").write_bytes(b"0123456789")
    shown = Config.shown

    def talking(config):
        for level in ("debug", "info", "warning", "error"):
            getattr(LOG, level)("a line, %s", level)
        return shown(config)

    monkeypatch.setattr(Config, "shown", talking)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["faultset", *arguments])
        with pytest.raises(SystemExit) as ended:
            output.run(application)
        return ended.value.code or 0, *capsys.readouterr()

    yield call
    for logger, level, handlers in levels:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [
        (["config", "show"], "warning error"),
        (["config", "show", "-v"], "info warning error"),
        (["-v", "config", "show"], "info warning error"),
        (["config", "show", "-vv"], "debug info warning error"),
        (["config", "show", "--verbose", "--verbose"], "debug info warning error"),
        (["config", "show", "-vvv"], "debug info warning error"),
        (["-vv", "config", "show", "-v"], "info warning error"),
        (["config", "show", "-q"], "error"),
        (["--quiet", "config", "show"], "error"),
        (["config", "show", "-v", "--set", "log.level=error"], "info warning error"),
    ],
)
def test_how_much_is_logged(run, arguments, levels):
    code, _, err = run(*arguments)
    assert code == 0
    assert [line.rpartition(" ")[2] for line in err.splitlines()] == levels.split()


def test_lines_for_programs(run):
    _, _, err = run("config", "show", "--log-format", "json")
    lines = [json.loads(line) for line in err.splitlines()]
    assert [(line["levelname"], line["message"]) for line in lines] == [
        ("WARNING", "a line, warning"),
        ("ERROR", "a line, error"),
    ]
    assert run("--log-format", "json", "config", "show")[2].startswith("{")
    assert not run("--log-format", "json", "config", "show", "--log-format", "text")[2].startswith("{")
    assert run("config", "show", "--log-format", "yaml")[0] == 2


def test_the_format_holds_for_what_is_said_of_the_settings(run, monkeypatch):
    monkeypatch.setenv("FAULTSET_SYSTM", "x")
    _, _, err = run("encode", "data", "-o", "d", "--code", "copy:2", "--log-format", "json")
    assert "FAULTSET_SYSTM" in json.loads(err.splitlines()[0])["message"]


def test_quiet_leaves_the_result_and_errors(run):
    code, out, err = run("encode", "data", "-o", "d", "--code", "copy:2", "-q")
    assert (code, len(out.splitlines()), err) == (0, 1, "")
    assert json.loads(out)["size"] == 10
    code, out, err = run("encode", "nothing", "-o", "d", "-q")
    assert code == 2
    assert "nothing" in err
    assert json.loads(out)["error"]


def test_both_can_not_be(run):
    code, out, err = run("config", "show", "-v", "-q")
    assert (code, json.loads(out)["error"]["code"]) == (2, "usage")
    assert "not both" in err
    assert "not both" in json.loads(out)["error"]["message"]
