"""What routes share: the driver, bodies and problems as the description of the API shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.http.problems import MEDIA_TYPE
from faultset_ray.http.shapes import Problem
from faultset_ray.plain import plain

BODY: Final[Mapping[str, Any]] = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
"""Any bytes."""
EVERYWHERE: Final = (400, 401, 403, 413, 422, 429, 503)
"""What every route may answer, as it says in the description: health and readiness want no token."""


def driver_of(request: Request) -> AsyncDriver:
    """The driver that the application was started with."""
    return cast("AsyncDriver", request.app.state.driver)


Driver = Annotated[AsyncDriver, Depends(driver_of)]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of a route, beside those of every route, as FastAPI's ``responses`` take them."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, *EVERYWHERE})
    }


async def as_json(make: Callable[..., Any], *args: Any) -> Response:
    """What a function makes, as JSON; made on a thread, since it may be of a million nodes."""
    return Response(await run_in_threadpool(lambda: json.dumps(plain(make(*args)))), media_type="application/json")
