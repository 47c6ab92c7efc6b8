from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer

from graymw.demo.receiver import Receiver
from graymw.demo.spans import SpanStore


@pytest.fixture
def store() -> SpanStore:
    return SpanStore()


@pytest.fixture
def receiver(store: SpanStore) -> Iterator[Receiver]:
    with Receiver(store) as listening:
        yield listening


@pytest.fixture
def tracer(receiver: Receiver) -> Iterator[Tracer]:
    """A tracer of OpenTelemetry's own SDK that exports to the receiver as a service does."""
    provider = TracerProvider(resource=Resource({"service.name": "orders", "service.version": "v2"}))
    exporter = OTLPSpanExporter(endpoint=f"{receiver.url}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()
