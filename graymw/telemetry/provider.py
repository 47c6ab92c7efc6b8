"""A tracer provider of OpenTelemetry's SDK that exports; its sampler and limits are told by the SDK's own variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from graymw.telemetry.exporters import Export
from graymw.telemetry.flushing import flush_at_exit
from graymw.telemetry.reporting import ReportingExporter
from graymw.telemetry.sampler_environment import from_environment


def exporting_provider(
    exports: Sequence[Export], resource: Mapping[str, str], *, ratios_asked: bool = False
) -> TracerProvider:
    """A provider that sends every sampled span by each exporter, the last ones when the process ends.

    Args:
        resource: Attributes besides those of ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``.
        ratios_asked: Whether our settings ask for ratios of gray or stable traces.
    """
    sampler = from_environment(asked=ratios_asked)
    provider = TracerProvider(sampler=sampler, resource=Resource.create(resource), shutdown_on_exit=False)
    exporters = [ReportingExporter(export) for export in exports]
    for export, exporter in zip(exports, exporters, strict=True):
        provider.add_span_processor(SimpleSpanProcessor(exporter) if export.at_once else BatchSpanProcessor(exporter))
    flush_at_exit(provider, is_failing=lambda: any(exporter.is_failing for exporter in exporters))
    return provider
