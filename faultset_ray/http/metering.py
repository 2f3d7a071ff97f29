"""Requests as metrics, by route, method, status and time: around the guard, so that refusals count too."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from starlette.requests import ClientDisconnect

from faultset_ray.http.pacing import App, Message, Receive, Scope, Send
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import Bounds, count, listened, observe

_ROUTES: Final = tuple(
    (route, re.compile(re.sub(r"\\\{\w+\\\}", "(?s:.+)", re.escape(route)))) for route in table.ROUTE.values
)
_LEFT: Final = "499"
"""The status of a request whose client left before an answer began."""


def route_of(path: str) -> str:
    """The route that a path is of; ``other`` for none."""
    return next((route for route, pattern in _ROUTES if pattern.fullmatch(path)), Bounds.OTHER)


class Counted:
    """ASGI middleware that counts what goes through it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or not listened():
            await self._app(scope, receive, send)
            return
        now_s = asyncio.get_running_loop().time
        begun_s, status = now_s(), _LEFT

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except ClientDisconnect:
            status = _LEFT  # and not the 500 that nobody was there to get
            raise
        except Exception:
            status = "500"
            raise
        finally:
            route, method = route_of(scope["path"]), scope["method"]
            count(table.HTTP_REQUESTS, 1, route, method if method in table.METHODS else Bounds.OTHER, status)
            observe(table.HTTP_SECONDS, now_s() - begun_s, route)
