"""Traces of OpenTelemetry: one tree of spans from a driver's verb over actors and tasks, whatever process they are in.

Spans go to the provider that a process has, and where it has none nothing is made and nothing imported. A verb
begins a span; calls and tasks have theirs only below one, so that what runs in the background fills no trace. Each
backend carries the context in its message, as W3C writes it, and opens it where the message arrives.

A name of an object, and the text of an error, which may hold one, are told only where ``tracing.names`` allows it.
Neither arguments nor results are told ever.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, ContextVar, Token
from functools import cache, wraps
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from faultset_ray._version import __version__
from faultset_ray.errors import FaultsetError, InputError
from faultset_ray.errors.base import shown
from faultset_ray.telemetry import events

if TYPE_CHECKING:
    from opentelemetry.context import Context as TraceContext
    from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, TracerProvider

R = TypeVar("R")
T = TypeVar("T")
Carrier = Mapping[str, str]
"""A context as W3C writes it: ``traceparent``, and ``tracestate`` if there is one."""

SETUP: Final = "FAULTSET_TRACING_SETUP"
NAMES: Final = "FAULTSET_TRACING_NAMES"
SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
_API: Final = "opentelemetry.trace"
_ELSEWHERE: Final = "OTEL_PYTHON_TRACER_PROVIDER"
"""OpenTelemetry's own variable for a provider that is found by its entry point."""
_FLUSH_MS: Final = 2000


_background: ContextVar[bool] = ContextVar("faultset_background", default=False)
"""Whether nobody asked for what is done now."""


class _Process:
    """What this process has decided about traces."""

    begun = False
    names = False
    done: frozenset[str] = frozenset()
    """Hooks that were called."""
    known: tuple[TracerProvider, Tracer] | None = None
    api: ModuleType | None = None
    """OpenTelemetry's, once anybody has imported it."""


# -- What a process goes by


def configure(setup: str | None = None, *, names: bool = False) -> None:
    """Make this process go by settings; what is left open stays as it is, or as its variables say.

    Parameters
    ----------
    setup
        ``MODULE:FUNCTION``, called without arguments once in the process: it sets OpenTelemetry's provider.
    names
        Whether names of objects, and texts of errors, may be told.

    Raises
    ------
    InputError
        There is no such function, or it failed.
    """
    _Process.names = _Process.names or names
    if setup is not None and setup not in _Process.done:
        _Process.done |= {setup}
        try:
            _hook(setup)()
        except Exception as error:
            _Process.done -= {setup}
            raise InputError(f"is {shown(setup)}, which failed: {type(error).__name__}: {error}") from error


def flush() -> None:
    """Have the provider send what it holds, for at most two seconds: this process is about to be ended."""
    provider = _provider()
    force = getattr(provider, "force_flush", None)
    if force is not None:
        force(_FLUSH_MS)


def _hook(setup: str) -> Callable[[], Any]:
    module, _, name = setup.partition(":")
    hook: Callable[[], Any] = getattr(importlib.import_module(module), name)
    return hook


def _begin() -> None:
    """Go by this process's variables, where no driver's config came first: that of a worker is in its environment.

    What is wrong with them is logged, and no more: it must keep no store from its shards.
    """
    _Process.begun = True
    try:
        configure(os.environ.get(SETUP) or None, names=os.environ.get(NAMES, "") in {"1", "true", "yes", "on"})
    except InputError as error:
        events.TRACES_MISSING.tell(what=SETUP, error=error)
    if os.environ.get(_ELSEWHERE):
        try:
            importlib.import_module(_API)
        except ImportError as error:
            events.TRACES_MISSING.tell(what=_ELSEWHERE, error=error)


def _provider() -> TracerProvider | None:
    if not _Process.begun:
        _begin()
    api = _Process.api
    if api is None:
        if _API not in sys.modules:  # who sets a provider has imported it
            return None
        api = _Process.api = importlib.import_module(_API)
    provider: TracerProvider = api.get_tracer_provider()
    return None if isinstance(provider, api.ProxyTracerProvider) else provider


def _tracer() -> Tracer | None:
    provider = _provider()
    if provider is None:
        return None
    if _Process.known is None or _Process.known[0] is not provider:
        _Process.known = provider, provider.get_tracer("faultset_ray", __version__, schema_url=SCHEMA)
    return _Process.known[1]


# -- Spans


