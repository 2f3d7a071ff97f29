"""Errors as problem documents (RFC 9457): one table from every error of ours to a status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from faultset_ray import errors
from faultset_ray.errors import FaultsetError
from faultset_ray.errors.base import listed
from faultset_ray.plain import plain

MEDIA_TYPE: Final = "application/problem+json"
TYPE: Final = "urn:faultset:problem:"
"""What a problem's ``type`` begins with; its code follows."""

STATUSES: Final[Mapping[type[FaultsetError], int]] = {
    FaultsetError: 503,
    errors.InputError: 400,
    errors.EmptyNodesError: 422,
    errors.LengthMismatchError: 422,
    errors.MissingColumnError: 422,
    errors.NegativeThresholdError: 422,
    errors.InvalidNodeError: 422,
    errors.DuplicateIdError: 422,
    errors.InvalidGeohashError: 422,
    errors.InvalidConfig: 503,
    errors.InvalidPolicy: 422,
    errors.UnknownPolicyField: 422,
    errors.InvalidCodeSpec: 422,
    errors.UnsupportedOperation: 422,
    errors.LimitExceeded: 413,
    errors.InvalidObjectName: 400,
    errors.UnknownFleet: 404,
    errors.UnknownSystem: 404,
    errors.UnknownNode: 404,
    errors.NoSurvivorsError: 404,
    errors.ObjectNotFound: 404,
    errors.PreconditionFailed: 412,
    errors.CodingError: 503,
    errors.NotEnoughShards: 503,
    errors.ShardSizeError: 422,
    errors.InvalidShardIndex: 422,
    errors.CorruptShard: 503,
    errors.UnsupportedFormat: 503,
    errors.IncompleteShard: 503,
    errors.ShardNotFound: 503,
    errors.DigestMismatch: 503,
    errors.AmbiguousObjectError: 409,
    errors.ClusterError: 503,
    errors.AuthError: 503,  # the cluster refuses the API, not the API its client
    errors.ClusterUnreachable: 503,
    errors.PlaceUnreachable: 503,
    errors.StoresLost: 503,
    errors.CallTimeout: 503,
    errors.RegionTimeout: 503,
    errors.NotEnoughPlaces: 507,
    errors.StoreFailure: 507,
    errors.VersionSkew: 503,
    errors.StaleEpoch: 503,
    errors.HistoryLost: 409,
    errors.OtherHistory: 409,
    errors.CoordinatorUnavailable: 503,
    errors.StateInUse: 503,
    errors.UnsupportedState: 503,
    errors.StateFailure: 507,
    errors.WriteInProgress: 409,
    errors.StoreInUse: 409,
    errors.StoreNotEmptied: 409,
    errors.StoresWouldBeLost: 409,
    errors.WriteAborted: 409,
    errors.CatalogLost: 503,
    errors.CatalogMismatch: 503,
    errors.BackendClosed: 503,
    errors.JobLost: 503,
    errors.NotServed: 503,
    errors.RemoteFailure: 503,
}
"""The status of each class; one that is not listed here has its base's."""

_RETRY_SECONDS: Final = 1


class Refused(HTTPException):
    """Raised when the API itself refuses a request; its subclasses are all the reasons."""

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(self.status, message, dict(headers or {}))
        self.more = more
        """Numbers for the document."""


class HostRefused(Refused):
    """Raised when the request's ``Host`` is not one of the names that this server has."""

    status, code = 400, "host_not_allowed"


class InvalidHeader(Refused):
    """Raised when a header of the request can't be used."""

    status, code = 400, "invalid_header"


class NoToken(Refused):
    """Raised when the request carries no token, or one that is unknown, expired or revoked."""

    status, code = 401, "unauthorized"


class Forbidden(Refused):
    """Raised when the token lacks the scope that the route needs, or the request comes from another site's page."""

    status, code = 403, "forbidden"


class BodyStalled(Refused):
    """Raised when the client sent nothing of the body for too long."""

    status, code = 408, "body_stalled"


