"""The HTTP API on Ray Serve: the proxy in front, credit at both of its ends, a client that goes away, tokens."""

import os
from pathlib import Path

import grpc
import httpx
import pytest
import ray
from http_server import NODES, announced_put, cut_off_put, token_of
from waiting import free_port, until

from actors import ingress
from actors.attach import attach
from actors.exposure import ask
from cluster.support import leaked
from faultset_ray.config import Config, Http
from faultset_ray.driver.sync import connect

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
MIB = 1 << 20
SYSTEM = "served"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    tokens = folder / "tokens"
    admin, weak = token_of(tokens, "admin", number=1), token_of(tokens, "read", number=2)
    http = Http(port=free_port(), tokens=str(tokens))
    attach("local", runtime_env=ingress.job_environment())
    try:
        started = ingress.listen(http)
        ingress.run(ingress.application(Config(http=http), SYSTEM, create=True, state_dir=str(folder / "state")))
        with httpx.Client(base_url=f"http://127.0.0.1:{http.port}", timeout=60) as client:
            client.headers["Authorization"] = f"Bearer {admin}"
            yield client, weak, http.port, folder
        ingress.stop(http, whole=started)
    finally:
        ray.shutdown()


def test_the_cluster_asks_for_a_token(served):
    """As any that Ray starts on this machine: so all below holds where there are tokens of Ray's."""
    assert served
    assert ask(ray.get_runtime_context().gcs_address, None) == grpc.StatusCode.UNAUTHENTICATED


def test_health_and_refusals_come_through_the_proxy(served):
    client, weak, _, _ = served
    assert client.get("/v1/ready").status_code == 200
    for headers, status in (({"Authorization": "Bearer x"}, 401), ({"Authorization": f"Bearer {weak}"}, 403)):
        answer = client.put("/v1/objects/no", content=b"x", headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/objects", headers={"Host": "evil.example"}).json()["code"] == "host_not_allowed"


def test_both_planes(served):
    client, _, _, folder = served
    assert client.post("/v1/fleet", json={"nodes": NODES, "precision": 3}).json()["nodes"] == 3
    client.post("/v1/fleet/observe", json={"ids": ["paris"], "latency_ms": [None]})
    assert client.get("/v1/survivors").json()["survivors"] == ["berlin"]
    put = client.put("/v1/objects/ledger/1", params={"code": "copy:2", "tolerate": 0}, content=b"shared")
    assert put.status_code == 200, put.text
    with connect(system=SYSTEM, create=False, state_dir=str(folder / "state")) as driver:
        assert driver.get("ledger/1") == b"shared", "other drivers of the system see it"
    with client.stream("GET", "/v1/watch") as answer:
        assert next(answer.iter_lines()).startswith("id: ")


def test_more_than_the_credit_in_both_directions(served):
    """Larger than what is let through without the outer half in the proxy: so it is there, and works."""
    client, _, _, _ = served
    data = os.urandom(40 * MIB)
    assert len(data) > Http().unpaced_bytes_max
    put = client.put("/v1/objects/large", params={"tolerate": 0}, content=data)
    assert put.status_code == 200, put.text
    assert client.get("/v1/objects/large").content == data
    part = client.get("/v1/objects/large", headers={"Range": "bytes=5000000-36999999"})
    assert (part.status_code, part.content) == (206, data[5_000_000:37_000_000])


def test_a_body_that_is_too_large_is_refused_at_once(served):
    client, _, port, _ = served
    connection = announced_put(port, "/v1/objects/huge", 1 << 40, client.headers["Authorization"])
    assert connection.getresponse().status == 413
    connection.close()


def test_an_upload_that_is_cut_off_leaves_nothing(served):
    client, _, port, _ = served
    cut_off_put(port, "/v1/objects/half?tolerate=0", 30 * MIB, 20 * MIB, client.headers["Authorization"])

    def put():
        return client.put("/v1/objects/half?tolerate=0", content=b"other", headers={"If-None-Match": "*"})

    until(lambda: put().status_code == 201)  # the write that was left would be in the way
    assert client.get("/v1/objects/half").content == b"other"


def test_no_secret_is_in_the_logs_of_the_node(served):
    """Whatever processes of this cluster have written, in all tests so far: no token, no byte of an object."""
    client, weak, _, _ = served
    payload = b"canary-in-an-object-4716 " * 1000
    assert client.put("/v1/objects/secret", params={"tolerate": 0}, content=payload).status_code == 200
    assert client.get("/v1/objects/secret").content == payload
    for bearer, status in ((weak, 403), ("canary-bearer-4714", 401)):
        headers = {"Authorization": f"Bearer {bearer}"}
        assert client.put("/v1/objects/secret", content=payload, headers=headers).status_code == status
    logs = Path(ray._private.worker._global_node.get_session_dir_path(), "logs")
    until(lambda: leaked(logs, {"event": b"request_refused"}), 60)  # what is told there is found there
    tokens = {"admin": client.headers["Authorization"].split()[1], "read": weak, "wrong": "canary-bearer-4714"}
    secrets = {name: token.rpartition("_")[2].encode() for name, token in tokens.items()}
    assert min(map(len, secrets.values())) > 15
    assert leaked(logs, secrets | {"object": b"canary-in-an-object"}) == []
