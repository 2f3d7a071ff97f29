"""Spans as tests look at them: a provider for a while, and who stands below whom."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from faultset_ray.telemetry import tracing

DIRECTORY = "TEST_SPANS_DIR"


@contextmanager
def no_provider():
    """This process as if nobody had set a provider or a hook yet; what was before comes back."""
    before = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    ours = {name: getattr(tracing._Process, name) for name in ("begun", "names", "done", "known")}
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    tracing._Process.begun, tracing._Process.names = False, False
    tracing._Process.done, tracing._Process.known = frozenset(), None
    try:
        yield
    finally:
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = before
        for name, value in ours.items():
            setattr(tracing._Process, name, value)


@contextmanager
def collected(**options):
    """Spans of this process, as :class:`Spans`."""
    with no_provider():
        exporter = InMemorySpanExporter()
        provider = TracerProvider(**options)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        yield Spans(exporter)
        provider.shutdown()


class Spans:
    """What was told since it was last looked at."""

    def __init__(self, exporter):
        self._exporter = exporter

    def take(self):
        found = self._exporter.get_finished_spans()
        self._exporter.clear()
        return Tree([json.loads(span.to_json(indent=None)) for span in found])


class Tree:
    """Spans as OpenTelemetry writes them as JSON."""

    def __init__(self, spans):
        self.spans = spans
        self.by_id = {span["context"]["span_id"]: span for span in spans}

    @classmethod
    def of_files(cls, directory):
        """What :func:`to_files` wrote."""
        lines = [line for path in sorted(Path(directory).iterdir()) for line in path.read_text().splitlines()]
        return cls([json.loads(line) for line in lines])

    def roots(self):
        return [span for span in self.spans if span["parent_id"] is None]

    def named(self, name, kind=None):
        return [span for span in self.spans if span["name"] == name and kind in {None, kind_of(span)}]

    def path(self, span):
        """Names and kinds from the root to a span."""
        above = self.by_id.get(span["parent_id"])
        return [*(self.path(above) if above else []), (span["name"], kind_of(span))]

    def shape(self):
        """Every path there is, once."""
        return {tuple(self.path(span)) for span in self.spans}


def kind_of(span):
    return span["kind"].removeprefix("SpanKind.")


class _Lines(SpanExporter):
    def export(self, spans):
        with (Path(os.environ[DIRECTORY]) / f"{os.getpid()}.jsonl").open("a") as out:
            out.writelines(span.to_json(indent=None) + "\n" for span in spans)
        return SpanExportResult.SUCCESS


def to_files():
    """The hook of a worker: its spans become lines of a file of its own, each before its answer is sent."""
    from opentelemetry.sdk.resources import Resource

    provider = TracerProvider(resource=Resource({"process.pid": os.getpid()}))
    provider.add_span_processor(SimpleSpanProcessor(_Lines()))
    trace.set_tracer_provider(provider)
