"""Objects over HTTP: put and fetched as streams, with conditions and ranges."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from faultset_ray.config import Http
from faultset_ray.driver.described import told_receipt
from faultset_ray.driver.object_values import Deletion, ObjectInfo
from faultset_ray.driver.room import Durability
from faultset_ray.errors import ObjectNotFound, PreconditionFailed
from faultset_ray.http.asking import BODY, Driver, problems
from faultset_ray.http.guard import SMALL_BYTES, Exchange
from faultset_ray.http.headers import ANY, etag, generations, http_date, matches, name_of, span_of, tags
from faultset_ray.http.problems import InvalidHeader
from faultset_ray.http.shapes import DeletionShape, ObjectList, ReceiptShape
from faultset_ray.limits import LIST_PAGE, MIB
from faultset_ray.objects.opened import AsyncObjectFile

router = APIRouter(tags=["objects"])
_PREFIX: Final = "/v1/objects/"
_PATH: Final = "/v1/objects/{name:rest}"
_GATHERED_BYTES: Final = MIB
"""What is handed on at once of what arrives in pieces of some KiB."""
_NAME: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 1024},
}

IfMatch = Annotated[str | None, Header(alias="If-Match", description='Tags such as "7", or *: only in place of these.')]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="Tags: only if it is none of these; *: only if there is none."),
]


class _Upload:
    """A request's body as something to read, in pieces that are worth a thread's while."""

    def __init__(self, request: Request) -> None:
        self._chunks = request.stream()
        self._rest = b""

    async def read(self, nbytes: int) -> bytes:
        """The next bytes; none only at the end."""
        wanted = min(nbytes, _GATHERED_BYTES)
        parts, found = [self._rest], len(self._rest)
        while found < wanted:
            chunk = await anext(self._chunks, b"")
            if not chunk:  # the last one is always empty
                break
            parts.append(chunk)
            found += len(chunk)
        whole = b"".join(parts)
        self._rest = whole[wanted:]
        return whole[:wanted]


@router.put(
    _PATH,
    response_model=ReceiptShape,
    responses={
        201: {"model": ReceiptShape, "description": "There was none of this name."},
        **problems(400, 404, 409, 412, 413, 422, 507),
    },
    openapi_extra={"parameters": [_NAME], "requestBody": BODY},
)
async def put_object(
    request: Request,
    response: Response,
    driver: Driver,
    code: Annotated[str | None, Query(description="Such as rs:10+4; what the server is set to by default.")] = None,
    tolerate: Annotated[int | None, Query(ge=0, description="Losses of stores that it must bear.")] = None,
    durability: Annotated[
        Durability | None, Query(description="fsync: only on stores that outlive their processes.")
    ] = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Store the request's body under a name, in place of the object that has it; whole or not at all."""
    if "content-range" in request.headers:
        raise InvalidHeader("an object is put as a whole: Content-Range is for answers")
    config: Http = request.app.state.config
    name = name_of(request.scope["raw_path"], _PREFIX)
    if_generation = await _expected(driver, name, if_match, if_none_match)
    receipt = await driver.put(
        name,
        _Upload(request),
        code=code,
        tolerate=tolerate,
        durability=durability,
        if_absent=if_generation == 0,
        if_generation=if_generation or None,
        busy_s=config.busy_s,
    )
    response.headers["ETag"] = etag(receipt.generation)
    if if_generation == 0:
        response.status_code = 201
    return told_receipt(receipt)


