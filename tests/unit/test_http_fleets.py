"""Fleets over HTTP: registration, observations and answers, beside what the command line says; and watches."""

import json
import threading

import httpx
import pytest
from http_server import NODES, Served

from faultset_ray.config import Config, Limits
from faultset_ray.control.versions import Versions
from faultset_ray.http.problems import InvalidHeader
from faultset_ray.http.watching import position_of, position_text


@pytest.fixture
def served():
    with Served() as served:
        yield served


@pytest.fixture
def client(served):
    client = served.client
    assert client.post("/v1/fleet", json={"nodes": NODES, "precision": 3}).json()["nodes"] == 3
    return client


def rows():
    return [dict(zip(NODES, values, strict=True)) for values in zip(*NODES.values(), strict=True)]


def test_plain_failover(client):
    asked = {"ids": ["a", "b", "c", "d"], "latencies": [5, 3.5, None, 9], "threshold": 5}
    assert client.post("/v1/failover", json=asked).json() == {"survivors": ["b", "a"]}
    assert client.post("/v1/failover", json={**asked, "threshold": 1}).json() == {"survivors": []}
    for nodes in (NODES, rows()):
        asked = {"nodes": nodes, "threshold": 100, "precision": 3}
        assert client.post("/v1/faultset", json=asked).json() == {"survivors": ["berlin", "paris"]}
    none = client.post("/v1/faultset", json={"nodes": NODES, "threshold": 1, "precision": 3})
    assert (none.status_code, none.json()["code"]) == (404, "no_survivors")


def test_register_observe_survivors_why(client):
    assert client.get("/v1/survivors").json()["survivors"] == ["berlin", "paris"]
    asked = {"ids": ["paris", "potsdam", "berlin"], "latency_ms": [None, 22, 18]}
    told = client.post("/v1/fleet/observe", json=asked).json()
    assert told == {"fleet": "default", "observations": 3, "taken": 3, "missing_regions": []}
    answer = client.get("/v1/survivors").json()
    assert answer["survivors"] == ["berlin", "potsdam"]
    assert client.get("/v1/survivors", params={"threshold": 20}).json()["survivors"] == ["berlin"]
    region = next(iter(answer["by_region"]))
    assert client.get("/v1/survivors", params={"region": region}).json()["by_region"] == answer["by_region"]
    verdict = client.get("/v1/why/paris").json()
    assert (verdict["state"], verdict["survives"], verdict["rule"]) == ("ejected", False, "failures")
    by_handle = {"handles": [0], "latency_ms": [500.0], "ok": [True], "at_ms": None}
    assert client.post("/v1/fleet/observe", json=by_handle).json()["taken"] == 1
    assert client.get("/v1/survivors").json()["survivors"] == ["potsdam"]


def test_a_policy_comes_with_the_fleet(client):
    policy = {"threshold_ms": 20, "samples": [2, 3, 1]}
    told = client.post("/v1/fleet", json={"nodes": rows(), "precision": 3, "policy": policy}).json()
    assert told["policy"]["threshold_ms"] == 20
    wrong = client.post("/v1/fleet", json={"nodes": rows(), "policy": {"treshold_ms": 1}})
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["nearest"]) == (
        422,
        "unknown_policy_field",
        "threshold_ms",
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/failover", {"ids": [], "latencies": [], "threshold": 1}, 422, "invalid_request"),
        ("/v1/failover", {"ids": ["a"], "latencies": [1, 2], "threshold": 1}, 422, "length_mismatch"),
        ("/v1/fleet", {"nodes": {name: [] for name in NODES}}, 422, "empty_nodes"),
        ("/v1/failover", {"ids": ["a"], "latencies": [1], "threshold": -1}, 422, "invalid_request"),
        ("/v1/failover", {"ids": ["a"], "latencies": [-1], "threshold": 1}, 422, "invalid_node"),
        ("/v1/failover", {"ids": [5], "latencies": [1], "threshold": 1}, 422, "invalid_request"),
        ("/v1/failover", {"ids": ["a"], "latencies": [1], "threshold": 1, "more": 2}, 422, "invalid_request"),
        ("/v1/faultset", {"nodes": NODES, "threshold": 1, "precision": 13}, 422, "invalid_request"),
        ("/v1/faultset", {"nodes": rows() + rows(), "threshold": 1}, 422, "duplicate_id"),
        ("/v1/fleet", {"nodes": {**NODES, "lat": [95, 1, 1]}}, 422, "invalid_node"),
        ("/v1/fleet/observe", {"ids": ["x"], "latency_ms": [1]}, 404, "unknown_node"),
        ("/v1/fleet/observe", {"ids": ["berlin"], "latency_ms": [1], "fleet": "none"}, 404, "unknown_fleet"),
        ("/v1/fleet/observe", {"latency_ms": [1]}, 400, "input_error"),
        ("/v1/fleet/observe", {"handles": [99], "latency_ms": [1]}, 400, "input_error"),
    ],
)
def test_what_cannot_be_asked(client, path, body, status, code):
    answer = client.post(path, json=body)
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code), document
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/survivors").json()["survivors"] == ["berlin", "paris"], "nothing was changed"


HALF = "half \ud800 of a pair"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/failover", {"ids": [HALF], "latencies": [1], "threshold": 5}),
        ("/v1/faultset", {"nodes": [{**rows()[0], "id": HALF}], "threshold": 500}),
        ("/v1/faultset", {"nodes": {**NODES, "id": ["a", HALF, "b"]}, "threshold": 500}),
        ("/v1/fleet", {"nodes": [{**rows()[0], "id": HALF}]}),
        ("/v1/fleet", {"nodes": {**NODES, "id": ["a", HALF, "b"]}}),
        ("/v1/fleet", {"nodes": NODES, "fleet": HALF}),
        ("/v1/fleet/observe", {"ids": [HALF], "latency_ms": [1]}),
        ("/v1/fleet/observe", {"ids": ["berlin"], "latency_ms": [1], "fleet": HALF}),
    ],
)
def test_text_that_no_answer_could_say_back(client, path, body):
    answer = client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert "unicode" in answer.json()["detail"]


