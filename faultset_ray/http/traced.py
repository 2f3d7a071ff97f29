"""Requests as spans: below those of their clients, where a request says so, and above the driver's verbs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect

from faultset_ray.http.guard import scope_of
from faultset_ray.http.metering import route_of
from faultset_ray.http.pacing import App, Message, Receive, Scope, Send
from faultset_ray.telemetry import tracing
from faultset_ray.telemetry.metric_table import METHODS, ROUTE

_KNOWN: Final = {*METHODS, "CONNECT", "OPTIONS", "PATCH", "TRACE"}
_OTHER: Final = "_OTHER"
"""What OpenTelemetry calls any other method; in names it is ``HTTP``."""


class Traced:
    """ASGI middleware within the guard: who may not come in, or asks for no more than health, makes no spans."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope_of(scope["method"], scope["path"]) is None:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _KNOWN else _OTHER
        found = route_of(scope["path"])
        route = found if found in ROUTE.values else None
        name = " ".join(filter(None, ("HTTP" if method == _OTHER else method, route)))
        attributes = {"http.request.method": method, "http.route": route, "url.scheme": scope.get("scheme")}
        with tracing.asked(_carrier(scope), name, attributes) as span:
            span.name("url.path", scope["path"])

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.note({"http.response.status_code": status})
                    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        span.fail(str(status))
                await send(message)

            try:
                await self._app(scope, receive, told)
            except ClientDisconnect as gone:
                span.note({"faultset.cancelled": True})
                left = gone
            else:
                return
        raise left


def _carrier(scope: Scope) -> tracing.Carrier:
    """What the request says of the trace that it belongs to; a header that stands twice says nothing."""
    found: dict[str, list[str]] = {"traceparent": [], "tracestate": []}
    for name, value in scope["headers"]:
        found.get(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    if len(found["traceparent"]) != 1:
        return {}
    return {"traceparent": found["traceparent"][0], "tracestate": ",".join(found["tracestate"])}
