"""Bounded memory through a server that reads ahead without bound, such as the proxy of Ray Serve.

That proxy takes in a body as fast as its client sends, and keeps what the application has not asked for; and the
application's answers are kept there until a slow client took them. The two halves here stand at both ends of it and
give each other credit, in ASGI messages of their own: :class:`Outer` around what the proxy serves, and :class:`Inner`
around the application. At most :data:`AHEAD_BYTES` of a request are under way in each direction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from faultset_ray.limits import MIB

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

EXTENSION: Final = "faultset.pacing"
"""Of an ASGI scope; no client can set it."""
PREFIX: Final = "/v1/"
"""What the paths of our routes begin with."""
AHEAD_BYTES: Final = 8 * MIB
STEP_BYTES: Final = MIB
"""The other half is told after so many bytes."""
_TAKEN: Final = "faultset.taken"
_SENT: Final = "faultset.sent"
_BODY: Final = "http.request"
_ANSWER: Final = "http.response.body"
_GONE: Final = "http.disconnect"


def is_paced(scope: Scope) -> bool:
    """Whether the other half stands at the other end."""
    return EXTENSION in (scope.get("extensions") or {})


class Outer:
    """The half beside the client: holds its body back, and tells what it has read of the answer.

    Only of what goes to our routes: other applications behind the same server give no credit, and would wait for ever.
    """

    def __init__(self, app: App, prefix: str = PREFIX) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        paced = {**scope, "extensions": {**(scope.get("extensions") or {}), EXTENSION: {}}}
        exchange = _Outside(receive, send)
        try:
            await self._app(paced, exchange.receive, exchange.send)
        finally:
            await exchange.close()


class _Outside:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._reading: asyncio.Future[Message] | None = None
        self._woken = asyncio.Event()
        self._ahead = 0
        """Bytes of the body that the application has not taken."""
        self._untold = 0
        """Bytes of the answer that the client has, and the application doesn't know of."""

    async def receive(self) -> Message:
        while True:
            self._woken.clear()
            if self._untold >= STEP_BYTES:
                told, self._untold = self._untold, 0
                return {"type": _SENT, "bytes": told}
            if self._reading is None and self._ahead < AHEAD_BYTES:
                self._reading = asyncio.ensure_future(self._receive())
            waking = asyncio.ensure_future(self._woken.wait())
            try:
                await asyncio.wait([each for each in (self._reading, waking) if each], return_when="FIRST_COMPLETED")
            finally:
                waking.cancel()
            if self._reading is not None and self._reading.done():
                message, self._reading = self._reading.result(), None
                if message["type"] == _BODY:
                    self._ahead += len(message.get("body", b""))
                return message

    async def send(self, message: Message) -> None:
        if message["type"] == _TAKEN:
            self._ahead -= message["bytes"]
        else:
            await self._send(message)
            if message["type"] == _ANSWER:
                self._untold += len(message.get("body", b""))
        self._woken.set()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._reading


class Inner:
    """The half around the application: tells what it took of the body, and holds its answer back."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; without the other half it is passed on as it is."""
        if scope["type"] != "http" or not is_paced(scope):
            await self._app(scope, receive, send)
            return
        exchange = _Inside(receive, send)
        pumping = asyncio.ensure_future(exchange.pump())
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            pumping.cancel()
            with suppress(asyncio.CancelledError):
                await pumping


class _Inside:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._messages: asyncio.Queue[Message | Exception] = asyncio.Queue()
        self._credit = asyncio.Condition()
        self._gone = False
        self._untold = 0
        self._unsent = 0

    async def pump(self) -> None:
        """Sort what comes: credit at once, all else for the application when it asks. Never more than was given."""
        while not self._gone:
            try:
                message = await self._receive()
            except Exception as error:  # noqa: BLE001 - the application's call raises it
                self._messages.put_nowait(error)
                message = {"type": _GONE}
            async with self._credit:
                if message["type"] == _SENT:
                    self._unsent -= message["bytes"]
                else:
                    self._gone = message["type"] == _GONE
                    self._messages.put_nowait(message)
                self._credit.notify_all()

    async def receive(self) -> Message:
        if self._gone and self._messages.empty():
            return {"type": _GONE}
        message = await self._messages.get()
        if isinstance(message, Exception):
            raise message
        if message["type"] == _BODY:
            self._untold += len(message.get("body", b""))
            if self._untold >= STEP_BYTES:
                told, self._untold = self._untold, 0
                await self._send({"type": _TAKEN, "bytes": told})
        return message

    async def send(self, message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] != _ANSWER or len(body) <= STEP_BYTES:
            await self._pass(message)
            return
        for at in range(0, len(body), STEP_BYTES):
            more = at + STEP_BYTES < len(body) or message.get("more_body", False)
            await self._pass({**message, "body": body[at : at + STEP_BYTES], "more_body": more})

    async def _pass(self, message: Message) -> None:
        if message["type"] == _ANSWER:
            async with self._credit:
                await self._credit.wait_for(lambda: self._unsent < AHEAD_BYTES or self._gone)
            if self._gone:
                raise OSError("the client is gone")  # what a server's own send raises
            self._unsent += len(message.get("body", b""))
        await self._send(message)
