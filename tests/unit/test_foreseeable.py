"""What can be foreseen ends with a message, one line of JSON and an exit code; for every verb, and never with a traceback."""

import io
import json
import sys
from pathlib import Path

import pytest
from unit.test_jobs_flags import verbs

import faultset_ray.config.process
from jobs import output
from jobs.cli import application

VALUES = {"threshold": "5", "scope": "read", "how": "pin", "sample": "a=1", "command": "x.py"}
ALL = dict(verbs())
MADE_BY_HAND = {"doctor", "config check", "config show", "token add", "token list", "token revoke", "schema"}
"""They look at settings themselves, or at none."""
INTERRUPTED = 130


def arguments_of(name):
    """What a verb must be given; files are not there."""
    verb, given = ALL[name], name.split()
    for each in verb.params:
        if each.required:
            value = VALUES.get(each.name, f"no-{each.name}")
            given += [value] if each.param_type_name == "argument" else [each.opts[0], value]
    return given


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Exit code, the last line's JSON, stderr; the verb runs in an empty directory, with no cluster near."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "FAULTSET_CONFIG", "FAULTSET_TOKENS"):
        monkeypatch.delenv(name, raising=False)
    Path("bad.toml").write_text("[codes]\nput = 7\n")

    def call(*arguments, stdout=None):
        monkeypatch.setattr(sys, "argv", ["faultset", *map(str, arguments)])
        with monkeypatch.context() as patched:
            if stdout is not None:
                patched.setattr(sys, "stdout", stdout)
            with pytest.raises(SystemExit) as ended:
                output.run(application)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        lines = (out or err).strip().splitlines()
        return ended.value.code or 0, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None, err

    return call


@pytest.mark.parametrize("name", sorted(ALL.keys() - MADE_BY_HAND))
def test_a_config_that_can_not_be_used(run, name):
    code, told, err = run(*arguments_of(name), "--config", "bad.toml")
    assert (code, told["error"]["code"]) == (2, "invalid_config")
    assert "bad.toml, line 2" in " ".join(err.split())


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_option_that_there_is_not(run, name):
    code, told, err = run(*name.split(), "--no-such-option")
    assert (code, told["error"]["code"]) == (2, "usage")
    assert "--no-such-option" in err


class Closed(io.TextIOBase):
    """A pipe whose reader is gone."""

    def write(self, _):
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("name", sorted(ALL.keys() - MADE_BY_HAND | {"config show"}))
def test_nobody_reads_what_it_tells(run, name):
    wrong = () if name == "config show" else ("--config", "bad.toml")
    code, _, err = run(*arguments_of(name), *wrong, stdout=Closed())
    assert code == 2
    assert ("invalid_config" if wrong else "os_error") in err


@pytest.mark.parametrize("name", sorted(ALL.keys() - MADE_BY_HAND))
def test_it_is_interrupted(run, name, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(faultset_ray.config.process, "apply", interrupt)
    code, _, _ = run(*arguments_of(name))
    assert code == INTERRUPTED


TAKES_LONG = {"serve"}  # it loads Ray Serve first, 2 s; it attaches as the others do
ADDRESSED = sorted(
    name
    for name, verb in ALL.items()
    if name not in TAKES_LONG and any("--address" in each.opts for each in verb.params)
)
LOCAL_FILES = {"failover", "register", "observe", "plan", "encode", "decode", "verify", "put", "replay", "map"}


@pytest.mark.ray
@pytest.mark.parametrize("name", ADDRESSED)
def test_nothing_listens_there(run, name):
    """Port 1 of this machine."""
    given = arguments_of(name)
    for each in LOCAL_FILES & {name}:
        Path(f"no-{each}").touch()
    code, told, err = run(*given, "--address", "127.0.0.1:1")
    assert code in {2, 5}, err
    if told.get("error"):
        assert told["error"]["code"] in {"cluster_unreachable", "input_error", "os_error", "usage", "invalid_policy"}, (
            told
        )


@pytest.mark.parametrize("name", sorted(LOCAL_FILES))
@pytest.mark.parametrize("kind", ["missing", "directory", "bytes"])
def test_a_file_that_can_not_be_read(run, name, kind):
    given = arguments_of(name)
    given += {"observe": ["no-trace.csv"], "map": ["--nodes-file", "no-nodes.csv", "--threshold", "5"]}.get(name, [])
    for path in {each for each in given if each.startswith("no-") and each not in {"no-out", "no-name"}}:
        if kind == "directory":
            Path(path).mkdir()
        elif kind == "bytes":
            Path(path).write_bytes(b"\xff\xfe\x00" * 100)
    code, told, _ = run(*given, *(["--address", "127.0.0.1:1"] if name == "put" else []))
    assert code in {2, 3} or (name, kind) in {("encode", "bytes"), ("put", "bytes")}, told
    assert code != 70
