"""Spans and export requests, made by hand."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from graymw.demo.spans import ExportedSpan

PROTOBUF = {"content-type": "application/x-protobuf"}


def request_with(trace_id: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id, span_id=b"12345678", name="GET")
    return request.SerializeToString()


def span(
    trace_id: str = "t", span_id: str = "s", parent_id: str = "", *, start: int = 0, **more: object
) -> ExportedSpan:
    return ExportedSpan(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=str(more.get("name", "GET")),
        kind=str(more.get("kind", "server")),
        start=start,
        end=start + 1_000_000,
        failed=False,
        attributes=more.get("attributes", {}),  # type: ignore[arg-type]
        resource={"service.name": more.get("service", "orders")},  # type: ignore[dict-item]
    )
