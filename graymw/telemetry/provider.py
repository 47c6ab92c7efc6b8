"""A tracer provider of OpenTelemetry's SDK that exports; samplers and limits are the SDK's own, by its variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from graymw.telemetry.exporters import Export
from graymw.telemetry.reporting import ReportingExporter


def exporting_provider(exports: Sequence[Export], resource: Mapping[str, str]) -> TracerProvider:
    """A provider that sends every sampled span by each exporter. The caller flushes it at exit.

    Args:
        resource: Attributes besides those of ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``.
    """
    provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
    for export in exports:
        exporter = ReportingExporter(export)
        provider.add_span_processor(SimpleSpanProcessor(exporter) if export.at_once else BatchSpanProcessor(exporter))
    return provider
