"""What a traced request to the service ``orders`` must leave behind, whatever instrumentations took part."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from calling import OUTSIDE
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
GRAY = {"x-gray-version": "true"}
HOSTILE = {"baggage": "gray.checkout=evil,gray.search=evil,gray-rev=deadbeef"}

Ask = Callable[[dict[str, str], str], object]


def work(tracer: trace.Tracer | None = None) -> None:
    """What a handler does: some work, and a call within it."""
    tracer = tracer or trace.get_tracer("application")
    with tracer.start_as_current_span("work"), tracer.start_as_current_span("call", kind=SpanKind.CLIENT):
        pass


def check_requests(ask: Ask, exporter: InMemorySpanExporter) -> None:
    """A gray request, an unmarked one, and one from outside that claims a decision of its own.

    Args:
        ask: Sends a request with some headers, from some address.
    """
    exporter.clear()
    ask({**GRAY, **TRACEPARENT}, "127.0.0.1")
    check_gray(exporter.get_finished_spans())
    exporter.clear()
    ask({}, "127.0.0.1")
    check_stable(exporter.get_finished_spans())
    exporter.clear()
    ask(HOSTILE, OUTSIDE)
    check_stable(exporter.get_finished_spans())


def check_gray(spans: Sequence[ReadableSpan]) -> None:
    server = the_server_span(spans)
    assert gray(server) == {
        "gray.release": "checkout",
        "gray.version": "v2",
        "gray.active": True,
        "gray.context": "checkout=v2",
        "gray.reason": "match",
        "gray.rule": "testers",
        "gray.revision": server.attributes["gray.revision"],
        "gray.served_version": "v1",
        "gray.honoured": False,
    }
    assert re.fullmatch("[0-9a-f]{8}", str(server.attributes["gray.revision"]))
    assert server.parent is not None
    assert format(server.parent.span_id, "016x") == CALLER
    for span in spans:
        assert format(span.context.trace_id, "032x") == TRACE, span.name
        if span is not server:
            assert gray(span) == _within("v2", active=True), span.name


def check_stable(spans: Sequence[ReadableSpan]) -> None:
    server = the_server_span(spans)
    assert gray(server) == {
        **_within("v1", active=False),
        "gray.reason": "default",
        "gray.revision": server.attributes["gray.revision"],
        "gray.served_version": "v1",
        "gray.honoured": True,
    }
    for span in spans:
        assert not any("evil" in str(value) or value == "deadbeef" for value in span.attributes.values()), span.name
        if span is not server:
            assert gray(span) == _within("v1", active=False), span.name


def the_server_span(spans: Sequence[ReadableSpan]) -> ReadableSpan:
    servers = [span for span in spans if span.kind is SpanKind.SERVER]
    assert len(servers) == 1, [(span.kind.name, span.name, span.instrumentation_scope.name) for span in spans]
    return servers[0]


def gray(span: ReadableSpan) -> dict[str, Any]:
    return {name: value for name, value in span.attributes.items() if name.startswith("gray.")}


def _within(version: str, *, active: bool) -> dict[str, Any]:
    return {
        "gray.release": "checkout",
        "gray.version": version,
        "gray.active": active,
        "gray.context": f"checkout={version}",
    }
