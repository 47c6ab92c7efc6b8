"""A meter provider of OpenTelemetry's SDK that exports; intervals and limits are the SDK's own, by its variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from graymw.telemetry.flushing import flush_at_exit
from graymw.telemetry.metric_exporters import Way


def exporting_meter_provider(ways: Sequence[Way], resource: Mapping[str, str]) -> MeterProvider:
    """A provider that hands metrics out each way, the last ones when the process ends.

    Args:
        resource: Attributes besides those of ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``.
    """
    provider = MeterProvider(
        metric_readers=[way.reader for way in ways], resource=Resource.create(resource), shutdown_on_exit=False
    )
    flush_at_exit(provider, is_failing=lambda: any(way.is_failing() for way in ways))
    return provider
