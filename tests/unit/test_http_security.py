"""Who may come in: every route with every kind of token, names, origins, machines, and tokens that come and go."""

import json
import os
import re
import stat

import httpx
import pytest
from http_server import Served, token_of

from faultset_ray.config import Http
from faultset_ray.errors import InputError
from faultset_ray.http.guard import ROUTES, scope_of
from faultset_ray.http.tokens import TokenFile, add, hashed, read, revoke

NOW_MS = 1_800_000_000_000
BODIES = {
    "/v1/failover": {"ids": ["a"], "latencies": [1.0], "threshold": 5.0},
    "/v1/faultset": {"nodes": [{"id": "a", "lat": 1.0, "lon": 2.0, "latency_ms": 3.0}], "threshold": 5.0},
    "/v1/fleet": {"nodes": [{"id": "a", "lat": 1.0, "lon": 2.0, "latency_ms": 3.0}]},
    "/v1/fleet/observe": {"ids": ["a"], "latency_ms": [4.0]},
}


CLIENT = httpx.Client(timeout=30)


class Clock:
    now_ms = NOW_MS

    def __call__(self):
        return self.now_ms


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    tokens = {
        "read": token_of(path, "read", number=1),
        "write": token_of(path, "write", number=2),
        "admin": token_of(path, "admin", number=3),
        "both": token_of(path, "read", "write", number=4),
        "late": token_of(path, "admin", number=5, expires_ms=NOW_MS),
    }
    with Served(Http(tokens=str(path)), clock=Clock()) as served:
        served.client.headers["Authorization"] = f"Bearer {tokens['admin']}"
        served.client.post("/v1/fleet", json=BODIES["/v1/fleet"])
        served.client.put("/v1/objects/x", content=b"x")
        yield served, path, tokens


def routes(served):
    """(method, path) of every route that there is, and of some that are not."""
    found = [
        (method.upper(), path)
        for path, methods in served.app.openapi()["paths"].items()
        for method in methods
        if path not in {"/v1/health", "/v1/ready"}
    ]
    return [*found, ("GET", "/v1/openapi.json")]


def ask(served, method, path, token):
    headers = {} if token is None else {"Authorization": token}
    url = served.url + path.replace("{name}", "x").replace("{node_id}", "a")
    content = b"x" if method == "PUT" else None
    with CLIENT.stream(method, url, headers=headers, json=BODIES.get(path), content=content) as answer:
        if path == "/v1/watch" and answer.status_code == 200:
            return answer
        answer.read()
        return answer


def test_every_route_with_every_kind_of_token(world):
    served, _, tokens = world
    walked = set()
    order = sorted(routes(served), key=lambda route: route[0] == "DELETE")  # the object is there until the end
    for method, path in order:
        needed = scope_of(method, path)
        for wrong in (
            None,
            "Bearer x",
            f"Basic {tokens['admin']}",
            f"Bearer {tokens['late']}",
            "Bearer",
            tokens["admin"],
        ):
            answer = ask(served, method, path, wrong)
            assert answer.status_code == 401, (method, path, wrong)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for name in ("read", "write", "both"):
            if name != needed and not (name == "both" and needed in {"read", "write"}):
                answer = ask(served, method, path, f"Bearer {tokens[name]}")
                assert answer.status_code == 403, (method, path, name)
                assert needed in answer.headers["www-authenticate"]
        for name in {"read": ("read", "both"), "write": ("write", "both"), "admin": ()}[needed]:
            answer = ask(served, method, path, f"Bearer {tokens[name]}")
            assert answer.status_code in {200, 201, 404}, (method, path, name, answer.status_code)
            if method == "DELETE":
                ask(served, "PUT", path, f"Bearer {tokens['admin']}")
        answer = ask(served, method, path, f"bearer {tokens['admin']}")
        assert answer.status_code in {200, 201}, (method, path)
        if method == "DELETE":
            ask(served, "PUT", path, f"Bearer {tokens['admin']}")
        walked.add((method, path))
    assert {method for method, _ in walked} == {"GET", "HEAD", "PUT", "POST", "DELETE"}
    assert len(walked) >= 14