@router.get(
    _PATH,
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        206: {
            "description": "Some of its bytes.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "It is one of those in If-None-Match."},
        **problems(400, 404, 412, 413, 416),
    },
    openapi_extra={"parameters": [_NAME]},
)
async def get_object(
    request: Request,
    driver: Driver,
    wanted: Annotated[str | None, Header(alias="Range", description="bytes=START-LAST; one range.")] = None,
    if_range: Annotated[str | None, Header(alias="If-Range")] = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """An object's bytes, or a range of them. Of a whole one the last come only if all are right."""
    file = await driver.open(name_of(request.scope["raw_path"], _PREFIX))
    if unchanged := _unchanged(file, if_match, if_none_match):
        return unchanged
    ranged = wanted if if_range is None or if_range.strip() == etag(file.generation) else None
    span = span_of(ranged, file.size)
    start, stop = span or (0, file.size)
    exchange: Exchange = request.state.exchange
    exchange.check_answer(stop - start)
    if stop - start > SMALL_BYTES:
        exchange.transfer()
    headers = _headers(file) | {"Content-Length": str(stop - start)}
    if span:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    if stop - start <= SMALL_BYTES:  # an error comes before the first byte
        return Response(await file.read_at(start, stop), 206 if span else 200, headers, "application/octet-stream")
    return StreamingResponse(_pieces(file, start, stop), 206 if span else 200, headers, "application/octet-stream")


@router.head(
    _PATH,
    response_class=Response,
    responses={
        304: {"description": "It is one of those in If-None-Match."},
        **{status: {"description": told["description"]} for status, told in problems(404, 412).items()},
    },
    openapi_extra={"parameters": [_NAME]},
)
async def head_object(
    request: Request, driver: Driver, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Response:
    """What GET would answer, without the bytes."""
    file = await driver.open(name_of(request.scope["raw_path"], _PREFIX))
    if unchanged := _unchanged(file, if_match, if_none_match):
        return unchanged
    headers = _headers(file) | {"Content-Length": str(file.size)}
    return Response(None, 200, headers, "application/octet-stream")


@router.delete(
    _PATH,
    response_model=DeletionShape,
    responses=problems(400, 404, 409, 412),
    openapi_extra={"parameters": [_NAME]},
)
async def delete_object(
    request: Request,
    driver: Driver,
    grace_s: Annotated[
        float | None,
        Query(
            ge=0,
            lt=1e10,
            allow_inf_nan=False,
            description="Seconds in which it can be brought back; by default `stores.delete_grace_s` of the server.",
        ),
    ] = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Deletion:
    """Delete an object: out of sight at once, gone for good when the period of grace is over."""
    name = name_of(request.scope["raw_path"], _PREFIX)
    expected = await _expected(driver, name, if_match, if_none_match)
    if expected == 0:
        raise ObjectNotFound(name)
    config: Http = request.app.state.config
    return await driver.delete(name, if_generation=expected, grace_s=grace_s, busy_s=config.busy_s)


@router.get("/v1/objects", response_model=ObjectList, responses=problems(400))
async def list_objects(
    driver: Driver,
    prefix: Annotated[str, Query(description="Only names that begin so.")] = "",
    after: Annotated[str, Query(description="Only names behind this one: `next` of a page.")] = "",
    limit: Annotated[int, Query(ge=1, le=LIST_PAGE)] = LIST_PAGE,
    deleted: Annotated[bool, Query(description="Those that can be brought back.")] = False,
) -> dict[str, Any]:
    """Objects in the order of their names' UTF-8 bytes, page by page."""
    found: list[ObjectInfo] = list(await driver.list(prefix, deleted=deleted, after=after, limit=limit))
    return {
        "prefix": prefix,
        "deleted": deleted,
        "objects": [asdict(info) for info in found],
        "next": found[-1].name if len(found) == limit else None,
    }


async def _expected(driver: Driver, name: str, if_match: str | None, if_none_match: str | None) -> int | None:
    """The generation that a change is to replace: 0 if there is to be none, None if any will do.

    Raises
    ------
    PreconditionFailed
        It is known already that the condition does not hold.
    """
    wanted = tags("If-Match", if_match), tags("If-None-Match", if_none_match)
    if wanted == (None, None):
        return None
    if wanted == (None, (ANY,)):
        return 0
    try:
        found = (await driver.open(name)).generation
    except ObjectNotFound:
        found = None
    if _is_unwanted(name, found, *wanted):
        raise PreconditionFailed(name, None, found)
    return found or 0


def _unchanged(file: AsyncObjectFile, if_match: str | None, if_none_match: str | None) -> Response | None:
    """What a condition of a read makes of it, if not the bytes."""
    wanted = tags("If-Match", if_match), tags("If-None-Match", if_none_match)
    return Response(None, 304, _headers(file)) if _is_unwanted(file.name, file.generation, *wanted) else None


def _is_unwanted(name: str, found: int | None, match: Sequence[str] | None, none_match: Sequence[str] | None) -> bool:
    """Whether the generation that is there, if one is, is one of ``If-None-Match``.

    Raises
    ------
    PreconditionFailed
        It is none of ``If-Match``; with a generation that was wanted, or 0, which is none's.
    """
    if match is not None and (found is None or not matches(match, found)):
        raise PreconditionFailed(name, next(iter(generations(match)), 0), found)
    return none_match is not None and found is not None and matches(none_match, found)


def _headers(file: AsyncObjectFile) -> dict[str, str]:
    return {
        "ETag": etag(file.generation),
        "Last-Modified": http_date(file.created_ms),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": "attachment",  # a page that was stored is not shown as one of ours
        "X-Faultset-SHA256": file.sha256,
    }


async def _pieces(file: AsyncObjectFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    async with aclosing(file.stream(start, stop)) as pieces:
        async for piece in pieces:
            for at in range(0, piece.size, _GATHERED_BYTES):
                yield piece[at : at + _GATHERED_BYTES].tobytes()
