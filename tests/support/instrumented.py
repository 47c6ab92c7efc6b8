"""An instrumentation of OpenTelemetry in this process, and the spans it makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer


class Traced:
    """What was traced.

    Attributes:
        tracer: For spans of the test itself, beside those of the instrumentation.
    """

    def __init__(self, tracer: Tracer, exporter: InMemorySpanExporter) -> None:
        self.tracer = tracer
        self._exporter = exporter

    def spans(self, kind: SpanKind) -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return [span for span in self._exporter.get_finished_spans() if span.kind is kind]


@contextmanager
def instrumented(instrumentor: Any) -> Iterator[Traced]:
    """Instrument until the end of the block.

    Args:
        instrumentor: A ``BaseInstrumentor``.
    """
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield Traced(provider.get_tracer("test"), exporter)
    finally:
        instrumentor.uninstrument()
        provider.shutdown()
