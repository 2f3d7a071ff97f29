"""A provider of OpenTelemetry's SDK, from its own variables.

It is there with ``tracing.setup = "faultset_ray.telemetry.exporting:setup"``. It needs ``opentelemetry-sdk`` and the
exporters that are named, on every machine that is to tell.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from faultset_ray.errors import InputError

_EXPORTERS = "opentelemetry_traces_exporter"


def setup() -> None:
    """Set a provider that exports in batches, unless this process has one.

    ``OTEL_TRACES_EXPORTER`` names exporters (``otlp``, the default, ``console``, ``none``, or any other by its entry
    point; several with commas), ``OTEL_EXPORTER_OTLP_PROTOCOL`` says whether ``otlp`` is ``http/protobuf`` or
    ``grpc``. Resource, sampler and batches go by the SDK's other variables. Without ``OTEL_SERVICE_NAME`` the service
    is called ``faultset``.

    Raises
    ------
    InputError
        There is no such exporter here.
    """
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    attributes: dict[str, Any] = {"process.pid": os.getpid(), "host.name": platform.node()}
    resource = Resource.create(attributes)
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        resource = resource.merge(Resource({"service.name": "faultset"}))
    provider = TracerProvider(resource=resource)
    for exporter in _exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter.load()()))
    trace.set_tracer_provider(provider)


def _exporters() -> list[EntryPoint]:
    names = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    return [_exporter(name) for name in names if name not in {"", "none"}]


def _exporter(name: str) -> EntryPoint:
    if name == "otlp":
        name = "otlp_proto_grpc" if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" else "otlp_proto_http"
    there = entry_points(group=_EXPORTERS)
    if name not in there.names:
        raise InputError(
            f"OTEL_TRACES_EXPORTER asks for the exporter {name!r}, which is not installed; here are "
            f"{', '.join(sorted(there.names)) or 'none'}"
        )
    return there[name]
