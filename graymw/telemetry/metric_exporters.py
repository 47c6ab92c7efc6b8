"""Which ways out for metrics the environment asks for, by OpenTelemetry's own variables.

Source: OpenTelemetry specification, "Environment variable specification". What cannot be had is told in one sentence
and left out. An OTLP endpoint for all signals asks for traces only: Jaeger, which most of them are, takes no metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)

from graymw.settings.redaction import redacted
from graymw.telemetry.reporting import Delivery
from graymw.telemetry.signals import GRPC_PORT, METRICS


@dataclass(frozen=True, slots=True)
class Way:
    """One way out for metrics.

    Attributes:
        target: Where they go or can be had, for people; without credentials.
        is_failing: Whether they cannot be sent just now.
    """

    target: str
    reader: MetricReader
    is_failing: Callable[[], bool] = bool


class ReportingMetricExporter(MetricExporter):
    """Exports by another exporter; tells when that begins to fail and when it works again.

    Args:
        target: Where its metrics go, for people.
    """

    def __init__(self, exporter: MetricExporter, target: str) -> None:
        super().__init__(
            preferred_temporality=exporter._preferred_temporality,  # noqa: SLF001 - as the SDK's reader reads them
            preferred_aggregation=exporter._preferred_aggregation,  # noqa: SLF001
        )
        self._exporter = exporter
        self._delivery = Delivery("metrics", target, (type(exporter).__module__,))

    @property
    def is_failing(self) -> bool:
        """Whether metrics cannot be sent just now."""
        return self._delivery.is_failing

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Send what there is; a failure is told, not raised."""
        sent = self._delivery.attempt(
            lambda: self._exporter.export(metrics_data, timeout_millis, **kwargs) is MetricExportResult.SUCCESS
        )
        return MetricExportResult.SUCCESS if sent else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send what the exporter itself holds back."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Take no more metrics."""
        self._exporter.shutdown(timeout_millis, **kwargs)


def made(names: tuple[str, ...], environ: Mapping[str, str]) -> list[Way]:
    """The ways asked for, as far as they can be had."""
    found: list[Way] = []
    for name in names:
        try:
            way = _MAKERS.get(name, _other)(name, environ)
        except Exception as error:  # noqa: BLE001 - a vendor's exporter may fail in any way
            METRICS.tell(name, "the metrics exporter %r cannot be used: %s: %s", name, type(error).__name__, error)
            continue
        if way is not None:
            found.append(way)
    return found


def _sent(exporter: MetricExporter, target: str) -> Way:
    reporting = ReportingMetricExporter(exporter, target)
    return Way(target, PeriodicExportingMetricReader(reporting), lambda: reporting.is_failing)


def _console(_name: str, _environ: Mapping[str, str]) -> Way:
    return Way("standard output", PeriodicExportingMetricReader(ConsoleMetricExporter()))


def _otlp(name: str, environ: Mapping[str, str]) -> Way:
    return _otlp_grpc(name, environ) if METRICS.by_grpc(environ) else _otlp_http(name, environ)


def _otlp_http(_name: str, environ: Mapping[str, str]) -> Way:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 - heavy

    return _sent(OTLPMetricExporter(), METRICS.http_target(environ))


def _otlp_grpc(_name: str, environ: Mapping[str, str]) -> Way:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 - heavy

    try:
        exporter = METRICS.registered("otlp_proto_grpc")()
    except ImportError:
        endpoint = METRICS.http_twin(environ)
        METRICS.tell_no_grpc(endpoint)
        return _sent(OTLPMetricExporter(endpoint=endpoint), redacted(endpoint))
    return _sent(exporter, redacted(METRICS.endpoint(environ) or f"http://localhost:{GRPC_PORT}"))


def _prometheus(_name: str, environ: Mapping[str, str]) -> Way | None:
    from graymw.telemetry.prometheus import exposed  # noqa: PLC0415 - an extra

    return exposed(environ)


def _other(name: str, _environ: Mapping[str, str]) -> Way | None:
    if not METRICS.is_registered(name):
        METRICS.tell_unknown(name, set(_MAKERS))
        return None
    vendors = METRICS.registered(name)()
    return Way(name, vendors) if isinstance(vendors, MetricReader) else _sent(vendors, name)


_MAKERS: Final[Mapping[str, Callable[[str, Mapping[str, str]], Way | None]]] = MappingProxyType(
    {
        "console": _console,
        "otlp": _otlp,
        "otlp_proto_http": _otlp_http,
        "otlp_proto_grpc": _otlp_grpc,
        "prometheus": _prometheus,
    }
)