def test_every_route_is_in_the_table(world):
    served, _, _ = world
    for method, path in [*routes(served), ("GET", "/v1/health"), ("GET", "/v1/ready")]:
        assert any(
            method in methods.split("|") and re.fullmatch(pattern, path, re.DOTALL) for methods, pattern, _ in ROUTES
        ), (method, path)


def test_what_is_not_there_tells_nothing_without_a_token(world):
    served, _, tokens = world
    for path in ("/v1/none", "/", "/v1/objects/none", "/docs", "/v2/objects/x"):
        assert ask(served, "GET", path, None).status_code == 401
    assert ask(served, "GET", "/v1/none", f"Bearer {tokens['read']}").status_code == 403
    assert ask(served, "GET", "/v1/none", f"Bearer {tokens['admin']}").status_code == 404
    wrong = ask(served, "PATCH", "/v1/objects/x", f"Bearer {tokens['admin']}")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")


def test_probes_need_no_token_and_tell_nothing(world):
    served, _, _ = world
    for path in ("/v1/health", "/v1/ready"):
        answer = CLIENT.get(served.url + path, headers={"Host": "10.1.2.3:8000"})
        assert answer.status_code == 200
        assert set(answer.json()) == {"status", "version"}


def test_tokens_come_and_go_while_it_runs(world):
    served, path, _ = world
    first, second = token_of(path, "read", number=11), token_of(path, "read", number=12)
    for token in (first, second):
        assert ask(served, "GET", "/v1/objects/x", f"Bearer {token}").status_code == 200
    revoke(path, f"{11:08x}")
    assert ask(served, "GET", "/v1/objects/x", f"Bearer {first}").status_code == 401
    assert ask(served, "GET", "/v1/objects/x", f"Bearer {second}").status_code == 200


def test_a_token_ends_at_its_time(tmp_path):
    path = tmp_path / "tokens"
    token, clock = token_of(path, "read", expires_ms=NOW_MS + 1000), Clock()
    with Served(Http(tokens=str(path)), clock=clock, token=token) as served:
        assert served.client.get("/v1/objects").status_code == 200
        clock.now_ms += 999
        assert served.client.get("/v1/objects").status_code == 200
        clock.now_ms += 1
        assert served.client.get("/v1/objects").status_code == 401


def test_a_file_that_was_spoilt_lets_nobody_in(tmp_path):
    path = tmp_path / "tokens"
    token = token_of(path, "admin")
    with Served(Http(tokens=str(path)), token=token) as served:
        assert served.client.get("/v1/objects").status_code == 200
        whole = path.read_bytes()
        for spoil in (
            lambda: path.write_bytes(b"{}"),
            path.unlink,
            lambda: path.write_bytes(whole) and path.chmod(0o666),
        ):
            spoil()
            answer = served.client.get("/v1/objects")
            assert (answer.status_code, answer.json()["code"]) == (503, "tokens_unreadable")
        path.unlink()
        token_of(path, "admin")
        assert served.client.get("/v1/objects").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil:80", "xn--localhost"])
