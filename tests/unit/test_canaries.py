"""No secret is told: canaries stand where secrets do, and everything that is printed, logged or raised is searched."""

import io
import json
import logging
import pickle
import sys
import traceback
from pathlib import Path

import pytest
from http_server import Served, token_of
from unit.test_jobs_objects import opened

import faultset_ray as fs
from faultset_ray.config import Config, Http
from faultset_ray.config.writing import to_toml
from faultset_ray.errors import FaultsetError
from jobs import output
from jobs.cli import application

RAY = "canary-of-ray-4711"
URL = "canary-in-url-4712"
PLUGIN = "canary-of-plugin-4713"
BEARER = "canary-bearer-4714"
CANARIES = (RAY, URL, PLUGIN, BEARER)
PLUGINS = {"nobody": {"api_token": PLUGIN, "level": 3}}
SETTINGS = {
    "RAY_AUTH_TOKEN": RAY,
    "FAULTSET_PLUGINS": json.dumps(PLUGINS),
    "FAULTSET_HEALTH_PROBE_TARGETS": json.dumps({"s": f"http://user:{URL}@127.0.0.1:1/"}),
}


def leaks(text):
    return [canary for canary in CANARIES if canary in text]


@pytest.fixture
def heard():
    """All that is logged by anybody, from debug on, with tracebacks."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """What a verb prints, on both streams, at its most talkative."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    loggers = [logging.getLogger(name) for name in ("faultset_ray", "actors", "jobs")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["faultset", *map(str, arguments), "-vv"])
        with pytest.raises(SystemExit) as ended:
            output.run(application)
        out, err = capfd.readouterr()
        return ended.value.code or 0, out + err

    with opened(tmp_path, monkeypatch):
        yield call
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.ray
def test_verbs_that_succeed_and_fail(run, heard, monkeypatch):
    told = []
    code, text = run("config", "show")
    assert code == 0
    assert "***" in text, "secrets are there, hidden"
    refused = ("config", "check"), ("put", "a", "data"), ("doctor", "--local"), ("--set", "codes.put=7", "ls")
    told += [text, *(run(*arguments)[1] for arguments in refused)]
    monkeypatch.delenv("FAULTSET_PLUGINS")  # with one that is not installed nothing else is done
    done = (
        *(("put", "a", "data"), ("get", "a", "back"), ("ls",), ("stat", "a"), ("status",), ("get", "none", "x")),
        *(("scrub",), ("encode", "data", "-o", "d"), ("decode", "d", "-o", "e"), ("verify", "nowhere")),
        ("decode", "d", "-o", "e", "--address", "127.0.0.1:1"),
        ("submit", "--address", f"http://user:{URL}@127.0.0.1:1", "x.py"),
        ("ls", "--set", f"security.ray_token={RAY}\n"),
        ("ls", "--set", f'plugins={{"nobody": {{"password": "{PLUGIN}"}}'),
        ("token", "revoke", f"fst_{BEARER}", "--file", "data"),
    )
    told += [run(*arguments)[1] for arguments in done]
    assert all(told)
    assert [(text[:300], leaks(text)) for text in told if leaks(text)] == []
    assert leaks(heard.getvalue()) == []
    assert "store_attached" in heard.getvalue() or "put_fragile" in heard.getvalue(), "it was listened to"


def test_values_and_errors(heard):
    config = Config.load(environ={**SETTINGS})
    assert config.plugins == PLUGINS, "they are in it"
    assert leaks(repr(config)) == []
    assert leaks(str(config.shown())) == []
    assert RAY not in to_toml(config), "no file may have it"
    raised = []
    for wrong in (
        lambda: fs.connect(backend="local", config=config),
        lambda: Config.load(environ={**SETTINGS, "FAULTSET_PLUGINS": f'{{"nobody": "{PLUGIN}"}}'}),
        lambda: Config.load(environ={**SETTINGS, "FAULTSET_PLUGINS": PLUGIN}),
        lambda: Config.load(environ={**SETTINGS, "RAY_AUTH_TOKEN": f"\n{RAY}"}),
        lambda: Config.from_toml(f'[security]\nray_token = "{RAY}"\n'),
    ):
        try:
            wrong()
        except FaultsetError as error:
            raised.append(error)
    assert len(raised) >= 4
    for error in raised:
        text = "".join(traceback.format_exception(error)) + str(error.fields()) + repr(error)
        assert leaks(text.replace(f'{{"nobody": "{PLUGIN}"}}', "")) == [], error.code
        assert leaks(str(pickle.loads(pickle.dumps(error)))) == []
    assert leaks(heard.getvalue()) == []


@pytest.mark.ray
def test_the_application_on_serve():
    from ray import cloudpickle

    from actors import ingress

    config = Config.load(environ={**SETTINGS})
    assert config.security.ray_token == RAY, "it is in it"
    assert RAY.encode() not in cloudpickle.dumps(ingress.application(config, "s"))


def test_http(tmp_path, heard):
    good = token_of(tmp_path / "t", "read", number=1)
    secret = good.partition("_")[2].partition("_")[2]
    answers = []
    with Served(Http(tokens=str(tmp_path / "t"))) as served:
        for bearer in (BEARER, f"fst_{BEARER}", good, f"{good}x"):
            for path in ("/v1/status", "/v1/objects/none", "/v1/nothing", f"/v1/objects?prefix={'x' * 5000}"):
                answer = served.client.get(path, headers={"Authorization": f"Bearer {bearer}"})
                answers.append(answer.text + str(answer.headers))
            answer = served.client.put("/v1/objects/a", content=b"x", headers={"Authorization": f"Bearer {bearer}"})
            answers.append(answer.text + str(answer.headers))
    assert len(secret) > 20
    assert [text for text in answers if leaks(text) or secret in text] == []
    assert leaks(heard.getvalue()) == []
    assert secret not in heard.getvalue()
    assert secret not in Path(tmp_path / "t").read_text(), "the file has its hash alone"
