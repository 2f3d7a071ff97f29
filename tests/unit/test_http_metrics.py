"""Requests as metrics: each once, by route, method and status, refused ones too."""

import socket

from http_server import NODES, Served
from waiting import until

from faultset_ray.config import Http
from faultset_ray.limits import MIB
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import recording


def test_requests_count_by_route_method_and_status():
    with recording() as told, Served(Http(object_bytes_max=MIB)) as served:
        client = served.client
        assert client.post("/v1/fleet", json={"nodes": NODES, "precision": 3}).status_code == 200
        assert client.put("/v1/objects/a/b%0Ac", content=b"abc").status_code == 200
        for _ in range(2):
            assert client.get("/v1/objects/a/b%0Ac").content == b"abc"
        assert client.get("/v1/objects/none").status_code == 404
        assert client.put("/v1/objects/x", content=bytes(MIB + 1)).status_code == 413
        assert client.get("/v1/health").status_code == 200
        assert client.get("/wp-login.php", headers={"Host": "localhost"}).status_code == 404
        assert client.request("PURGE", "/v1/objects/x").status_code == 405
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as link:
            link.sendall(b"PUT /v1/objects/y HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        until(lambda: ("/v1/objects/{name}", "PUT", "499") in told.all(table.HTTP_REQUESTS))
    assert told.all(table.HTTP_REQUESTS) == {
        ("/v1/fleet", "POST", "200"): 1,
        ("/v1/objects/{name}", "PUT", "200"): 1,
        ("/v1/objects/{name}", "GET", "200"): 2,
        ("/v1/objects/{name}", "GET", "404"): 1,
        ("/v1/objects/{name}", "PUT", "413"): 1,
        ("/v1/objects/{name}", "other", "405"): 1,
        ("/v1/objects/{name}", "PUT", "499"): 1,
        ("/v1/health", "GET", "200"): 1,
        ("other", "GET", "404"): 1,
    }
    assert told.observed(table.HTTP_SECONDS, "/v1/objects/{name}").count == 7
    assert told.all(table.OPERATIONS)["put", "ok"] == 1
    assert told.value(table.OPERATION_BYTES, "read") == 6
