"""The HTTP API over a driver in this process, served on loopback as any ASGI server would."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import asynccontextmanager

import httpx
import uvicorn
from places import PLACES

from faultset_ray.backend.local import LocalBackend
from faultset_ray.config import Http
from faultset_ray.driver.asynchronous import connect_async
from faultset_ray.http.app import build
from faultset_ray.http.tokens import add

NODES = {
    "id": ["berlin", "potsdam", "paris"],
    "lat": [52.52, 52.39, 48.86],
    "lon": [13.40, 13.06, 2.35],
    "latency_ms": [18.0, 140.0, 31.0],
}


def now_ms() -> int:
    return int(1000 * time.time())


class Served:
    """A server on a thread of its own; a context manager. ``client`` asks it."""

    def __init__(
        self, config=None, *, paced=True, clock=now_ms, wrap=lambda app: app, token=None, places=PLACES, settings=None
    ):
        self.backend = LocalBackend(places)
        self.settings = settings
        self.driver = None
        self.app = build(self._connecting, config or Http(), clock, paced=paced)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(
            uvicorn.Config(wrap(self.app), log_level="error", lifespan="on", timeout_graceful_shutdown=2)
        )
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def _connecting(self):
        async with await connect_async(backend=self.backend, config=self.settings) as self.driver:
            yield self.driver

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.should_exit = True
        self.thread.join(30)
        self.socket.close()
        assert not self.thread.is_alive()


def announced_put(port, path, nbytes, authorization=None):
    """A connection on which the headers of a put were sent, and nothing of its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("PUT", path)
    if authorization is not None:
        connection.putheader("Authorization", authorization)
    connection.putheader("Content-Length", str(nbytes))
    connection.endheaders()
    return connection


def cut_off_put(port, path, nbytes, sent, authorization=None):
    """A put of which less is sent than was announced, before the client goes away."""
    connection = announced_put(port, path, nbytes, authorization)
    connection.send(bytes(sent))
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()


def token_of(path, *scopes, number=1, expires_ms=None, note=""):
    """A new token in a file, as its bearer sends it."""
    return add(path, (f"{number:08x}", f"{number:043d}"), scopes, expires_ms, note)[1]
