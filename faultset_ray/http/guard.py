"""What stands before every route: who may come in, and how much at once. Nothing of a body is read before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from faultset_ray.config import Http
from faultset_ray.config.http import is_loopback
from faultset_ray.errors import InputError
from faultset_ray.http.pacing import App, Message, Receive, Scope, Send, is_paced
from faultset_ray.http.problems import (
    AnswerTooLarge,
    BodyStalled,
    BodyTooLarge,
    Busy,
    Forbidden,
    HostRefused,
    InvalidHeader,
    NoToken,
    Refused,
    TokensUnreadable,
    TookTooLong,
    answer_refused,
)
from faultset_ray.http.tokens import TokenFile
from faultset_ray.limits import MIB
from faultset_ray.telemetry import events

SMALL_BYTES: Final = MIB
"""What has more is a transfer."""
_REFUSALS_MS: Final = 3_600_000
"""After so long refusals are counted from one again: an attack weeks after the last one is told of, too."""

ROUTES: Final[tuple[tuple[str, str, str | None], ...]] = (
    ("GET", r"/v1/(health|ready)", None),
    ("GET", r"/v1/openapi\.json", "read"),
    ("POST", r"/v1/(failover|faultset)", "read"),
    ("GET", r"/v1/(survivors|watch)", "read"),
    ("GET", r"/v1/why/.*", "read"),
    ("GET", r"/v1/objects", "read"),
    ("GET|HEAD", r"/v1/objects/.*", "read"),
    ("PUT|DELETE", r"/v1/objects/.*", "write"),
    ("POST", r"/v1/fleet(/observe)?", "write"),
    ("GET", r"/v1/status", "admin"),
)
"""Methods, path and scope of every route, None for what everybody may ask. What is not listed needs ``admin``."""
_RULES: Final = [(set(methods.split("|")), re.compile(path, re.DOTALL), scope) for methods, path, scope in ROUTES]


def scope_of(method: str, path: str) -> str | None:
    """The scope that a request needs."""
    for methods, pattern, scope in _RULES:
        if method in methods and pattern.fullmatch(path):
            return scope
    return "admin"


@dataclass(slots=True)
class Slots:
    """How many requests of each kind are under way."""

    requests: int = 0
    transfers: int = 0
    watches: int = 0

    def take(self, kind: str, most: int) -> None:
        """Be one more of a kind.

        Raises
        ------
        Busy
            There are as many as may be.
        """
        count = getattr(self, kind)
        if count >= most:
            raise Busy(f"{most} {kind} are under way, which is the limit; try again", kind=kind, limit=most)
        setattr(self, kind, count + 1)

    def leave(self, kind: str) -> None:
        """Be one less."""
        setattr(self, kind, getattr(self, kind) - 1)


class Guard:
    """ASGI middleware around the application.

    Parameters
    ----------
    app
    config
    tokens
        None: no tokens are asked for, and only clients of this machine are answered.
    now_ms
        The time, for what expires.
    paced
        Whether the server in front reads only what is asked of it; None: where it says so, see
        :mod:`faultset_ray.http.pacing`.
    """

    def __init__(
        self, app: App, config: Http, tokens: TokenFile | None, now_ms: Callable[[], int], *, paced: bool | None
    ) -> None:
        self._app = app
        self._config = config
        self._tokens = tokens
        self._now_ms = now_ms
        self._paced = paced
        self._slots = Slots()
        self._refusals = 0
        self._refusals_since_ms = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a websocket that is not accepted is refused by the server
        paced = is_paced(scope) if self._paced is None else self._paced
        exchange = Exchange(scope, receive, send, self._config, self._slots, paced=paced)
        try:
            needed = scope_of(scope["method"], scope["path"])
            if needed is None:
                exchange.small()  # whoever may ask it could take all the room, and it is asked when there is none
            else:
                self._admit(scope, needed)
                exchange.take("requests", self._config.requests_max)
            exchange.check_length()
            await self._answer(scope, exchange)
        except Refused as refused:
            if exchange.begun:
                raise
            answer = answer_refused(refused)
            if not exchange.ended:
                answer.headers["Connection"] = "close"  # the rest of the body is not read
            await answer(scope, receive, exchange.send)
        finally:
            exchange.close()

    async def _answer(self, scope: Scope, exchange: Exchange) -> None:
        scope.setdefault("state", {})["exchange"] = exchange
        async with asyncio.timeout(self._config.request_s) as limit:
            exchange.bound(limit)
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except asyncio.CancelledError:
                if not limit.expired() or exchange.begun:
                    raise
                late = TookTooLong(f"no answer within {self._config.request_s:g} s; it may still take effect")
                await answer_refused(late)(scope, exchange.receive, exchange.send)

    def _admit(self, scope: Scope, needed: str) -> None:
        """Refuse who may not come in; told of at the first, second, fourth of an hour: nobody is to fill the log."""
        try:
            self._check(scope, needed)
        except Refused as refused:
            now_ms = self._now_ms()
            if not 0 <= now_ms - self._refusals_since_ms < _REFUSALS_MS:  # also where the clock was set back
                self._refusals, self._refusals_since_ms = 0, now_ms
            self._refusals += 1
            if self._refusals & (self._refusals - 1) == 0:
                events.REQUEST_REFUSED.tell(
                    status=refused.status, error_code=refused.code, reason=str(refused.detail), count=self._refusals
                )
            raise

    def _check(self, scope: Scope, needed: str) -> None:
        """Refuse who may not come in."""
        host = _one(scope, b"host")
        if not self._is_ours(host):
            raise HostRefused("the request's Host is none of the names that this server is told to have")
        origin = _one(scope, b"origin")
        if origin is not None and not self._is_ours(origin.partition("://")[2]):
            raise Forbidden("the request comes from another site's page")
        if self._tokens is None:
            client = scope.get("client")
            if client is None or not is_loopback(client[0]):
                raise Forbidden("this server has no tokens, and answers its own machine alone")
            return
        kind, _, given = (_one(scope, b"authorization") or "").partition(" ")
        if kind.lower() != "bearer" or not given.strip():
            raise NoToken("a token is needed: Authorization: Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"})
        try:
            token = self._tokens.find(given.strip(), self._now_ms())
        except InputError:
            raise TokensUnreadable("the file of tokens can't be read") from None
        if token is None:
            wrong = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise NoToken("the token is unknown, expired or revoked", headers=wrong)
        if not token.allows(needed):
            weak = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'}
            raise Forbidden(f"this needs the scope {needed}", headers=weak, scope=needed)
        scope.setdefault("state", {})["token"] = token.id

    def _is_ours(self, host: str | None) -> bool:
        if host is None:
            return False
        name = re.sub(r":\d*$", "", host.strip().lower())
        return any(
            name == known.lower() or (known.startswith("*.") and name.endswith(known[1:].lower()))
            for known in self._config.hosts
        )


class Patience:
    """How long a client is waited for: ``idle_s``, less what it took longer than the least rate gives it.

    Only the time of waiting counts, not that in which the client waits for us.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self.rate = 0
        """Bytes a second; 0: any."""
        self.left_s = idle_s

    @property
    def is_whole(self) -> bool:
        """Whether the client owes nothing."""
        return self.left_s == self._idle_s

    def left_for(self, nbytes: int) -> float:
        """How long so many bytes may take from now on."""
        return self.left_s + (nbytes / self.rate if self.rate else 0.0)

    def waited(self, seconds: float, nbytes: int) -> None:
        """So long was waited for so many bytes."""
        if self.rate:
            self.left_s = min(self._idle_s, self.left_for(nbytes) - seconds)


