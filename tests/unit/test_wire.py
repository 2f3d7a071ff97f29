"""Round trips over real sockets: who answers, who does not, and how soon that is known."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from faultset_ray.backend.wire import Echo, Target, reach, round_trips
from faultset_ray.errors import InputError

LONG = 20.0
"""A timeout that a test must not wait for."""


@pytest.fixture
def echo():
    echo = Echo("127.0.0.1")
    yield echo
    echo.close()


@contextmanager
def at_most(seconds):
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


def test_round_trips_of_those_that_answer(echo):
    with listening_echo() as other, listening_echo() as gone:
        peers = {"a": echo.address, "b": other.address, "gone": gone.address}
        gone.close()
        with at_most(LONG / 4):
            trips = round_trips(peers, LONG)
    assert trips.keys() == {"a", "b"}
    assert all(0 < trip < LONG * 1000 for trip in trips.values())


@contextmanager
def listening_echo():
    echo = Echo("127.0.0.1")
    try:
        yield echo
    finally:
        echo.close()


def test_a_process_that_hangs_is_given_up_when_time_is_up(echo):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = echo.address._replace(port=silent.getsockname()[1])
        begun = time.monotonic()
        assert round_trips({"silent": address, "a": echo.address}, 0.3).keys() == {"a"}
        assert time.monotonic() - begun >= 0.3
        silent.settimeout(5)
        assert len({silent.recv(100) for _ in range(3)}) == 3, "asked three times, each time anew"


def test_an_answer_to_an_earlier_packet_is_timed_from_that(echo):
    """The first packet is answered late, after the second was sent: the trip is the long one."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as proxy,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        proxy.bind(("127.0.0.1", 0))
        out.connect((echo.address.host, echo.address.port))

        def relay_the_first_after_the_second():
            first, sender = proxy.recvfrom(100)
            proxy.recvfrom(100)
            out.send(first)
            proxy.sendto(out.recv(100), sender)

        thread = threading.Thread(target=relay_the_first_after_the_second)
        thread.start()
        [trip] = round_trips({"late": echo.address._replace(port=proxy.getsockname()[1])}, 1.5).values()
        thread.join()
    assert trip >= 500, "a third of the time had passed before the second packet"


def test_only_those_with_the_key_are_answered_and_at_equal_size(echo):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spy,
    ):
        spy.bind(("127.0.0.1", 0))
        spied = echo.address._replace(port=spy.getsockname()[1])
        round_trips({"spy": spied}, 0.05, tries=1)
        right = spy.recv(100)
        asker.settimeout(5)
        for wrong in (b"", b"x", right[:-1], right + b"x", bytes(len(right)), right[:-1] + bytes([right[-1] ^ 1])):
            asker.sendto(wrong, (echo.address.host, echo.address.port))
        asker.sendto(right, (echo.address.host, echo.address.port))
        answer = asker.recv(100)
        assert len(answer) == len(right)
        assert answer != right, "an answer can't be sent back to be answered"
        asker.sendto(answer, (echo.address.host, echo.address.port))
        asker.sendto(right, (echo.address.host, echo.address.port))
        assert asker.recv(100) == answer, "of all that was sent, only the right packets were answered"
        asker.settimeout(0.05)
        with pytest.raises(TimeoutError):
            asker.recv(100)


def test_another_key_gets_no_answer(echo):
    assert round_trips({"a": echo.address._replace(key=bytes(16))}, 0.1) == {}


def test_a_name_that_leads_nowhere_is_no_answer():
    assert round_trips({}, LONG) == {}
    with listening_echo() as echo:
        assert round_trips({"x": echo.address._replace(host="256.0.0.1"), "a": echo.address}, LONG).keys() == {"a"}


def test_a_closed_echo_frees_its_port(echo):
    echo.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as next_owner:
        next_owner.bind(("127.0.0.1", echo.address.port))
    echo.close()


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("tcp://10.0.0.7:5432", ("tcp", "10.0.0.7", 5432, "/")),
        ("tcp://[::1]:7", ("tcp", "::1", 7, "/")),
        ("http://example.org", ("http", "example.org", 80, "/")),
        ("https://example.org/health?deep=1", ("https", "example.org", 443, "/health?deep=1")),
        ("http://example.org:8080/a/b", ("http", "example.org", 8080, "/a/b")),
    ],
)
def test_targets(url, parsed):
    assert Target.parse(url) == parsed


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "tcp://example.org", "tcp://a:1/path", "ftp://a:1", "http://", "http://a:70000", "http://a b/",
     "http://a/\r\nX: y", "http://user:pass@a/", "tcp://a:0", 7, None],
)  # fmt: skip
def test_what_is_no_target_is_refused(url):
    with pytest.raises(InputError, match="tcp://HOST:PORT"):
        Target.parse(url)


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        assert self.headers["Host"] == f"127.0.0.1:{self.server.server_port}"
        with self.server.lock:
            self.server.under_way += 1
            self.server.together = max(self.server.together, self.server.under_way)
        if self.path == "/hang":
            self.server.let_go.wait(LONG)
        if self.path.startswith("/meet"):
            with suppress(threading.BrokenBarrierError):
                self.server.meeting.wait(LONG)
        with self.server.lock:
            self.server.under_way -= 1
        with suppress(OSError):
            if self.path == "/garbage":
                self.wfile.write(b"what do you want?")
            else:
                self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
                self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.lock, server.let_go = threading.Lock(), threading.Event()
    server.under_way = server.together = 0
    server.meeting = threading.Barrier(2)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.let_go.set()
    server.shutdown()
    server.server_close()


def targets(server, *paths):
    return {path: Target.parse(f"http://127.0.0.1:{server.server_port}/{path}") for path in paths}


def test_servers_that_answer_well(server):
    found = reach(targets(server, "200", "204", "302", "404", "500", "garbage"), LONG, 4)
    assert found.keys() == {"200", "204", "302"}
    assert all(0 < took < LONG * 1000 for took in found.values())


def test_a_server_that_only_listens_is_there_for_tcp_and_not_for_http(server):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        refused = {"refused": Target.parse(f"tcp://127.0.0.1:{port}")}
        with at_most(LONG / 4):
            assert reach(refused, LONG, 1) == {}
        listening.listen()
        both = {scheme: Target.parse(f"{scheme}://127.0.0.1:{port}") for scheme in ("tcp", "http", "https")}
        assert reach(both, 0.3, 3).keys() == {"tcp"}
    assert reach(targets(server, "hang", "200"), 0.3, 2).keys() == {"200"}


def test_no_more_at_once_than_said(server):
    names = [f"meet{number}" for number in range(6)]
    assert reach(targets(server, *names), LONG, 2).keys() == set(names), "two met at a time, so two were under way"
    assert server.together == 2