class Spanned:
    """What ``with`` gives: a span; this class itself is none, behind the same face."""

    carrier: Carrier | None = None
    """For the message, so that the other side goes on below this span."""

    def __enter__(self) -> Self:
        """Make it the current span."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, with what came of it."""

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes, but those that are None."""

    def name(self, key: str, value: object) -> None:
        """Add a name, where names may be told."""

    def fail(self, kind: str) -> None:
        """Mark it as failed, where no exception says so."""


_NOTHING: Final = Spanned()


class _Live(Spanned):
    """A span that is the current one within ``with``, and ends with it."""

    def __init__(self, span: Span, *, carried: bool = False) -> None:
        self._span = span
        if carried:
            self.carrier = _carrier(span)

    def __enter__(self) -> Self:
        self._token = _attach(self._span)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _detach(self._token)
        self.end(error)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make it the current span for now, without an end."""
        token = _attach(self._span)
        try:
            yield
        finally:
            _detach(token)

    def note(self, attributes: Mapping[str, Any]) -> None:
        self._span.set_attributes({key: value for key, value in attributes.items() if value is not None})

    def name(self, key: str, value: object) -> None:
        if _Process.names and isinstance(value, str):
            self._span.set_attribute(key, value.encode(errors="backslashreplace").decode())

    def fail(self, kind: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, error: BaseException | None = None) -> None:
        """End the span, with what came of it."""
        if isinstance(error, Exception):
            _failed(self._span, error)
        elif error is not None:
            self._span.set_attribute("faultset.cancelled", True)
        self._span.end()


def span(name: str, attributes: Mapping[str, Any] | None = None) -> Spanned:
    """A span of a verb: below the current one, or the first of a trace; in the background only below another."""
    tracer = _below() if _background.get() else _tracer()
    return _NOTHING if tracer is None else _Live(_started(tracer, name, "INTERNAL", attributes))


def verb(name: str, system: str, named: str | None = None, **attributes: object) -> Spanned:
    """A :func:`span` of a driver's verb, about an object ``named`` so; attributes that are no text are left out."""
    told = {f"faultset.{key}": value for key, value in attributes.items() if isinstance(value, str)}
    begun = span(f"faultset.{name}", {"faultset.system": system, **told})
    begun.name("faultset.object.name", named)
    return begun


def inner(name: str, attributes: Mapping[str, Any] | None = None) -> Spanned:
    """A span of what this process does itself, only below another."""
    tracer = _below()
    return _NOTHING if tracer is None else _Live(_started(tracer, name, "INTERNAL", attributes))


def calling(system: str, to: str, method: Callable[..., Any]) -> Spanned:
    """A span around a call of the servant ``to``, if there is one above it."""
    tracer = _below()
    if tracer is None:
        return _NOTHING
    name, attributes = _called(system, method, to)
    return _Live(_started(tracer, name, "CLIENT", attributes), carried=True)


def running(system: str, task: Callable[..., Any]) -> Spanned:
    """A span around a task, from when it is wanted to when its result is there, if there is a span above it."""
    tracer = _below()
    if tracer is None:
        return _NOTHING
    name, attributes = _called(system, task)
    return _Live(_started(tracer, f"run {name}", "CLIENT", attributes), carried=True)


def asked(carrier: Carrier, name: str, attributes: Mapping[str, Any] | None = None) -> Spanned:
    """A span of what somebody outside asks this process for: below theirs, if there is one, or the first of a trace."""
    tracer = _tracer()
    return _NOTHING if tracer is None else _Live(_started(tracer, name, "SERVER", attributes, above=_above(carrier)))


def served(carrier: Carrier | None, system: str, function: Callable[..., R], to: str | None = None) -> Callable[..., R]:
    """What a message asks for, below the span of who sent it: the function itself where nobody traces.

    Parameters
    ----------
    carrier
        From the message.
    to
        The servant's name; None for a task.
    """
    if not carrier:
        return function
    tracer = _tracer()
    if tracer is None:
        return function
    name, attributes = _called(system, function, to)

    def serving() -> _Live:
        return _Live(_started(tracer, name, "SERVER", attributes, above=_above(carrier)))

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with serving():
                return await function(*args, **kwargs)

        return awaited  # type: ignore[return-value] # R is the coroutine

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> R:
        with serving():
            return function(*args, **kwargs)

    return called


