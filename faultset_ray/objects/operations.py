"""Operations on objects as metrics: what came of each, how long it took, and the bytes that it moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.errors import (
    ClusterError,
    CodingError,
    InputError,
    ObjectNotFound,
    PreconditionFailed,
    WriteInProgress,
)
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count, listened, observe

P = ParamSpec("P")
R = TypeVar("R")
Bytes = NDArray[np.uint8]
Verb = Literal["put", "get", "read", "delete", "undelete"]

_OUTCOMES: Final[tuple[tuple[str, tuple[type[BaseException], ...]], ...]] = (
    ("not_found", (ObjectNotFound,)),
    ("refused", (InputError, PreconditionFailed, WriteInProgress)),
    ("lost", (CodingError,)),
    ("unavailable", (ClusterError,)),
    ("cancelled", (asyncio.CancelledError, GeneratorExit)),
)


class _OfBackend(Protocol):
    """Whose operations are told: it has a backend."""

    @property
    def _backend(self) -> Net: ...


@runtime_checkable
class Stored(Protocol):
    """What says how large an object is that was stored."""

    size: int


H = TypeVar("H", bound=_OfBackend)


def outcome_of(error: BaseException) -> str:
    """Under which outcome an operation counts that ended so."""
    return next((name for name, kinds in _OUTCOMES if isinstance(error, kinds)), "error")


@asynccontextmanager
async def _told(backend: Net, verb: Verb) -> AsyncIterator[None]:
    begun_s, outcome = backend.uptime_s(), "ok"
    try:
        yield
    except BaseException as error:
        outcome = outcome_of(error)
        raise
    finally:
        count(table.OPERATIONS, 1, verb, outcome)
        observe(table.OPERATION_SECONDS, backend.uptime_s() - begun_s, verb)


def counted(
    verb: Verb,
) -> Callable[[Callable[Concatenate[H, P], Awaitable[R]]], Callable[Concatenate[H, P], Coroutine[Any, Any, R]]]:
    """Have a method count as an operation on objects, with the bytes that its result is of."""

    def wrap(method: Callable[Concatenate[H, P], Awaitable[R]]) -> Callable[Concatenate[H, P], Coroutine[Any, Any, R]]:
        @wraps(method)
        async def call(self: H, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if not listened():
                return await method(self, *args, **kwargs)
            async with _told(self._backend, verb):
                result = await method(self, *args, **kwargs)
            if isinstance(result, bytes):
                count(table.OPERATION_BYTES, len(result), verb)
            elif verb == "put" and isinstance(result, Stored):
                count(table.OPERATION_BYTES, result.size, verb)
            return result

        return call

    return wrap


def counted_stream(
    verb: Verb,
) -> Callable[
    [Callable[Concatenate[H, P], AsyncGenerator[Bytes, None]]], Callable[Concatenate[H, P], AsyncGenerator[Bytes, None]]
]:
    """Have a method count that gives an object's bytes out; its time is also that of who takes them."""

    def wrap(
        method: Callable[Concatenate[H, P], AsyncGenerator[Bytes, None]],
    ) -> Callable[Concatenate[H, P], AsyncGenerator[Bytes, None]]:
        @wraps(method)
        async def call(self: H, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Bytes, None]:
            async with _told(self._backend, verb), aclosing(method(self, *args, **kwargs)) as pieces:
                async for piece in pieces:
                    count(table.OPERATION_BYTES, piece.size, verb)
                    yield piece

        return call

    return wrap