def test_bodies_that_are_no_json(client):
    for body in (b"", b"{", b"[" * 100_000, b"1" * 5000, b"\xff"):
        answer = client.post("/v1/failover", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}, body[:9]
        assert answer.headers["content-type"] == "application/problem+json"
    text = client.post("/v1/failover", content=b"{}", headers={"Content-Type": "text/plain"})
    assert text.status_code == 422


def test_deadlines_are_the_configs(monkeypatch):
    asked = []
    with Served(settings=Config(limits=Limits(survivors_s=7.5, observe_s=2.5, register_s=33.0))) as served:
        served.client.post("/v1/fleet", json={"nodes": NODES})
        core = served.driver._fleets
        for verb, at in (("survivors", 2), ("observe", 5), ("register", 5), ("why", 2), ("handles", 2)):
            real = getattr(core, verb)

            async def noted(*args, verb=verb, at=at, real=real, **options):
                asked.append((verb, args[at]))
                return await real(*args, **options)

            monkeypatch.setattr(core, verb, noted)
        served.client.get("/v1/survivors")
        served.client.get("/v1/survivors", params={"deadline_s": 4})
        served.client.get("/v1/why/berlin")
        served.client.post("/v1/fleet/observe", json={"ids": ["berlin"], "latency_ms": [1]})
        served.client.post("/v1/fleet", json={"nodes": NODES})
    assert asked == [
        ("survivors", 7.5),
        ("survivors", 4.0),
        ("why", 7.5),
        ("handles", 2.5),
        ("observe", 2.5),
        ("register", 33.0),
    ]


def test_unknown_names(client):
    assert client.get("/v1/survivors", params={"fleet": "none"}).json()["code"] == "unknown_fleet"
    assert client.get("/v1/why/nobody").json()["code"] == "unknown_node"
    assert client.get("/v1/status").json()["objects"] == 0


# -- Watches


class Events:
    """A watch, read on a thread."""

    def __init__(self, served, last=None, count=1):
        self.found, self.status = [], None
        headers = {} if last is None else {"Last-Event-ID": last}
        self._thread = threading.Thread(target=self._read, args=(served.url, headers, count))
        self._thread.start()

    def _read(self, url, headers, count):
        with httpx.Client(timeout=30) as client, client.stream("GET", f"{url}/v1/watch", headers=headers) as answer:
            self.status = answer.status_code
            if self.status != 200:
                self.found.append(json.loads(answer.read()))
                return
            assert answer.headers["content-type"].startswith("text/event-stream")
            event = {}
            for line in answer.iter_lines():
                if not line:
                    self.found += [event] if event else []
                    event = {}
                    if len(self.found) >= count:
                        return
                elif not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = json.loads(value) if name == "data" else value

    def end(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.found


def test_a_watch_goes_on_where_it_was(served, client):
    def observe(latency_ms):
        client.post("/v1/fleet/observe", json={"ids": ["berlin"], "latency_ms": [latency_ms]})

    [begin] = Events(served).end()
    assert begin["event"] == "position"
    observe(500)
    first, out = Events(served, last=begin["id"], count=2).end()
    assert first["id"] == begin["id"]
    assert (out["event"], out["data"]["id"], out["data"]["after"]) == ("change", "berlin", "ejected")
    observe(5)
    _, back = Events(served, last=out["id"], count=2).end()
    assert (back["data"]["id"], back["data"]["before"], back["data"]["survives"]) == ("berlin", "ejected", True)
    _, again, more = Events(served, last=begin["id"], count=3).end()
    assert (again, more) == (out, back), "what was told once is told the same again"


def test_a_silent_watch_says_that_it_is_there():
    from faultset_ray.config import Http

    with Served(Http(heartbeat_s=0.05)) as served:
        served.client.post("/v1/fleet", json={"nodes": NODES})
        with served.client.stream("GET", "/v1/watch") as answer:
            lines = iter(answer.iter_lines())
            assert sum(1 for _ in zip(range(3), (line for line in lines if line == ":"), strict=False)) == 3


def test_where_no_watch_can_begin(served, client):
    for last in ("x", "1:2", "1:2:3;", "-1:0:0", "1:2:3", "ab", "ab,", "AB,1:2:3", "ab,1:2:3,"):
        [document] = Events(served, last=last).end()
        assert document["code"] == "invalid_header"
    [begin] = Events(served).end()
    [gone] = Events(served, last=f"{begin['data']['birth']},7777:1:1").end()
    assert (gone["status"], gone["code"]) == (409, "history_lost")
    _, numbers = begin["id"].split(",", 1)
    [other] = Events(served, last=f"00ab,{numbers}").end()
    assert (other["status"], other["code"], other["theirs"]) == (409, "other_history", "00ab")
    assert other["ours"] == begin["data"]["birth"]
    answer = client.get("/v1/watch", params={"fleet": "none"})
    assert answer.json()["code"] == "unknown_fleet"


def test_positions():
    versions = Versions({3: (1, 200), 1: (4, 0)}, "0f")
    assert position_text(versions) == "0f,1:4:0,3:1:200"
    found = position_of(position_text(versions))
    assert (found, found.birth) == (versions, "0f")
    with pytest.raises(InvalidHeader):
        position_of("0f," + "1:2:3," * 5000)
