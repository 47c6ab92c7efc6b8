"""Metrics where Prometheus fetches them: ``http://OTEL_EXPORTER_PROMETHEUS_HOST:OTEL_EXPORTER_PROMETHEUS_PORT/metrics``.

One process listens at one address, so each needs a port of its own; workers that share theirs send OTLP instead.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from graymw.telemetry.signals import METRICS

if TYPE_CHECKING:
    from graymw.telemetry.metric_exporters import Way

HOST: Final = "OTEL_EXPORTER_PROMETHEUS_HOST"
PORT: Final = "OTEL_EXPORTER_PROMETHEUS_PORT"
DEFAULT_HOST: Final = "localhost"
DEFAULT_PORT: Final = 9464
"""OpenTelemetry specification, "Prometheus Exporter"."""


def exposed(environ: Mapping[str, str]) -> Way | None:
    """Begin to listen; None where that cannot be had, which is told."""
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 - an extra
        from prometheus_client import start_http_server  # noqa: PLC0415
    except ImportError:
        METRICS.tell("prometheus", "metrics for Prometheus need `pip install 'graymw[prometheus]'`")
        return None
    from graymw.telemetry.metric_exporters import Way  # noqa: PLC0415 - loads the SDK

    host, port = environ.get(HOST, "").strip() or DEFAULT_HOST, _port(environ)
    try:
        server, _ = start_http_server(port, host)
    except OSError as error:
        METRICS.tell(
            "prometheus",
            "no metrics at http://%s:%d/metrics: %s; name a port for each process in %s, "
            "or have them sent by OTEL_METRICS_EXPORTER=otlp",
            host,
            port,
            error.strerror or error,
            PORT,
        )
        return None

    class Reader(PrometheusMetricReader):
        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            super().shutdown(timeout_millis, **kwargs)
            # Waits for the server's loop: nothing to hold up the end of a process for.
            threading.Thread(target=_close, args=(server,), name="graymw-prometheus", daemon=True).start()

    return Way(f"http://{host}:{server.server_port}/metrics", Reader())


def _port(environ: Mapping[str, str]) -> int:
    text = environ.get(PORT, "").strip()
    if text.isascii() and text.isdigit() and int(text) < 1 << 16:
        return int(text)
    if text:
        METRICS.tell(PORT, "%s=%s is no port: metrics are at port %d", PORT, text, DEFAULT_PORT)
    return DEFAULT_PORT


def _close(server: Any) -> None:
    server.shutdown()
    server.server_close()