def test_names_that_are_not_ours(world, host):
    served, _, tokens = world
    answer = CLIENT.get(
        served.url + "/v1/objects", headers={"Host": host, "Authorization": f"Bearer {tokens['admin']}"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "host_not_allowed")


def test_names_that_are_ours(tmp_path):
    with Served(Http(hosts=("*.Example.org", "localhost"))) as served:
        for host in ("localhost", "LOCALHOST:8000", "a.example.org", "a.b.example.org:1"):
            assert served.client.get("/v1/objects", headers={"Host": host}).status_code == 200
        for host in ("example.org", "127.0.0.1", "aexample.org"):
            assert served.client.get("/v1/objects", headers={"Host": host}).status_code == 400


def test_pages_of_other_sites_get_nothing(world):
    served, _, tokens = world
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        headers = {"Origin": origin, "Authorization": f"Bearer {tokens['admin']}"}
        for method in ("GET", "OPTIONS", "POST"):
            answer = CLIENT.request(method, served.url + "/v1/failover", headers=headers)
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control")]
    headers = {"Origin": "http://localhost:9000", "Authorization": f"Bearer {tokens['admin']}"}
    answer = CLIENT.get(served.url + "/v1/objects", headers=headers)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_without_tokens_only_this_machine_is_answered():
    def from_elsewhere(app):
        async def moved(scope, receive, send):
            await app({**scope, "client": ("192.0.2.7", 5)} if scope["type"] == "http" else scope, receive, send)

        return moved

    with Served(wrap=from_elsewhere) as served:
        assert served.client.get("/v1/objects").status_code == 403
        assert served.client.get("/v1/health").status_code == 200


def test_a_header_that_stands_twice_is_refused(world):
    served, _, tokens = world
    twice = [("Authorization", f"Bearer {tokens['admin']}"), ("Authorization", "Bearer x")]
    assert CLIENT.get(served.url + "/v1/objects", headers=twice).status_code == 400


# -- The file


def test_the_file_holds_no_secret_and_is_its_owners(tmp_path):
    path = tmp_path / "deep" / "tokens"
    umask = os.umask(0)
    try:
        token, bearer = add(path, ("0000000a", "s" * 43), ["read", "write", "read"], NOW_MS, "for tests")
    finally:
        os.umask(umask)
    assert bearer == "fst_0000000a_" + "s" * 43
    assert "s" * 43 not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token.scopes == ("read", "write")
    assert read(path) == {"0000000a": token}
    assert token.sha256 == hashed("s" * 43)


def test_what_can_be_no_token_finds_none(tmp_path):
    path = tmp_path / "tokens"
    token = token_of(path, "read")
    tokens = TokenFile(path)
    assert tokens.find(token, NOW_MS).id == "00000001"
    for wrong in ("", token + "x", token[:-1], token.upper(), token[:-1] + "x", "fst_00000002" + token[12:], "é" * 56):
        assert tokens.find(wrong, NOW_MS) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"tokens": 5}',
        '{"tokens": [{}]}',
        '{"tokens": [5]}',
        "[" * 100_000,
        json.dumps(
            {"tokens": [{"id": "0000000a", "sha256": "00", "scopes": ["read"], "expires_ms": None, "note": ""}]}
        ),
        json.dumps(
            {"tokens": [{"id": "0000000a", "sha256": "0" * 64, "scopes": ["root"], "expires_ms": None, "note": ""}]}
        ),
        json.dumps({"tokens": [{"id": "0000000a", "sha256": "0" * 64, "scopes": [], "expires_ms": None, "note": ""}]}),
        json.dumps(
            {"tokens": 2 * [{"id": "0000000a", "sha256": "0" * 64, "scopes": ["read"], "expires_ms": None, "note": ""}]}
        ),
        " " * (1 << 20) + "{}",
    ],
    ids=range(12),
)
def test_what_is_no_file_of_tokens(tmp_path, text):
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InputError, match="tokens"):
        TokenFile(path)


def test_scopes_and_ids_are_checked(tmp_path):
    path = tmp_path / "tokens"
    for scopes in ([], ["root"], ["read", "Write"]):
        with pytest.raises(InputError):
            add(path, ("0000000a", "s" * 43), scopes)
    with pytest.raises(InputError):
        add(path, ("0000000a", "short"), ["read"])
    assert not path.exists()
    add(path, ("0000000a", "s" * 43), ["read"])
    with pytest.raises(InputError, match="already"):
        add(path, ("0000000a", "t" * 43), ["read"])
    with pytest.raises(InputError, match="no token"):
        revoke(path, "0000000b")
    with pytest.raises(InputError, match="can't be read"):
        TokenFile(tmp_path / "none")


def test_changing_tokens_keeps_who_may_read_them(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    token_of(real, "read", number=1)
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 1235)
    link.symlink_to(real)
    before = real.stat()
    token_of(link, "read", number=2)
    revoke(link, f"{1:08x}")
    after = real.stat()
    assert link.is_symlink()
    assert list(read(real)) == [f"{2:08x}"]
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
