"""Limits of the HTTP API: bodies, requests at once, time; and the credit that keeps a proxy's memory bounded."""

import asyncio
import contextlib
import http.client
import socket
import threading

import httpx
import pytest
from http_server import NODES, Served
from waiting import until

from faultset_ray.config import Http
from faultset_ray.http.pacing import AHEAD_BYTES, STEP_BYTES, Inner, Outer
from faultset_ray.limits import MIB


def code(answer):
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def raw(served, head, body=b"", *, end=True):
    """Send bytes as they are; what comes back until the server closes, or the head of the answer."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as link:
        link.sendall(head + body)
        if end:
            link.shutdown(socket.SHUT_WR)
        found = b""
        while piece := link.recv(65536):
            found += piece
        return found


HEAD = b"PUT /v1/objects/x HTTP/1.1\r\nHost: localhost\r\n"


def test_a_body_that_says_that_it_is_too_large_is_not_read():
    with Served(Http(object_bytes_max=MIB, json_bytes_max=1000)) as served:
        # not a byte of the body was sent: the answer comes before
        found = raw(served, HEAD + b"Content-Length: 1048577\r\n\r\n", end=False)
        assert found.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in found.lower()
        assert b'"code": "body_too_large"' in found
        # nor is it asked for
        found = raw(served, HEAD + b"Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n", end=False)
        assert found.startswith(b"HTTP/1.1 413")
        assert code(served.client.post("/v1/fleet", content=b"x" * 1001)) == (413, "body_too_large")
        assert served.client.put("/v1/objects/x", content=bytes(MIB)).status_code == 200


def test_a_body_that_does_not_say_is_cut_off():
    with Served(Http(object_bytes_max=MIB, json_bytes_max=1000)) as served:

        def endless():
            for _ in range(1000):
                yield bytes(100_000)

        with contextlib.suppress(httpx.WriteError):  # it was closed while we wrote
            assert code(served.client.put("/v1/objects/x", content=endless())) == (413, "body_too_large")
        assert code(served.client.get("/v1/objects/x")) == (404, "object_not_found")
        chunked = HEAD.replace(b"PUT /v1/objects/x", b"POST /v1/fleet") + b"Content-Type: application/json\r\n"
        chunked += b"Transfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + b" " * 1001 + b"\r\n"
        assert raw(served, chunked, end=False).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", [b"x", b"-1", b"9" * 25])
def test_lengths_that_are_none(length):
    with Served() as served:
        assert raw(served, HEAD + b"Content-Length: " + length + b"\r\n\r\n").split(b" ")[1] == b"400"


class Gate:
    """Holds every request that passes it."""

    def __init__(self, served, verb="survivors"):
        self.open, self.served = asyncio.Event(), served
        self.waiting = 0
        driver, real = served.driver, getattr(served.driver, verb)

        async def held(**options):
            self.waiting += 1
            await self.open.wait()
            return await real(**options)

        setattr(driver, verb, held)


def asked(served, count, path="/v1/survivors"):
    """The answers to as many questions at once."""
    answers = []

    def ask():
        with httpx.Client(base_url=served.url, timeout=30) as client:
            answers.append(client.get(path))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def test_more_requests_than_may_be_are_told_to_come_again():
    with Served(Http(requests_max=3)) as served:
        served.client.post("/v1/fleet", json={"nodes": NODES})
        gate = Gate(served)
        threads, answers = asked(served, 3)
        until(lambda: gate.waiting == 3)
        refused = served.client.get("/v1/objects")
        assert code(refused) == (429, "too_many_requests")
        assert refused.headers["retry-after"] == "1"
        gate.open.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert served.client.get("/v1/objects").status_code == 200


def test_probes_are_answered_where_there_is_no_room():
    with Served(Http(requests_max=1)) as served:
        served.client.post("/v1/fleet", json={"nodes": NODES})
        gate = Gate(served)
        threads, _ = asked(served, 1)
        until(lambda: gate.waiting == 1)
        assert code(served.client.get("/v1/objects")) == (429, "too_many_requests")
        assert served.client.get("/v1/health").status_code == 200
        assert served.client.get("/v1/ready").status_code == 200
        large = served.client.request("GET", "/v1/health", content=bytes(MIB + 1))
        assert code(large) == (413, "body_too_large"), "nor do they take the room of transfers"
        gate.open.set()
        threads[0].join()


def test_many_who_ask_whether_it_is_ready_are_one_question_and_take_no_room():
    with Served(Http(requests_max=1)) as served:
        gate = Gate(served, "ready")
        threads, answers = asked(served, 5, "/v1/ready")
        until(lambda: len(served.server.server_state.tasks) == 5)
        assert served.client.get("/v1/objects").status_code == 200
        assert gate.waiting == 1
        gate.open.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 5
        so_far = gate.waiting
        assert served.client.get("/v1/ready").status_code == 200
        assert gate.waiting == so_far + 1, "each question is answered anew"


def test_large_bodies_are_few_at_once_and_small_ones_go_on():
    with Served(Http(transfers_max=1)) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        connection.putrequest("PUT", "/v1/objects/first")
        connection.putheader("Content-Length", str(3 * MIB))
        connection.endheaders()
        connection.send(bytes(MIB))
        until(lambda: code(served.client.put("/v1/objects/second", content=bytes(2 * MIB)))[0] == 429)
        assert served.client.put("/v1/objects/small", content=bytes(MIB)).status_code == 200
        assert served.client.get("/v1/objects/small").status_code == 200
        connection.send(bytes(2 * MIB))
        assert connection.getresponse().status == 200
        connection.close()
        assert served.client.put("/v1/objects/second", content=bytes(2 * MIB)).status_code == 200
        assert len(served.client.get("/v1/objects/second").content) == 2 * MIB


def test_watches_are_few():
    with Served(Http(watches_max=1)) as served:
        served.client.post("/v1/fleet", json={"nodes": NODES})
        with served.client.stream("GET", "/v1/watch") as first:
            lines = first.iter_lines()  # kept: its end would end the watch
            next(lines)
            with httpx.Client(base_url=served.url) as other:
                assert code(other.get("/v1/watch")) == (429, "too_many_requests")
                assert other.get("/v1/survivors").status_code == 200


def test_what_takes_too_long_is_told():
    with Served(Http(request_s=0.3)) as served:
        served.client.post("/v1/fleet", json={"nodes": NODES})
        gate = Gate(served)
        late = served.client.get("/v1/survivors")
        assert code(late) == (503, "request_timeout")
        assert late.headers["retry-after"] == "1"
        assert gate.waiting == 1
        # transfers and watches are not bounded by it
        with served.client.stream("GET", "/v1/watch") as watch:
            next(watch.iter_lines())
        assert served.client.put("/v1/objects/x", content=bytes(2 * MIB)).status_code == 200


def test_a_body_that_stalls_is_given_up():
    with Served(Http(idle_s=0.3)) as served:
        found = raw(served, HEAD + b"Content-Length: 3000000\r\n\r\n", bytes(1000), end=False)
        assert found.startswith(b"HTTP/1.1 408")
        assert b'"code": "body_stalled"' in found
        assert code(served.client.get("/v1/objects/x")) == (404, "object_not_found")


def test_a_body_that_comes_too_slowly_is_given_up():
    settings = {"idle_s": 1.0, "transfers_max": 1, "rate_min_bytes_per_s": 1000}
    with Served(Http(**settings)) as served, socket.create_connection(("127.0.0.1", served.port), timeout=0.05) as link:
        link.sendall(HEAD + b"Content-Length: 3000000\r\n\r\n")
        sent, found = 0, b""
        while not found:  # never silent for long
            try:
                found = link.recv(65536)
            except TimeoutError:
                link.sendall(b"x")
                sent += 1
                assert sent < 400
        assert found.startswith(b"HTTP/1.1 408")
        assert b'"code": "body_stalled"' in found
        assert served.client.put("/v1/objects/x", content=bytes(2 * MIB)).status_code == 200, "its place is free"


def test_behind_a_server_that_reads_ahead_only_what_fits():
    with Served(Http(unpaced_bytes_max=MIB), paced=None) as served:
        assert code(served.client.put("/v1/objects/x", content=bytes(MIB + 1))) == (413, "body_too_large")
        assert served.client.put("/v1/objects/x", content=bytes(MIB)).status_code == 200
    both = {"paced": None, "wrap": lambda app: Outer(Inner(app))}
    with Served(Http(unpaced_bytes_max=MIB), **both) as served:
        assert served.client.put("/v1/objects/x", content=bytes(3 * MIB)).status_code == 200
        assert len(served.client.get("/v1/objects/x").content) == 3 * MIB


def test_a_large_answer_is_asked_for_in_ranges():
    with Served(Http(unpaced_bytes_max=MIB), paced=None) as served:

        async def put():
            await served.driver.put("x", bytes(3 * MIB))

        asyncio.run_coroutine_threadsafe(put(), served.server.servers[0].get_loop()).result(30)
        assert code(served.client.get("/v1/objects/x")) == (413, "answer_too_large")
        part = served.client.get("/v1/objects/x", headers={"Range": f"bytes=0-{MIB - 1}"})
        assert (part.status_code, len(part.content)) == (206, MIB)


# -- Credit


class Proxy:
    """As Serve's: takes in all that comes, and keeps what was not asked for, in both directions."""

    def __init__(self, app):
        self.app, self.body, self.answer, self.most = app, [], [], 0

    def note(self):
        self.most = max(self.most, *(sum(len(m.get("body", b"")) for m in kept) for kept in (self.body, self.answer)))

    async def __call__(self, scope, receive, send):
        arrived, said = asyncio.Condition(), asyncio.Condition()

        async def take_in():
            while True:
                message = await receive()
                async with arrived:
                    self.body.append(message)
                    self.note()
                    arrived.notify_all()

        async def hand_out():
            while True:
                async with said:
                    await said.wait_for(lambda: self.answer)
                    message = self.answer.pop(0)
                if message is None:
                    return
                await send(message)

        async def given():
            async with arrived:
                await arrived.wait_for(lambda: self.body)
                return self.body.pop(0)

        async def put(message):
            async with said:
                self.answer.append(message)
                self.note()
                said.notify_all()

        taking, handing = asyncio.ensure_future(take_in()), asyncio.ensure_future(hand_out())
        await self.app(scope, given, put)
        await put_none(self.answer, said)
        await handing
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


