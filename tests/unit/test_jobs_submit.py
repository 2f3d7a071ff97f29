"""``faultset submit`` against a Jobs API in this process: what goes with a job, its log, its exit code, Ctrl-C."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus
from typer.testing import CliRunner

from actors import submission
from faultset_ray.errors import AuthError, ClusterUnreachable, InputError
from jobs.output import app
from jobs.submit import submit as verb

DASHBOARD = "http://head:8265"


class Api:
    """The dashboard's side: one job that writes by turns, each a connection that may break."""

    def __init__(self):
        self.turns = ["all of it\n"]
        self.log = "all of it\n"
        self.ends = {"status": JobStatus.SUCCEEDED, "driver_exit_code": 0}
        self.stopped = []
        self.submitted = None
        self.lost = 0
        self.refuses = None

    def __call__(self, address):
        assert address == os.environ["RAY_API_SERVER_ADDRESS"] == DASHBOARD
        if self.refuses:
            raise self.refuses
        return self

    def submit_job(self, **given):
        self.submitted = given
        if given["submission_id"] == "taken":
            raise RuntimeError("Request failed with status code 500: Traceback\nValueError: taken already exists.\n.")
        return given["submission_id"] or "raysubmit_1"

    def get_job_info(self, submission_id):
        if submission_id == "none":
            raise RuntimeError("Request failed with status code 404: Job none does not exist.")
        if self.lost:
            self.lost -= 1
            raise requests.exceptions.ConnectionError("refused")
        running = {"status": JobStatus.RUNNING, "driver_exit_code": None}
        return SimpleNamespace(**{"message": None, "error_type": None, **(running if self.turns else self.ends)})

    async def tail_job_logs(self, submission_id):
        turn = self.turns.pop(0)
        if callable(turn):
            turn()
            return
        for text in turn if isinstance(turn, list) else [turn]:
            if text is None:
                raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")
            yield text

    def get_job_logs(self, submission_id):
        return self.log

    def stop_job(self, submission_id):
        self.stopped.append(submission_id)
        self.ends = {"status": JobStatus.STOPPED, "driver_exit_code": None}
        self.turns.clear()
        return True


@pytest.fixture
def api(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submission, "_AGAIN_SECONDS", 0.0)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    api = Api()
    monkeypatch.setattr(submission, "JobSubmissionClient", api)
    return api


def submit(*arguments):
    """Exit code, the last line of stdout as JSON, and what stood before it; errors as they are raised."""
    done = CliRunner().invoke(app(verb), ["--address", DASHBOARD, *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    *before, last = done.stdout.splitlines()
    return done.exit_code, json.loads(last), before, done.stderr


def test_what_goes_with_a_job(api, monkeypatch):
    code, result, told, _ = submit("--env", "A=b c=d", "--submission-id", "mine", "--", "s.py", "a b", "--flag")
    assert (code, told) == (0, [f"job mine at {DASHBOARD}", "all of it"])
    assert result == {
        "submission_id": "mine",
        "address": DASHBOARD,
        "status": "SUCCEEDED",
        "driver_exit_code": 0,
        "error_type": None,
    }
    assert api.submitted["entrypoint"] == "python s.py 'a b' --flag"
    environment = api.submitted["runtime_env"]
    assert (environment["working_dir"], environment["env_vars"]) == (".", {"A": "b c=d"})
    assert [Path(path).name for path in environment["py_modules"]] == ["faultset_ray", "actors", "jobs"]
    assert all((Path(path) / "__init__.py").is_file() for path in environment["py_modules"])
    assert "RAY_API_SERVER_ADDRESS" not in os.environ


def test_a_clone_brings_its_own_code(api):
    Path("clone/faultset_ray").mkdir(parents=True)
    Path("clone/faultset_ray/__init__.py").touch()
    submit("--working-dir", "clone", "--", "python", "-m", "jobs.failover")
    assert api.submitted["runtime_env"] == {"working_dir": "clone"}
    assert api.submitted["entrypoint"] == "python -m jobs.failover"


@pytest.mark.parametrize("as_file", [False, True])
def test_a_runtime_environment(api, as_file):
    given = {"env_vars": {"A": "1", "B": "2"}, "excludes": ["big"], "working_dir": "s3://bucket/code.zip"}
    text = json.dumps(given)
    if as_file:
        Path("env.yaml").write_text("env_vars: {A: '1', B: '2'}\nexcludes: [big]\nworking_dir: s3://bucket/code.zip\n")
        text = "env.yaml"
    submit("--runtime-env", text, "--env", "B=3", "--", "s.py")
    environment = api.submitted["runtime_env"]
    assert environment["env_vars"] == {"A": "1", "B": "3"}
    assert environment["excludes"] == ["big", "__pycache__"]
    assert environment["working_dir"] == "s3://bucket/code.zip"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "name a script"),
        (["--follow", "x", "--", "s.py"], "not both"),
        (["--working-dir", "nowhere", "--", "s.py"], "nowhere is not a directory"),
        (["--env", "A", "--", "s.py"], "'A' is not NAME=VALUE"),
        (["--runtime-env", "{", "--", "s.py"], "--runtime-env"),
        (["--runtime-env", "[]", "--", "s.py"], "No such file"),
        (["--runtime-env", '{"working_dir": 5}', "--", "s.py"], "working_dir is 5, not the name"),
        (["--runtime-env", '{"working_dir": null}', "--", "s.py"], "working_dir is None, not the name"),
        (["--runtime-env", '{"env_vars": []}', "--submission-id", "taken", "--", "s.py"], "taken already exists"),
        (["--follow", "none"], "Job none does not exist"),
    ],
)
def test_what_can_not_be(api, arguments, why):
    api.turns = [""]
    with pytest.raises((InputError, OSError), match=why):
        submit(*arguments)


