"""A system on nodes of this machine that outlive every command: up, attended, hurt, mended, down, and up again."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from scraping import discovered, scraped_until
from waiting import until

from actors.processes import process, process_tree
from cluster.support import command_line, leaked, result_of, verb

pytestmark = [pytest.mark.ray, pytest.mark.cluster]
PAYLOAD = os.urandom(300_000)


@pytest.fixture
def faultset(tmp_path):
    """Run verbs that find the nodes' record below ``tmp_path``; none of its nodes is left."""
    environ = {"XDG_STATE_HOME": str(tmp_path / "home")}

    def call(*arguments: object, code: int = 0, data: bytes = b"", **more: str) -> dict:
        return result_of(verb(environ | more, *arguments, code=code, data=data))

    yield call
    call("down", "demo", "--local", "--force")


def coordinators(roots: list[int]) -> list[int]:
    """The processes of coordinators below some."""
    tree = [pid for root in roots if process(root) for pid in process_tree(root)]
    return [pid for pid in tree if process(pid) and command_line(pid).startswith(b"ray::Coordinator")]


def looks(scraped) -> list[float]:
    """When each process told that it had looked at the ranges of the system last; 0 where it looks no more."""
    wanted = {"system": "demo", "what": "ranges"}
    of = [each for each in scraped.samples if each.name == "ray_faultset_upkeep_timestamp_seconds"]
    return [each.value for each in of if wanted.items() <= each.labels.items()]


def looked_at(scraped) -> None:
    assert any(value > 0 for value in looks(scraped))


def left(scraped) -> None:
    """What Ray still tells of processes that have ended says that they left: no alert will miss them."""
    found = looks(scraped)
    assert found
    assert set(found) == {0.0}


@pytest.mark.timeout(900)
def test_a_life(faultset, tmp_path):
    made = faultset("up", "demo", "--local", 2)
    assert (made["was_up"], made["attended"], made["places"]) == (False, True, 3)
    assert {(store["region"], store["durability"]) for store in made["stores"]} == {
        ("local-1", "fsync"),
        ("local-2", "fsync"),
    }
    environ = made["local"]["environment"]
    config = made["local"]["config"]
    put = faultset("put", "x", "-", "--code", "rs:1+1", data=PAYLOAD, **environ)
    assert put["durability"] == "fsync"
    found = faultset("doctor", "--config", config)
    assert found["counts"]["failed"] == 0, found
    assert {each["check"] for each in found["findings"]} >= {
        "auth",
        "clock",
        "place",
        "store_disk",
        "system",
        "versions",
    }

    token = Path(environ["RAY_AUTH_TOKEN_PATH"]).read_bytes().strip()
    assert len(token) > 20
    [temporary] = re.findall(r"--temp-dir=([^\0]+)", command_line(made["local"]["nodes"][0]["pid"]).decode())
    folders = {
        Path(temporary, "session_latest", "logs"): b"raylet",
        Path(made["local"]["folder"], "logs"): b"Ray runtime",
    }
    for logs, written in folders.items():
        assert leaked(logs, {"what Ray writes": written}), logs
        assert leaked(logs, {"token of Ray": token, "object": PAYLOAD[1000:1032]}) == []

    pids = {node["number"]: node["pid"] for node in made["local"]["nodes"]}
    [before] = coordinators([pids[0]])
    os.kill(before, signal.SIGKILL)
    until(lambda: coordinators([pids[0]]), 120.0)  # no driver is connected: it is the attendant who finds it gone

    for pid in process_tree(pids[2]):
        if (each := process(pid)) is not None:
            each.send(signal.SIGKILL)
    again = faultset("up", "demo", "--local", 2)
    now = {node["number"]: node["pid"] for node in again["local"]["nodes"]}
    assert (again["was_up"], now[0], now[1], now[2] != pids[2]) == (True, pids[0], pids[1], True)

    nodes = discovered(temporary)
    scraped_until(looked_at, nodes)
    ended = faultset("down", "demo", "--config", config)
    scraped_until(left, nodes)
    assert (ended["was_up"], ended["orderly"]) == (True, True)
    assert {"attendant", "coordinator"} <= set(ended["servants"])
    assert not faultset("down", "demo", "--config", config)["was_up"]
    ended = faultset("down", "demo", "--local")
    assert set(now.values()) <= set(ended["local"]["ended"])
    assert all(process(pid) is None for pid in ended["local"]["ended"])
    assert all(Path(store["path"], "shards").is_dir() for store in again["stores"])
    assert faultset("down", "demo", "--local")["local"]["ended"] == []

    environ = faultset("up", "demo", "--local", 1)["local"]["environment"]  # one of the two stores is enough
    out = tmp_path / "again"
    faultset("get", "x", out, **environ)
    assert out.read_bytes() == PAYLOAD