class Exchange:
    """One request's body and answer, within their limits."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, config: Http, slots: Slots, *, paced: bool) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._config, self._slots = config, slots
        self._paced = paced
        self._most = config.object_bytes_max if scope["method"] == "PUT" else config.json_bytes_max
        if not paced:
            self._most = min(self._most, config.unpaced_bytes_max)
        self._taken = 0
        self._body, self._answer = Patience(config.idle_s), Patience(config.idle_s)
        self._kinds: list[str] = []
        self._limit: asyncio.Timeout | None = None
        self.begun = False
        """Whether the answer has begun."""
        self.ended = False
        """Whether the whole body was read."""

    def small(self) -> None:
        """Bring no body that would be a transfer."""
        self._most = min(self._most, SMALL_BYTES)

    def check_length(self) -> None:
        """Refuse a body that says that it is too large."""
        length = _one(self._scope, b"content-length")
        if length is None:
            self.ended = _one(self._scope, b"transfer-encoding") is None
            return
        if not re.fullmatch(r"\d{1,19}", length):
            raise InvalidHeader("Content-Length is no number of bytes")
        self.ended = int(length) == 0
        if int(length) > self._most:
            raise self._too_large(int(length))
        if int(length) > SMALL_BYTES:
            self.transfer()

    def check_answer(self, nbytes: int) -> None:
        """Refuse to answer so many bytes where the server in front would keep them all for a slow client."""
        if not self._paced and nbytes > self._config.unpaced_bytes_max:
            most = self._config.unpaced_bytes_max
            raise AnswerTooLarge(
                f"{nbytes:,} bytes; behind this server at most {most:,} are answered at once: ask for ranges",
                found=nbytes,
                limit=most,
            )

    def bound(self, limit: asyncio.Timeout) -> None:
        """Have a time by which the answer must be there, unless this is a transfer already."""
        self._limit = limit
        if "transfers" in self._kinds:
            self._endless()

    def take(self, kind: str, most: int) -> None:
        """Be one more request of a kind, until this one ends."""
        self._slots.take(kind, most)
        self._kinds.append(kind)

    def transfer(self) -> None:
        """Be a transfer from now on: of those there are few at once, and none has a time by which it must end."""
        if "transfers" not in self._kinds:
            self.take("transfers", self._config.transfers_max)
            self._body.rate = self._answer.rate = self._config.rate_min_bytes_per_s
        self._endless()

    def watch(self) -> None:
        """Be a watch from now on; it ends with its client."""
        self.take("watches", self._config.watches_max)
        self._endless()

    def close(self) -> None:
        """Leave room to others."""
        for kind in self._kinds:
            self._slots.leave(kind)

    def _endless(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(None)

    async def receive(self) -> Message:
        """The next of the body."""
        if self.ended:
            return await self._receive()  # what comes now is the client's leaving
        now_s = asyncio.get_running_loop().time
        begun_s = now_s()
        try:
            async with asyncio.timeout(self._body.left_s):
                message = await self._receive()
        except TimeoutError:
            raise self._stalled() from None
        self._body.waited(now_s() - begun_s, len(message.get("body", b"")))
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self.ended = not message.get("more_body", False)
            if self._taken > self._most:
                raise self._too_large(self._taken)
            if self._taken > SMALL_BYTES:
                self.transfer()
        return message

    async def send(self, message: Message) -> None:
        """The next of the answer."""
        if message["type"] == "http.response.start":
            self.begun = True
            message = {**message, "headers": [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]}
        now_s, nbytes = asyncio.get_running_loop().time, len(message.get("body", b""))
        begun_s = now_s()
        async with asyncio.timeout(self._answer.left_for(nbytes)):
            await self._send(message)
        self._answer.waited(now_s() - begun_s, nbytes)

    def _stalled(self) -> BodyStalled:
        idle, rate = self._config.idle_s, self._body.rate
        if self._body.is_whole:
            return BodyStalled(f"nothing of the body came for {idle:g} s", taken=self._taken)
        slow = f"less than {rate:,} bytes a second of the body came, over {idle:g} s and more of waiting"
        return BodyStalled(slow, taken=self._taken, rate_min_bytes_per_s=rate)

    def _too_large(self, found: int) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has {found:,} bytes or more; the limit is {self._most:,}", found=found, limit=self._most
        )


def _one(scope: Scope, name: bytes) -> str | None:
    """A header that may stand once."""
    found = [value for key, value in scope["headers"] if key.lower() == name]
    if len(found) > 1:
        raise InvalidHeader(f"{name.decode()} stands {len(found)} times")
    return found[0].decode("latin-1") if found else None