class BodyTooLarge(Refused):
    """Raised when the request's body is larger than may be; no more of it is read."""

    status, code = 413, "body_too_large"


class AnswerTooLarge(Refused):
    """Raised when more bytes are asked for at once than the server in front can pass on in bounded memory."""

    status, code = 413, "answer_too_large"


class RangeRefused(Refused):
    """Raised when the object has no byte of the range that was asked for."""

    status, code = 416, "range_not_satisfiable"


class Busy(Refused):
    """Raised when as many requests are under way as may be; nothing was begun."""

    status, code = 429, "too_many_requests"


class TookTooLong(Refused):
    """Raised when the answer was not there in time; what was asked for may still take effect."""

    status, code = 503, "request_timeout"


class TokensUnreadable(Refused):
    """Raised when the file of tokens can't be read: nobody is let in."""

    status, code = 503, "tokens_unreadable"


REFUSALS: Final[tuple[type[Refused], ...]] = tuple(Refused.__subclasses__())


def status_of(error: FaultsetError) -> int:
    """The status for an error of ours."""
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


def problem(
    status: int,
    code: str,
    message: str,
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as an answer; ``more`` are the error's numbers."""
    document = {
        **plain(more or {}),
        "type": TYPE + code,
        "title": _title(code),
        "status": status,
        "code": code,
        "detail": message,
    }
    return Response(
        json.dumps(document, allow_nan=False), status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def document_of(error: FaultsetError) -> dict[str, Any]:
    """An error of ours as a document, where no answer can be made of it any more."""
    document: dict[str, Any] = json.loads(bytes(answer_error(error).body))
    return document


def answer_error(error: FaultsetError) -> Response:
    """An error of ours as an answer."""
    status = status_of(error)
    again = status == HTTPStatus.SERVICE_UNAVAILABLE or isinstance(error, errors.WriteInProgress)
    headers = {"Retry-After": str(_RETRY_SECONDS)} if again else {}
    return problem(status, error.code, str(error), error.fields(), headers)


def answer_unready(error: FaultsetError) -> Response:
    """An error of ours for those of whom no token is asked: its code, and neither names, addresses nor numbers."""
    told = answer_error(error)
    again = {name: value for name, value in told.headers.items() if name == "retry-after"}
    return problem(
        told.status_code, error.code, "not ready; who has a token is told more by any other route", headers=again
    )


def answer_refused(error: Refused) -> Response:
    """A refusal as an answer."""
    headers = dict(error.headers or {})
    if error.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers.setdefault("Retry-After", str(_RETRY_SECONDS))
    return problem(error.status, error.code, str(error.detail), error.more, headers)


async def on_error(_request: Request, error: Exception) -> Response:
    """For the application's table of handlers: errors of ours."""
    assert isinstance(error, FaultsetError)
    return answer_error(error)


async def on_refusal(_request: Request, error: Exception) -> Response:
    """For the application's table of handlers: refusals, and what the framework refuses (no route, no such method)."""
    if isinstance(error, Refused):
        return answer_refused(error)
    assert isinstance(error, StarletteHTTPException)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return problem(error.status_code, code, str(error.detail), headers=error.headers)


async def on_invalid(_request: Request, error: Exception) -> Response:
    """For the application's table of handlers: parameters and bodies that are not as the schema says."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    places = [".".join(map(str, each["loc"])) for each in found]
    message = listed(f"{place}: {each['msg']}" for place, each in zip(places, found, strict=True))
    more = {"errors": [{"at": place, "message": each["msg"]} for place, each in zip(places, found, strict=True)]}
    if any(each["type"] == "json_invalid" for each in found):
        return problem(400, "invalid_json", message, more)
    return problem(422, "invalid_request", message, more)


async def on_fault(_request: Request, _error: Exception) -> Response:
    """For the application's table of handlers: a fault of ours. What it was is in the log, and nowhere else."""
    return problem(500, "internal_error", "the server failed; its log says how")


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize()
