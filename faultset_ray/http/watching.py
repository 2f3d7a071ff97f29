"""Changes of a fleet as server-sent events, each once, from where a client was when it went away."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from faultset_ray.control.versions import Versions
from faultset_ray.driver.watch import Change, RegionChange, Watch
from faultset_ray.errors import FaultsetError
from faultset_ray.http import shapes
from faultset_ray.http.asking import Driver, problems
from faultset_ray.http.guard import Exchange
from faultset_ray.http.problems import InvalidHeader, document_of
from faultset_ray.plain import plain

router = APIRouter(tags=["fleets"])

_BIRTH: Final = re.compile(r"[0-9a-f]{1,64}")
_POSITION: Final = re.compile(r"\d{1,18}:\d{1,18}:\d{1,18}")
_POSITIONS_MAX: Final = 4096
_FIRST_SECONDS: Final = 1.0
"""How long an answer waits for what is wrong with where it is to begin."""


@router.get(
    "/v1/watch",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `change`, `region`, `position` (where it begins) and `problem` (it ends).",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(404, 409),
    },
)
async def watch(
    request: Request,
    driver: Driver,
    fleet: Annotated[shapes.FleetName, Query(description="Name of the fleet.")] = "default",
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="The last event's id: go on behind it. Else from now on.")
    ] = None,
) -> StreamingResponse:
    """Follow the changes of a fleet: who, from what state, to what, and why. Each is told once."""
    since = None if not last_event_id else position_of(last_event_id)
    exchange: Exchange = request.state.exchange
    exchange.watch()
    changes = await driver.watch(since, fleet=fleet).start()
    begin = changes.versions  # before the first change, which may be there at once
    first = asyncio.ensure_future(anext(changes))
    await asyncio.wait([first], timeout=_FIRST_SECONDS if since else 0)
    if first.done() and (error := first.exception()) is not None:
        raise error
    events = _events(changes, begin, first, request.app.state.config.heartbeat_s)
    return StreamingResponse(events, headers={"Cache-Control": "no-store"}, media_type="text/event-stream")


async def _events(
    changes: Watch, begin: Versions, coming: asyncio.Future[Change | RegionChange], heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    try:
        yield _event("position", begin.to_dict(), begin)
        while True:
            await asyncio.wait([coming], timeout=heartbeat_s)
            if not coming.done():
                yield b":\n\n"
                continue
            change = coming.result()
            versions = changes.versions
            coming = asyncio.ensure_future(anext(changes))
            yield _event("change" if isinstance(change, Change) else "region", change.to_dict(), versions)
    except FaultsetError as error:
        yield _event("problem", document_of(error))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _event(kind: str, data: Mapping[Any, Any], versions: Versions | None = None) -> bytes:
    position = "" if versions is None else f"id: {position_text(versions)}\n"
    return f"{position}event: {kind}\ndata: {json.dumps(plain(data), allow_nan=False)}\n\n".encode()


def position_text(versions: Versions) -> str:
    """Where a watch is, as an event's id: the history's birth, and ``RANGE:EPOCH:VERSION`` of each range."""
    ranges = (f"{range_id}:{epoch}:{version}" for range_id, (epoch, version) in sorted(versions.items()))
    return ",".join([versions.birth, *ranges])


def position_of(text: str) -> Versions:
    """Where a watch was.

    Raises
    ------
    InvalidHeader
        It is no id of an event of ours.
    """
    birth, *parts = text.strip().split(",", _POSITIONS_MAX + 1)
    shaped = _BIRTH.fullmatch(birth) and 0 < len(parts) <= _POSITIONS_MAX and all(map(_POSITION.fullmatch, parts))
    if not shaped:
        raise InvalidHeader(
            "Last-Event-ID is not the id of an event of a watch of this version; leave it out to begin from now"
        )
    numbers = [tuple(map(int, part.split(":"))) for part in parts]
    return Versions({range_id: (epoch, version) for range_id, epoch, version in numbers}, birth)
