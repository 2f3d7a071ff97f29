"""Every status that the API promises, each from a request that earns it; and what it says when its system is away."""

import pytest
from http_server import NODES, Served, announced_put, token_of
from waiting import until

from faultset_ray.config import Http
from faultset_ray.http.problems import REFUSALS, STATUSES
from faultset_ray.limits import MIB

PROMISED = {400, 401, 403, 404, 409, 412, 413, 416, 422, 429, 503, 507}
"""By the issue that asked for the API."""
X = "/v1/objects/x"
TABLE = {
    (400, "invalid_object_name"): lambda ask, _: ask("PUT", "/v1/objects/%ff", content=b""),
    (400, "input_error"): lambda ask, _: ask("PUT", X, params={"tolerate": 9}, content=b"x"),
    (400, "invalid_header"): lambda ask, _: ask("GET", X, headers={"If-Match": "x"}),
    (400, "invalid_json"): lambda ask, _: ask("POST", "/v1/fleet", content=b"{", headers={"Content-Type": "application/json"}),
    (400, "bad_request"): lambda ask, _: ask("POST", "/v1/fleet", content=b'{"nodes": "\xff"}', headers={"Content-Type": "application/json"}),
    (400, "host_not_allowed"): lambda ask, _: ask("GET", X, headers={"Host": "evil.example"}),
    (401, "unauthorized"): lambda ask, _: ask("GET", X, headers={"Authorization": "Bearer none"}),
    (403, "forbidden"): lambda ask, weak: ask("PUT", X, content=b"x", headers={"Authorization": f"Bearer {weak}"}),
    (404, "object_not_found"): lambda ask, _: ask("GET", "/v1/objects/none"),
    (404, "unknown_fleet"): lambda ask, _: ask("GET", "/v1/survivors", params={"fleet": "none"}),
    (404, "unknown_node"): lambda ask, _: ask("GET", "/v1/why/none"),
    (409, "history_lost"): lambda ask, _: ask("GET", "/v1/watch", headers={"Last-Event-ID": f"{birth(ask)},7777:1:1"}),
    (409, "other_history"): lambda ask, _: ask("GET", "/v1/watch", headers={"Last-Event-ID": "00ab,7777:1:1"}),
    (412, "precondition_failed"): lambda ask, _: ask("PUT", X, content=b"y", headers={"If-None-Match": "*"}),
    (413, "body_too_large"): lambda ask, _: ask("POST", "/v1/fleet", content=bytes(2 * MIB)),
    (416, "range_not_satisfiable"): lambda ask, _: ask("GET", X, headers={"Range": "bytes=9-"}),
    (422, "invalid_request"): lambda ask, _: ask("GET", "/v1/objects", params={"limit": 0}),
    (422, "invalid_code_spec"): lambda ask, _: ask("PUT", X, params={"code": "rs:x"}, content=b"x"),
    (507, "not_enough_places"): lambda ask, _: ask("PUT", X, params={"code": "rs:20+4"}, content=b"x"),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "tokens"
    token, weak = token_of(path, "admin", number=1), token_of(path, "read", number=2)
    with Served(Http(tokens=str(path), json_bytes_max=MIB, transfers_max=1, busy_s=0.2), token=token) as served:
        served.client.put(X, content=b"x")
        served.client.post("/v1/fleet", json={"nodes": NODES, "precision": 3})
        yield served, token, weak


def birth(ask):
    return ask("GET", "/v1/survivors").json()["versions"]["birth"]


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["detail"]
    return answer.status_code, document["code"]


@pytest.mark.parametrize("expected", TABLE, ids=str)
def test_a_request_that_earns_it(world, expected):
    served, _, weak = world
    assert problem(TABLE[expected](served.client.request, weak)) == expected


@pytest.mark.parametrize("path", ["/v1/health", "/v1/ready"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "text/\xe4"])
def test_nothing_that_a_probe_brings_can_be_wrong(world, path, kind):
    """Its body is not looked at; so it earns no ``bad_request``, as others do by the same."""
    served, _, _ = world
    headers = {"Content-Type": kind.encode("latin-1")}
    answer = served.client.request("GET", path, params={"a": "\xff"}, content=b'{"\xff', headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_beside_a_write_that_is_under_way(world):
    served, token, _ = world
    served.client.put("/v1/objects/slow", content=b"y")
    first = announced_put(served.port, "/v1/objects/slow", 20 * MIB, f"Bearer {token}")
    first.send(bytes(17 * MIB))  # more than a stripe: it begins
    until(lambda: served.driver._objects._writes._open)  # before that, one that comes now would be met by it

    def second(content):
        return served.client.put("/v1/objects/slow", content=content, headers={"If-Match": "*"})

    answer = second(b"y")
    assert problem(answer) == (409, "write_in_progress"), answer.text
    assert second(b"y").headers["retry-after"] == "1"
    assert problem(second(bytes(2 * MIB))) == (429, "too_many_requests"), "one transfer is what there may be"
    first.send(bytes(3 * MIB))
    assert first.getresponse().status == 200
    first.close()
    assert second(b"y").status_code == 200


def test_none_is_left_out():
    earned = set(TABLE) | {(409, "write_in_progress"), (429, "too_many_requests"), (503, "coordinator_unavailable")}
    assert {status for status, _ in earned} == PROMISED
    known = {(status, cls.code) for cls, status in STATUSES.items()} | {(cls.status, cls.code) for cls in REFUSALS}
    assert earned <= known | {(400, "invalid_json"), (400, "bad_request"), (422, "invalid_request")}


def test_a_system_that_is_away():
    with Served() as served:
        served.client.put(X, content=b"x")
        assert served.client.get("/v1/ready").status_code == 200
        served.backend.kill("head")
        refused = served.client.get("/v1/ready")
        assert problem(refused) == (503, "coordinator_unavailable")
        assert refused.headers["retry-after"] == "1"
        assert set(refused.json()) == {"type", "title", "status", "code", "detail"}, "no token was asked for"
        assert refused.json()["detail"].startswith("not ready;")
        assert served.client.get("/v1/health").json()["status"] == "ok", "the process itself is well"
        assert served.client.get(X).content == b"x", "objects are read without a coordinator"
        assert problem(served.client.put("/v1/objects/y", content=b"y"))[0] == 503