def test_a_log_comes_once_through_broken_connections(api):
    api.turns = [["ab", "c", None], ["abc", "de\n"], lambda: None]
    api.lost, api.log = 2, "abcde\nand the end\n"
    code, _, told, _ = submit("--", "s.py")
    assert (code, told[1:]) == (0, ["abcde", "and the end"])


def test_with_json_the_log_goes_to_stderr(api):
    _, _, told, err = submit("--json", "--", "s.py")
    assert (told, err) == ([], "all of it\n")


@pytest.mark.parametrize(("exit_code", "ours"), [(1, 1), (7, 7), (-9, 137), (-15, 143)])
def test_the_exit_code_is_the_jobs_own(api, exit_code, ours):
    api.ends = {"status": JobStatus.FAILED, "driver_exit_code": exit_code, "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR"}
    code, result, *_ = submit("--", "s.py")
    assert (code, result["driver_exit_code"]) == (ours, exit_code)


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (JobStatus.STOPPED, None, "was stopped: Ray does not say why"),
        (
            JobStatus.FAILED,
            "Runtime env setup failed: pip",
            "ended without an exit code: Runtime env setup failed: pip",
        ),
    ],
)
def test_a_job_without_an_exit_code_is_told_apart(api, status, message, said):
    api.ends = {"status": status, "driver_exit_code": None, "message": message, "error_type": "X"}
    code, result, _, err = submit("--submission-id", "mine", "--", "s.py")
    assert code == 5
    assert (result["error"]["code"], result["error"]["status"]) == ("job_lost", status.value)
    assert f"job mine {said}" in err
    assert result["error_type"] == "X"


def test_nobody_waits(api):
    code, result, told, _ = submit("--no-wait", "--", "s.py")
    assert (code, result["status"], result["driver_exit_code"]) == (0, "RUNNING", None)
    assert told == [f"job raysubmit_1 at {DASHBOARD}"]


@pytest.mark.parametrize("stops", [True, False])
def test_an_interrupt(api, interruptible, stops):
    """By itself it leaves the job; CliRunner's stdin is no terminal, so nobody is asked."""
    api.turns = [lambda: os.kill(os.getpid(), signal.SIGINT), "more"]
    code, result, told, _ = submit(*(["--stop-on-interrupt"] if stops else []), "--", "s.py")
    assert code == 130
    assert api.stopped == (["raysubmit_1"] if stops else [])
    assert result["status"] == ("STOPPED" if stops else "RUNNING")
    assert ("job raysubmit_1 goes on: `faultset submit --follow raysubmit_1`" in told) == (not stops)


@pytest.mark.parametrize(
    ("refuses", "error"),
    [
        (ConnectionError("Failed to connect"), ClusterUnreachable),
        (requests.exceptions.Timeout("slow"), ClusterUnreachable),
        (AuthenticationError("Bearer token missing"), AuthError),
    ],
)
def test_a_dashboard_that_is_not_there(api, refuses, error):
    api.refuses = refuses
    with pytest.raises(error, match="head:8265"):
        submit("--", "s.py")


def test_a_cluster_that_stays_away_is_given_up(api, monkeypatch):
    monkeypatch.setattr(submission, "_PATIENCE_SECONDS", 0.0)
    api.turns, api.lost = [[None], [None], [None]], 9
    with pytest.raises(ClusterUnreachable, match="refused"):
        submit("--", "s.py")
