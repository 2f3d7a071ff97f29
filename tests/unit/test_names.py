"""Names of hosts that are slow to look up: who waits for them, and who does not."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from faultset_ray.backend.names import Names
from faultset_ray.backend.wire import Target, reach

LONG = 20.0
"""A time that a test must not wait for."""


class Servers:
    """Name servers that know some names at once, and others only when they are let go."""

    def __init__(self):
        self.let_go = threading.Event()
        self.asked = []

    def getaddrinfo(self, host, port, *args, **kwargs):
        self.asked.append(host)
        if host.startswith("slow"):
            assert self.let_go.wait(LONG)
        if host.endswith("nowhere"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if host.endswith("odd"):
            raise UnicodeError("label too long")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port or 0))]


@pytest.fixture
def servers(monkeypatch):
    servers = Servers()
    monkeypatch.setattr(socket, "getaddrinfo", servers.getaddrinfo)
    yield servers
    servers.let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("lookup-"):
            thread.join(LONG)


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def within(seconds, waiting):
    async with asyncio.timeout(seconds):
        return await waiting


def test_a_slow_name_fails_alone_and_is_there_when_it_is_known(servers, port):
    targets = {
        name: Target.parse(f"tcp://{host}:{port}")
        for name, host in (("address", "127.0.0.1"), ("name", "quick"), ("slow", "slow.reach"), ("no", "nowhere"))
    }
    for _ in range(3):
        assert reach(targets, 0.2, 1).keys() == {"address", "name"}, "one after the other, and the slow one among them"
    assert servers.asked.count("slow.reach") == 1, "one thread for one name, however often it is measured"
    assert "127.0.0.1" not in servers.asked
    servers.let_go.set()
    assert reach(targets, LONG, 4).keys() == {"address", "name", "slow"}


def test_slow_names_leave_room_for_others(servers):
    names = Names(lookups_max=4)

    async def look_up():
        for at in range(4):
            with pytest.raises(TimeoutError):
                await within(0.05, names.addresses(f"slow{at}"))
        with pytest.raises(OSError, match=r"other is not looked up: 4 names of 4"):
            await names.addresses("other")
        servers.let_go.set()
        for at in range(4):
            assert await within(LONG, names.addresses(f"slow{at}")) == ["127.0.0.1"]
            assert await within(LONG, names.addresses("quick")) == ["127.0.0.1"]

    asyncio.run(look_up())


def test_names_that_were_slow_get_half_of_the_threads(servers):
    names = Names(lookups_max=4)

    async def late(host):
        with pytest.raises(TimeoutError):
            await within(0.05, names.addresses(host))

    async def look_up():
        for at in range(4):
            await late(f"slow{at}")
        servers.let_go.set()
        await asyncio.gather(*(asyncio.wrap_future(future) for future in names._under_way.values()))
        servers.let_go.clear()
        for at in range(2):
            await late(f"slow{at}")
        with pytest.raises(OSError, match=r"slow2 is not looked up: 2 names of 2"):
            await names.addresses("slow2")
        assert await within(LONG, names.addresses("quick")) == ["127.0.0.1"]
        servers.let_go.set()
        assert await within(LONG, names.addresses("slow0")) == ["127.0.0.1"]

    asyncio.run(look_up())


@pytest.mark.parametrize("host", ["nowhere", "so.odd"])
def test_what_nobody_knows_is_an_error_for_each_who_asks(servers, host):
    names = Names()

    async def look_up():
        for _ in range(2):
            with pytest.raises(OSError, match=r"no such name|no host name"):
                await names.addresses(host)

    asyncio.run(look_up())
    assert names._under_way == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
def test_a_numeric_address_is_not_looked_up(servers, host):
    assert asyncio.run(Names().addresses(host)) == [host]
    assert servers.asked == []


def test_where_no_thread_can_be_started_the_name_fails(servers, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    names = Names()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            asyncio.run(names.addresses("quick"))
    assert asyncio.run(names.addresses("quick")) == ["127.0.0.1"]
