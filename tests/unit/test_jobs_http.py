"""The commands around the HTTP API: tokens, and what `serve` refuses before it begins."""

import json
import signal
import stat
import time
from types import SimpleNamespace

import pytest
from http_server import token_of
from typer.testing import CliRunner

import jobs.serve
from faultset_ray.errors import ClusterUnreachable, InputError, NotServed
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


def test_the_file_of_tokens_is_the_configs_where_none_is_named(faultset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("FAULTSET_TOKENS", "FAULTSET_HTTP_TOKENS"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=r"no file of tokens is named: give --file"):
        faultset("token", "list")
    (tmp_path / "faultset.toml").write_text('[http]\ntokens = "a"\n')
    (tmp_path / "other.toml").write_text('[http]\ntokens = "b"\n')
    faultset("token", "add", "--scope", "read")
    faultset("token", "add", "--scope", "read", "--config", "other.toml")
    monkeypatch.setenv("FAULTSET_TOKENS", "c")
    faultset("token", "add", "--scope", "read")
    assert {path.name for path in tmp_path.glob("?")} == {"a", "b", "c"}
    assert last(faultset("token", "list"))["file"] == "c"


def test_serve_refuses_other_machines_without_tokens(faultset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FAULTSET_TOKENS", raising=False)
    for arguments in (["--host", "0.0.0.0"], ["--set", "http.host=0.0.0.0"]):
        with pytest.raises(
            InputError, match=r"http.host is '0.0.0.0', which other machines reach, .* no file of tokens"
        ):
            faultset("serve", *arguments)
    (tmp_path / "faultset.toml").write_text('[http]\nhost = "0.0.0.0"\n')
    result = faultset("config", "check")
    assert (result.exit_code, last(result)["problems"][0]["key"]) == (2, "http.host")


@pytest.fixture
def hosted(monkeypatch):
    """What is asked of Ray Serve, which is not started."""
    asked = {"order": []}

    def application(config, system, **options):
        asked.update(config=config, system=system, **options)

    def listen(http, *, replace):
        asked.update(listens=http, replaces=replace)
        asked["order"].append("listen")
        return True

    def run(_app, ended):
        print("what Ray has to say of a node")  # noqa: T201 - as it does, on stdout
        asked["order"].append("run")
        signal.raise_signal(signal.SIGTERM)  # at once: it serves until then
        if isinstance(asked.get("fault"), Exception):
            raise asked["fault"]
        assert ended.is_set()
        return asked.get("serves", True)

    host = SimpleNamespace(
        application=application,
        listen=listen,
        run=run,
        stop=lambda http, whole: asked["order"].append(("stop", http is asked["listens"] and whole)),
        detach=lambda: asked["order"].append("detach"),
        job_environment=dict,
    )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(jobs.serve, "_ingress", lambda: host)
    monkeypatch.setattr("actors.attach.attach", lambda *_, **__: asked["order"].append("attach"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield asked
    for number, handler in handlers.items():
        signal.signal(number, handler)


WHOLE = ["attach", "listen", "run", ("stop", True), "detach"]


def test_serve_goes_by_flags_before_variables_before_the_file(faultset, hosted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ("port = 1", 'tokens = "file"', 'hosts = ["file.org"]', "replicas = 2", "idle_s = 5", "requests_max = 7")
    (tmp_path / "faultset.toml").write_text("\n".join(["[http]", *lines]))
    monkeypatch.setenv("FAULTSET_HTTP_PORT", "2")
    monkeypatch.setenv("FAULTSET_HTTP_REPLICAS", "3")
    told = {"system": "default", "host": "127.0.0.1", "port": 2, "served": True}
    token_of(tmp_path / "file", "read")
    assert last(faultset("serve", "--replicas", 4)) == told
    http = hosted["config"].http
    assert hosted["listens"] == http
    assert (http.port, http.replicas, http.idle_s, http.requests_max) == (2, 4, 5.0, 7)
    assert (http.tokens, http.hosts) == (str(tmp_path / "file"), ("file.org",))
    token_of(tmp_path / "flag", "read")
    assert hosted["replaces"] is False
    flags = ("--tokens", "flag", "--host-name", "a", "--host-name", "b", "--replace")
    faultset("serve", "--port", 3, "--host", "::", *flags)
    http = hosted["config"].http
    assert hosted["replaces"] is True
    assert (http.port, http.host, http.tokens, http.hosts) == (3, "::", str(tmp_path / "flag"), ("a", "b"))


def test_serve_tells_one_line_whatever_ray_prints(faultset, hosted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for serves in (True, False):
        hosted["serves"] = serves
        result = faultset("serve", "--json")
        told = {"system": "default", "host": "127.0.0.1", "port": 8000, "served": serves}
        assert result.stdout == json.dumps(told) + "\n"
        assert "what Ray has to say" in result.stderr
    assert "what Ray has to say" in faultset("serve").stdout
    assert hosted["order"] == 3 * WHOLE


def test_serve_ends_what_it_began_whatever_happens(faultset, hosted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hosted["fault"] = NotServed("127.0.0.1:8000", "InputError: no")
    with pytest.raises(NotServed):
        faultset("serve")
    assert hosted["order"] == WHOLE


def test_serve_reads_here_what_can_be_read_here(faultset, hosted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, spoil, reason in (
        ("missing", lambda _: None, "No such file or directory; make it with"),
        ("folder", lambda path: path.mkdir(mode=0o700), "Is a directory"),
        ("loop", lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        ("damaged", lambda path: (path.touch(0o600), path.write_text("{"))[0], "no file of tokens"),
        ("open", lambda path: token_of(path, "read") and path.chmod(0o644), "has mode 0644"),
    ):
        spoil(tmp_path / name)
        with pytest.raises(InputError, match=reason):
            faultset("serve", "--tokens", name)
        if name != "missing":  # on another cluster it may be there, and not here
            with pytest.raises(InputError, match=reason):
                faultset("serve", "--tokens", name, "--address", "10.0.0.7:6379")
    with pytest.raises(InputError, match="system is 'a b'"):
        faultset("serve", "--system", "a b")
    assert hosted["order"] == []
    faultset("serve", "--tokens", "missing", "--address", "10.0.0.7:6379")
    assert hosted["order"] == WHOLE


def test_a_port_that_nobody_would_learn_of_is_refused(faultset, hosted, monkeypatch):
    assert faultset("serve", "--port", 0).exit_code == 2
    with pytest.raises(InputError, match=r"http\.port is '0'; expected an integer from 1"):
        faultset("serve", "--set", "http.port=0")
    assert hosted["order"] == []


def test_a_link_that_leads_to_itself_is_no_file_of_tokens(faultset, tmp_path):
    path = tmp_path / "loop"
    path.symlink_to(path)
    for arguments in (["add", "--scope", "read"], ["list"], ["revoke", "00000001"]):
        with pytest.raises(InputError, match="Too many levels of symbolic links"):
            faultset("token", *arguments, "--file", path)
    assert path.is_symlink()


def test_serve_where_ray_does_not_start(faultset, tmp_path, monkeypatch):
    def init(**_):
        raise Exception("The current node timed out during startup.")  # noqa: TRY002 - as Ray raises it

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.init", init)
    with pytest.raises(ClusterUnreachable, match=r"this machine: Ray did not start: The current node timed out"):
        faultset("serve")


def test_the_application_goes_by_the_config_of_who_builds_it(tmp_path, monkeypatch):
    made = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(
        '[codes]\nput = "copy:2"\n[http]\nidle_s = 9\n[cluster]\nsystem = "file"\naddress = "h:1"\n'
    )
    monkeypatch.setenv("FAULTSET_CONFIG", str(tmp_path / "own.toml"))
    monkeypatch.delenv("FAULTSET_SYSTEM", raising=False)
    host = SimpleNamespace(application=lambda config, **options: made.append((config, options)))
    monkeypatch.setattr(jobs.serve, "_ingress", lambda: host)
    jobs.serve.app({"tokens": "t"})
    monkeypatch.setenv("FAULTSET_SYSTEM", "variable")
    monkeypatch.setenv("FAULTSET_HTTP_TOKENS", "v")
    jobs.serve.app({})
    jobs.serve.app({"tokens": "t", "system": "argument", "replicas": 3, "hosts": ["a.org"], "idle_s": 7})
    assert [options["system"] for _, options in made] == ["file", "variable", "argument"]
    assert {config.codes.put for config, _ in made} == {"copy:2"}
    assert [config.http.tokens for config, _ in made] == ["t", "v", "t"]
    assert [config.http.idle_s for config, _ in made] == [9.0, 9.0, 7.0]
    assert (made[2][0].http.replicas, made[2][0].http.hosts) == (3, ("a.org",))


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
