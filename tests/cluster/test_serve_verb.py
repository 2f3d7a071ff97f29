"""``faultset serve`` as a process, as the guide says: it begins, answers, ends; and what people get wrong."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
import schemas
from waiting import free_port, until

from cluster.support import PROJECT, bare, result_of, verb

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
STARTED = "Started Serve"
"""What Serve logs before the application begins."""


@contextmanager
def serving(folder, *arguments, **environ):
    """The process of ``faultset serve … --json``; what it tells is in files."""
    folder.mkdir(exist_ok=True)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.serve", *map(str, arguments), "--json"],
            cwd=PROJECT,
            env=bare(**environ),
            stdout=out,
            stderr=err,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def told(process, folder, code):
    """The only line of stdout, once the process has ended as it should."""
    assert process.wait(300) == code, (folder / "err").read_text()[-4000:]
    [result] = schemas.checked(["serve"], (folder / "out").read_text())
    assert "Traceback" not in (folder / "err").read_text()
    return result


def answers(process, url, folder, **headers):
    """Wait until the system answers."""

    def ready():
        assert process.poll() is None, (folder / "err").read_text()[-4000:]
        try:
            return httpx.get(f"{url}/v1/ready", timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    until(ready, 180.0)
    return httpx.Client(base_url=url, headers=headers, timeout=60)


def test_as_the_guide_says(tmp_path):
    tokens, port = tmp_path / "tokens.json", free_port()
    made = result_of(verb({}, "token", "add", "--file", tokens, "--scope", "read", "--scope", "write", "--days", 90))
    directories = {"FAULTSET_STATE_DIR": str(tmp_path / "state"), "FAULTSET_STORE_DIR": str(tmp_path / "stores")}
    given = ("--system", "prod", "--tokens", tokens, "--port", port)
    with serving(tmp_path, *given, **directories) as process:
        with answers(process, f"http://127.0.0.1:{port}", tmp_path, Authorization=f"Bearer {made['token']}") as client:
            put = client.put("/v1/objects/ledger%2F2026", params={"tolerate": 0}, content=b"what was told")
            assert put.status_code == 200, put.text
            assert client.get("/v1/objects/ledger%2F2026").content == b"what was told"
            assert client.get("/v1/objects", headers={"Authorization": "Bearer x"}).status_code == 401
        process.send_signal(signal.SIGTERM)
        result = told(process, tmp_path, 0)
    assert result == {"system": "prod", "host": "127.0.0.1", "port": port, "served": True}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/v1/health")


def test_a_port_that_another_process_has(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, "--port", port, FAULTSET_STATE_DIR=str(tmp_path / "state")) as process:
            error = told(process, tmp_path, 5)["error"]
    assert (error["code"], error["address"]) == ("not_served", f"127.0.0.1:{port}")
    assert error["reason"] == f"RuntimeError: Failed to bind to address '127.0.0.1:{port}'."


def test_on_a_cluster_of_others(head, tmp_path):
    """It asks for a token, has no code of ours, and is not on this machine as far as files of tokens go."""
    first, second = free_port(), free_port()

    def run(name, port, *more):
        given = ("--address", head.address, "--system", "other", "--port", port, *more)
        return serving(tmp_path / name, *given, **head.token)

    missing = tmp_path / "nowhere.json"
    with run("missing", first, "--tokens", missing) as process:
        error = told(process, tmp_path / "missing", 5)["error"]
    assert error["code"] == "not_served"
    assert error["reason"].startswith(f"InputError: tokens: {missing} can't be read")
    assert "\n" not in error["reason"]

    with run(
        "ended", second, "--tokens", missing
    ) as process:  # Serve listened at the first port: nothing is left of it
        until(lambda: STARTED in (tmp_path / "ended" / "err").read_text(), 120.0)
        process.send_signal(signal.SIGTERM)
        assert told(process, tmp_path / "ended", 0)["served"] is False

    with run("serves", first) as process:
        answers(process, f"http://127.0.0.1:{first}", tmp_path / "serves").close()
        with run("elsewhere", second) as other:
            error = told(other, tmp_path / "elsewhere", 2)["error"]
        assert error["code"] == "input_error"
        assert f"Serve listens on 127.0.0.1:{first} already, not on 127.0.0.1:{second}" in error["message"]
        assert httpx.get(f"http://127.0.0.1:{first}/v1/ready").status_code == 200, "who served before goes on"
        with run("twice", first) as other:
            error = told(other, tmp_path / "twice", 2)["error"]
        assert error["code"] == "input_error"
        assert f"Serve has an application 'faultset' on 127.0.0.1:{first} already" in error["message"]
        assert httpx.get(f"http://127.0.0.1:{first}/v1/ready").status_code == 200, "who served before goes on"
        process.send_signal(signal.SIGINT)
        assert told(process, tmp_path / "serves", 0)["served"] is True

    with run("killed", first) as process:
        answers(process, f"http://127.0.0.1:{first}", tmp_path / "killed").close()
    with run("after", first, "--replace") as process:  # the one before was killed, and could not take it down
        until(lambda: "Connecting to existing Serve" in (tmp_path / "after" / "err").read_text(), 120.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 0, (tmp_path / "after" / "err").read_text()[-4000:]
    assert httpx.get(f"http://127.0.0.1:{first}/v1/ready").status_code == 404, "it was taken down with its successor"