def streamed(begin: Callable[[], Spanned], pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """A span of a whole iteration, current only while the next piece is made: not in who takes the pieces."""
    return pieces if _tracer() is None else _streamed(begin, pieces)


async def _streamed(begin: Callable[[], Spanned], pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    live = begin()
    if not isinstance(live, _Live):  # the provider went meanwhile
        async for piece in pieces:
            yield piece
        return
    error: BaseException | None = None
    try:
        while True:
            with live.current():
                piece = await anext(pieces)
            yield piece
    except StopAsyncIteration:
        return
    except BaseException as other:
        error = other
        raise
    finally:
        try:
            await pieces.aclose()
        finally:
            live.end(error)


# -- Whose work it is


def here() -> SpanContext | None:
    """The span that what is asked for now belongs to, for :func:`together`."""
    if _below() is None:
        return None
    from opentelemetry import trace

    return trace.get_current_span().get_span_context()


def together(spans: Iterable[SpanContext | None]) -> AbstractContextManager[object]:
    """Do at once what several asked for: spans within stand below the first one, with links to the others."""
    asked = list({each.span_id: each for each in spans if each is not None}.values())
    return _Together(asked) if asked else nullcontext()


class _Together:
    def __init__(self, asked: list[SpanContext]) -> None:
        self._asked = asked

    def __enter__(self) -> None:
        from opentelemetry import context, trace

        above = trace.set_span_in_context(trace.NonRecordingSpan(self._asked[0]))
        self._token = context.attach(context.set_value(_links_key(), self._asked[1:], above))

    def __exit__(self, *_: object) -> None:
        _detach(self._token)


def apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin what runs in the background, for no verb in particular: none of it belongs to whoever came first."""
    context = Context()
    context.run(_background.set, True)
    return asyncio.get_running_loop().create_task(work, context=context)


# -- Inside


def _below() -> Tracer | None:
    """The tracer, if there is a span above that is sampled."""
    tracer = _tracer()
    if tracer is None:
        return None
    from opentelemetry import trace

    above = trace.get_current_span().get_span_context()
    return tracer if above.is_valid and above.trace_flags.sampled else None


def _started(
    tracer: Tracer,
    name: str,
    kind: str,
    attributes: Mapping[str, Any] | None,
    above: TraceContext | None = None,
) -> Span:
    from opentelemetry import context
    from opentelemetry.trace import Link, SpanKind

    of_kind: SpanKind = SpanKind[kind]
    others: Any = context.get_value(_links_key(), above)
    links: list[Link] | None = [Link(each) for each in others] if others else None
    given = {key: value for key, value in (attributes or {}).items() if value is not None}
    return tracer.start_span(name, above, of_kind, given, links)


def _attach(current: Span) -> Token[TraceContext]:
    """Make a span the current one; links are those of spans right below who asked for them."""
    from opentelemetry import context, trace

    within = trace.set_span_in_context(current)
    if context.get_value(_links_key(), within):
        within = context.set_value(_links_key(), (), within)
    return context.attach(within)


def _detach(token: Token[TraceContext]) -> None:
    from opentelemetry import context

    context.detach(token)


@cache
def _links_key() -> str:
    from opentelemetry import context

    return context.create_key("faultset-links")


def _carrier(span: Span) -> Carrier:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span))
    return carrier


def _above(carrier: Carrier) -> TraceContext:
    """The context that a message carries; an empty one where it carries none that could be read."""
    from opentelemetry.context import Context as Empty
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(dict(carrier), Empty())


def _called(system: str, function: Callable[..., Any], to: str | None = None) -> tuple[str, Mapping[str, Any]]:
    """What both ends of a call, or of a task, say of it: ``service/method``, as the convention has it, and attributes.

    What a servant is called begins with what it is: ``store/…``, ``region/…``. A task has its name alone.
    """
    name: str = getattr(function, "__name__", "task")
    method = name if to is None else f"{to.partition('/')[0]}/{name}"
    return method, {"rpc.system.name": system, "rpc.method": method, "faultset.servant": to}


def _failed(span: Span, error: Exception) -> None:
    """Mark a span by an error: its stable code, and its text only where names may be told."""
    from opentelemetry.trace import Status, StatusCode

    if isinstance(error, FaultsetError):
        kind, full = error.code, f"faultset_ray.errors.{type(error).__name__}"
    else:
        kind = full = f"{type(error).__module__}.{type(error).__qualname__}"
    text = str(error) if _Process.names else None
    span.set_attribute("error.type", kind)
    event = {"exception.type": full}
    span.add_event("exception", event if text is None else event | {"exception.message": text})
    span.set_status(Status(StatusCode.ERROR, text or kind))
