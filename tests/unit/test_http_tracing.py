"""Requests of the HTTP API in traces: below their clients' spans, above the driver's verbs."""

import asyncio

import pytest
from http_server import Served, cut_off_put, token_of
from spans import collected
from waiting import until

from faultset_ray.config import Config, Http, Tracing
from faultset_ray.errors import CoordinatorUnavailable
from faultset_ray.http.traced import Traced
from faultset_ray.limits import MIB

TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{ABOVE}-01"
PUT = "PUT /v1/objects/{name}"


@pytest.fixture
def world(tmp_path):
    path = tmp_path / "tokens"
    token = token_of(path, "admin")
    with collected() as spans, Served(Http(tokens=str(path)), token=token) as served:
        served.client.put("/v1/objects/warm", content=b"up")
        requests(spans, 1)
        yield served, spans


def requests(spans, count=1):
    """The trees of so many requests, as soon as they have ended: an answer comes before its span's end."""

    def ended():
        return sum("http.request.method" in span.attributes for span in spans._exporter.get_finished_spans())

    until(lambda: ended() >= count)
    return spans.take()


def roots(tree):
    """Requests, and where they hang."""
    return [(span["name"], span["parent_id"], span["context"]["trace_id"]) for span in tree.spans if is_request(span)]


def is_request(span):
    return "http.request.method" in span["attributes"]


def test_a_request_continues_its_clients_trace(world):
    served, spans = world
    put = served.client.put(
        "/v1/objects/x", content=bytes(1000), headers={"traceparent": PARENT, "tracestate": "a=1,b=2"}
    )
    assert put.status_code == 200
    tree = requests(spans)
    assert roots(tree) == [(PUT, f"0x{ABOVE}", f"0x{TRACE}")]
    assert {span["context"]["trace_id"] for span in tree.spans} == {f"0x{TRACE}"}
    assert {span["context"]["trace_state"] for span in tree.spans} == {"['{key=a, value=1}', '{key=b, value=2}']"}
    commit = tree.named("coordinator/commit_writes", "SERVER")[0]
    assert tree.path(commit)[:2] == [(PUT, "SERVER"), ("faultset.put", "INTERNAL")]
    [asked] = [span for span in tree.spans if is_request(span)]
    assert asked["attributes"] == {
        "http.request.method": "PUT",
        "http.route": "/v1/objects/{name}",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }
    assert asked["status"]["status_code"] == "UNSET"


def test_what_is_streamed_belongs_to_it(world):
    served, spans = world
    large = bytes(3 * MIB)
    served.client.put("/v1/objects/large", content=large, headers={"traceparent": PARENT})
    assert served.client.get("/v1/objects/large", headers={"traceparent": PARENT}).content == large
    tree = requests(spans, 2)
    assert {span["context"]["trace_id"] for span in tree.spans} == {f"0x{TRACE}"}
    assert {name for name, *_ in roots(tree)} == {PUT, "GET /v1/objects/{name}"}
    assert all(tree.path(span)[0][1] == "SERVER" for span in tree.spans)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"traceparent": "00-" + "0" * 32 + f"-{ABOVE}-01"},
        {"traceparent": "nothing"},
        {"traceparent": "\xe4"},
        [("traceparent", PARENT), ("traceparent", PARENT)],
        {"tracestate": "a=1"},
    ],
    ids=range(6),
)
def test_without_one_that_can_be_read_a_trace_begins(world, given):
    served, spans = world
    headers = list(given.items()) if isinstance(given, dict) else given
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    token = served.client.headers["authorization"]
    assert served.client.get("/v1/objects", headers=[(b"authorization", token.encode()), *raw]).status_code == 200
    [(name, parent, trace)] = roots(requests(spans))
    assert (name, parent) == ("GET /v1/objects", None)
    assert trace != f"0x{TRACE}"


def test_what_its_client_does_not_sample_is_not(world):
    served, spans = world
    served.client.put("/v1/objects/x", content=b"x", headers={"traceparent": PARENT[:-1] + "0"})
    served.client.get("/v1/objects", headers={"traceparent": PARENT})
    tree = requests(spans)
    assert {span["name"] for span in tree.roots()} | {name for name, *_ in roots(tree)} == {"GET /v1/objects"}


def test_strangers_and_probes_make_no_spans(world):
    served, spans = world
    headers = {"traceparent": PARENT}
    assert served.client.get("/v1/objects", headers={**headers, "Authorization": "Bearer x"}).status_code == 401
    assert served.client.get("/v1/health", headers=headers).status_code == 200
    assert served.client.get("/v1/ready", headers=headers).status_code == 200
    assert served.client.get("/v1/none", headers=headers).status_code == 404
    tree = requests(spans)
    assert roots(tree) == [("GET", f"0x{ABOVE}", f"0x{TRACE}")]
    assert not any("ready" in span["name"] for span in tree.spans)


def test_what_fails(world):
    served, spans = world

    async def away(**_):
        raise CoordinatorUnavailable("prod", "no answer")

    served.driver.status = away
    assert served.client.get("/v1/status").status_code == 503
    assert served.client.get("/v1/objects/none").status_code == 404
    served.client.request("PATCH", "/v1/objects/x")
    found = {span["name"]: span for span in requests(spans, 3).spans if is_request(span)}
    failed = found["GET /v1/status"]
    assert (failed["status"]["status_code"], failed["attributes"]["error.type"]) == ("ERROR", "503")
    assert found["GET /v1/objects/{name}"]["status"]["status_code"] == "UNSET"
    assert found["PATCH /v1/objects/{name}"]["attributes"]["http.response.status_code"] == 405


def test_methods_that_nobody_knows_make_no_names():
    async def answer(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 405, "headers": []})

    async def send(_message):
        pass

    with collected() as spans:
        asyncio.run(Traced(answer)({"type": "http", "method": "BREW", "path": "/x", "headers": []}, None, send))
        [span] = spans.take().spans
    assert (span["name"], span["attributes"]["http.request.method"]) == ("HTTP", "_OTHER")


def test_a_client_that_leaves(world):
    served, spans = world
    cut_off_put(served.port, "/v1/objects/half", 30 * MIB, 20 * MIB, served.client.headers["authorization"])
    [left] = [span for span in requests(spans).spans if is_request(span)]
    assert left["attributes"]["faultset.cancelled"] is True
    assert "http.response.status_code" not in left["attributes"]
    assert left["status"]["status_code"] == "UNSET"


@pytest.mark.parametrize("names", [False, True])
def test_paths_are_told_only_where_names_may_be(names):
    with collected() as spans, Served(settings=Config(tracing=Tracing(names=names))) as served:
        served.client.put("/v1/objects/of-nobody-s-business", content=b"x")
        served.client.get("/v1/objects/of-nobody-s-business?x=1")
        told = "".join(map(str, requests(spans, 2).spans))
    assert ("of-nobody-s-business" in told) is names


def test_without_a_provider_nothing_is_made():
    with Served() as served:
        assert served.client.get("/v1/objects", headers={"traceparent": PARENT}).status_code == 200
