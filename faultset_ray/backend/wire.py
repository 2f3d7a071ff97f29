"""Round trips on a real network: a UDP echo for places, and how long TCP and HTTP servers take to answer.

Only packets that carry the key of an echo are answered, at their own size, so that it serves nobody as a
reflector; and only answers that carry it count. Times are of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from faultset_ray.backend.names import Names
from faultset_ray.errors import InputError

_ASK, _ANSWER = b"fs-ask:\0", b"fs-echo\0"
_NONCE_BYTES, _MAC_BYTES = 8, 16
_PACKET_BYTES: Final = len(_ASK) + _NONCE_BYTES + _MAC_BYTES
_PORTS = {"http": 80, "https": 443}
_NAMES: Final = Names()
"""Of this process: a name that is slow is so for all who ask."""


class EchoAddress(NamedTuple):
    """Where an echo listens, and the key of those who may use it."""

    host: str
    port: int
    key: bytes


def _packet(kind: bytes, nonce: bytes, key: bytes) -> bytes:
    return kind + nonce + hmac.digest(key, kind + nonce, "sha256")[:_MAC_BYTES]


def _nonce_of(packet: bytes, kind: bytes, key: bytes) -> bytes | None:
    """The nonce of a packet of this kind; None where it is none, or is not ours."""
    nonce = packet[len(kind) :][:_NONCE_BYTES]
    return nonce if hmac.compare_digest(packet, _packet(kind, nonce, key)) else None


class Echo:
    """Answers packets from a thread of its own, on a free port of ``host``."""

    def __init__(self, host: str) -> None:
        info = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(info[0], socket.SOCK_DGRAM)
        self._socket.bind(info[4])
        self.address = EchoAddress(host, self._socket.getsockname()[1], secrets.token_bytes(16))
        self._thread = threading.Thread(target=self._serve, name="faultset-echo", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._socket as listening:
            while True:
                try:
                    packet, sender = listening.recvfrom(_PACKET_BYTES + 1)
                    if not packet and sender[:2] == listening.getsockname()[:2]:
                        return  # our own close()
                    nonce = _nonce_of(packet, _ASK, self.address.key)
                    if nonce is not None:
                        listening.sendto(_packet(_ANSWER, nonce, self.address.key), sender)
                except OSError:
                    continue  # the sender is out of reach again

    def close(self) -> None:
        """End the thread and free the port."""
        with suppress(OSError):
            while self._thread.is_alive():
                self._socket.sendto(b"", self._socket.getsockname())
                self._thread.join(0.1)


@dataclass(slots=True)
class _Asked:
    """One peer under way."""

    target: str
    socket: socket.socket
    key: bytes
    sent: dict[bytes, float] = field(default_factory=dict)
    """When each packet was sent, by its nonce: an answer is to one packet, not to the first of several."""

    def ask(self) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        self.sent[nonce] = time.perf_counter()
        self.socket.send(_packet(_ASK, nonce, self.key))

    def answered(self) -> float | None:
        """The round trip in ms, if what came is an answer."""
        now = time.perf_counter()
        nonce = _nonce_of(self.socket.recv(_PACKET_BYTES + 1), _ANSWER, self.key)
        sent = None if nonce is None else self.sent.get(nonce)
        return None if sent is None else (now - sent) * 1000


def round_trips(peers: Mapping[str, EchoAddress], timeout_s: float, tries: int = 3) -> dict[str, float]:
    """Ask echoes, all at once, and time their answers.

    Parameters
    ----------
    peers
        Their addresses, by name.
    timeout_s : float
        When to give up. A packet is repeated where no answer came, ``tries`` in all.

    Returns
    -------
    dict
        Round trip in ms of those that answered. A peer whose host says that nobody listens is given up at once.
    """
    trips: dict[str, float] = {}
    asked: dict[int, _Asked] = {}
    poll = select.poll()
    try:
        for target, address in peers.items():
            with suppress(OSError):  # no way there
                peer = _connected(target, address)
                asked[peer.socket.fileno()] = peer
                poll.register(peer.socket, select.POLLIN)
        begun = time.perf_counter()
        for turn in range(1, tries + 1):
            for number, peer in list(asked.items()):
                try:
                    peer.ask()
                except OSError:
                    _end(asked, poll, number)
            until = begun + timeout_s * turn / tries
            while asked and (left_s := until - time.perf_counter()) > 0:
                for number, _ in poll.poll(left_s * 1000 + 1):
                    try:
                        trip = asked[number].answered()
                    except BlockingIOError:  # what came was damaged, and dropped
                        continue
                    except OSError:  # the answer was that nobody listens there
                        _end(asked, poll, number)
                        continue
                    if trip is not None:
                        trips[asked[number].target] = trip
                        _end(asked, poll, number)
    finally:
        for peer in asked.values():
            peer.socket.close()
    return trips


def _connected(target: str, address: EchoAddress) -> _Asked:
    """A socket that hears from its peer only, also that nobody listens there."""
    info = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    opened = socket.socket(info[0], socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.connect(info[4])
    except OSError:
        opened.close()
        raise
    return _Asked(target, opened, address.key)


def _end(asked: dict[int, _Asked], poll: select.poll, number: int) -> None:
    poll.unregister(number)
    asked.pop(number).socket.close()


class Target(NamedTuple):
    """A server to measure."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Read ``tcp://HOST:PORT``, ``http://HOST[:PORT][/PATH]`` or ``https://…``.

        Raises
        ------
        InputError
            It is something else.
        """
        if isinstance(url, str) and url.isascii() and url.isprintable() and " " not in url:
            with suppress(ValueError):
                parts = urlsplit(url)
                port = parts.port or _PORTS.get(parts.scheme)
                plain = parts.scheme in _PORTS or (parts.scheme == "tcp" and not parts.path and not parts.query)
                if plain and parts.hostname and port and not parts.username:
                    query = f"?{parts.query}" if parts.query else ""
                    return cls(parts.scheme, parts.hostname, port, f"{parts.path or '/'}{query}")
        raise InputError(
            f"target {url!r} is none of tcp://HOST:PORT, http://HOST[:PORT][/PATH], https://HOST[:PORT][/PATH]"
        )


def reach(targets: Mapping[str, Target], timeout_s: float, concurrent: int) -> dict[str, float]:
    """Time servers: of ``tcp``, until there is a connection; of ``http``, until the first byte of the answer.

    Parameters
    ----------
    timeout_s : float
        For each, its name's lookup included: one that takes longer holds up no other server, nor the return.
    concurrent : int
        How many are measured at once.

    Returns
    -------
    dict
        Milliseconds of those that answered; over HTTP with a status from 200 to 399.
    """
    return asyncio.run(_reach(targets, timeout_s, concurrent))


async def _reach(targets: Mapping[str, Target], timeout_s: float, concurrent: int) -> dict[str, float]:
    room = asyncio.Semaphore(concurrent)
    trips: dict[str, float] = {}
    secure = ssl.create_default_context() if any(target.scheme == "https" for target in targets.values()) else None

    async def one(name: str, target: Target) -> None:
        async with room:
            begun = time.perf_counter()
            with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                async with asyncio.timeout(timeout_s):
                    took = await _answer_s(target, begun, secure)
                trips[name] = took * 1000

    await asyncio.gather(*(one(name, target) for name, target in targets.items()))
    return trips


async def _answer_s(target: Target, begun: float, secure: ssl.SSLContext | None) -> float:
    context = secure if target.scheme == "https" else None
    reader, writer = await _connect(target, context)
    try:
        if target.scheme == "tcp":
            return time.perf_counter() - begun
        writer.write(
            f"GET {target.path} HTTP/1.1\r\nHost: {_netloc(target)}\r\nUser-Agent: faultset-ray\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        first = await reader.readexactly(1)
        took = time.perf_counter() - begun
        status = (first + await reader.readexactly(11))[9:]  # of "HTTP/1.1 200"
        if not 200 <= int(status) < 400:
            raise ValueError(f"status {status!r}")
        return took
    finally:
        writer.transport.abort()


async def _connect(target: Target, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Try the addresses of a server one after the other."""
    *others, last = await _NAMES.addresses(target.host)
    name = target.host if context else None
    for address in others:
        with suppress(OSError):
            return await asyncio.open_connection(address, target.port, ssl=context, server_hostname=name)
    return await asyncio.open_connection(last, target.port, ssl=context, server_hostname=name)


def _netloc(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == _PORTS[target.scheme] else f"{host}:{target.port}"
