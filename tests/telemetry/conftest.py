"""A process whose OpenTelemetry was never set up, and recording providers for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics_api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from graymw.runtime import tracing
from graymw.telemetry import metrics_setup
from graymw.telemetry.metrics import Metering

DOCUMENT = {
    "schema": 1,
    "releases": {
        "checkout": {
            "services": ["orders"],
            "stable": "v1",
            "rules": [{"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"}],
        }
    },
}


@pytest.fixture(autouse=True)
def fresh_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider is set, and graymw knows of none."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(tracing, "_known_provider", None)
    monkeypatch.setattr(tracing, "_tracer", None)
    monkeypatch.setattr(tracing, "_callbacks", [])
    monkeypatch.setattr(metrics_api, "_METER_PROVIDER", None)
    monkeypatch.setattr(metrics_api, "_METER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(metrics_api, "_PROXY_METER_PROVIDER", metrics_api._ProxyMeterProvider())
    monkeypatch.setattr(metrics_setup, "metering", Metering())


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """A recording provider that is not the global one."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def spans(exporter: InMemorySpanExporter, provider: TracerProvider) -> InMemorySpanExporter:
    """The application has set a provider; here is what it records."""
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Service ``orders`` of version v1, whose testers are sent to v2."""
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(DOCUMENT))
    return {"service": "orders", "version": "v1", "rules": str(rules)}