async def put_none(answer, said):
    async with said:
        answer.append(None)
        said.notify_all()


CHUNK, CHUNKS = 65536, 1024  # 64 MiB


def exchange(slow_reader, paced=True, path="/v1/objects/x"):
    """How much a proxy held at most while a body of 64 MiB came, and one as large went."""
    got, sent, left = [], [], CHUNKS

    async def application(scope, receive, send):
        del scope
        for turn in range(CHUNKS):
            got.append((await receive())["body"])
            if turn % 16 == 0:
                await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(CHUNKS // 64):
            await send({"type": "http.response.body", "body": bytes(64 * CHUNK), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        nonlocal left
        if not left:
            await asyncio.Event().wait()
        left -= 1
        return {"type": "http.request", "body": bytes(CHUNK), "more_body": left > 0}

    async def send(message):
        if slow_reader:
            await asyncio.sleep(0)
        sent.append(message)

    proxy = Proxy(Inner(application) if paced else application)
    app = Outer(proxy) if paced else proxy
    asyncio.run(asyncio.wait_for(app({"type": "http", "path": path}, receive, send), 60))
    assert sum(map(len, got)) == CHUNK * CHUNKS
    assert sum(len(message.get("body", b"")) for message in sent) == CHUNK * CHUNKS
    assert {message["type"] for message in sent} == {"http.response.start", "http.response.body"}
    return proxy.most


@pytest.mark.parametrize("slow_reader", [False, True])
def test_credit_bounds_what_a_proxy_holds(slow_reader):
    assert exchange(slow_reader) <= AHEAD_BYTES + STEP_BYTES


def test_without_credit_it_holds_it_all():
    """So the test above sees what it is to see."""
    assert exchange(slow_reader=True, paced=False) > 2 * (AHEAD_BYTES + STEP_BYTES)


def test_other_applications_behind_the_same_proxy_are_left_alone():
    """They give no credit: what was held back for it would never go on."""
    proxied = []

    async def application(scope, receive, send):
        proxied.append(scope)
        taken = [len((await receive())["body"]) for _ in range(CHUNKS)]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(sum(taken)).encode()})

    left = iter(range(CHUNKS - 1, -1, -1))

    async def receive():
        return {"type": "http.request", "body": bytes(CHUNK), "more_body": next(left) > 0}

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(asyncio.wait_for(Outer(application)({"type": "http", "path": "/bare"}, receive, send), 20))
    assert sent[-1]["body"] == str(CHUNK * CHUNKS).encode()
    assert "extensions" not in proxied[0]


def test_an_answer_to_a_client_that_is_gone_ends():
    async def application(scope, receive, send):
        del scope
        assert (await receive())["type"] == "http.disconnect"
        assert (await receive())["type"] == "http.disconnect"
        with pytest.raises(OSError, match="gone"):
            await send({"type": "http.response.body", "body": bytes(MIB), "more_body": True})

    async def receive():
        return {"type": "http.disconnect"}

    async def send(_message):
        pass

    scope = {"type": "http", "extensions": {"faultset.pacing": {}}}
    asyncio.run(asyncio.wait_for(Inner(application)(scope, receive, send), 10))
