"""Spans that are current when a request reaches us: whose they are, and what that means for ours."""

from __future__ import annotations

import asyncio
from typing import Any

from calling import ask_asgi
from one_span import GRAY, the_server_span
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind

import graymw

Settings = dict[str, Any]


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class EverySecond(Sampler):
    """Drops the first span it is asked about, keeps the next, and so on: parents count for nothing."""

    def __init__(self) -> None:
        self.asked = 0

    def should_sample(self, *arguments: Any, **named: Any) -> SamplingResult:
        self.asked += 1
        return SamplingResult(Decision.RECORD_AND_SAMPLE if self.asked % 2 == 0 else Decision.DROP)

    def get_description(self) -> str:
        return "every second"


def recording(sampler: Sampler) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def test_a_call_inside_the_process_has_a_server_span_of_its_own(
    spans: InMemorySpanExporter, settings: Settings
) -> None:
    inner = graymw.install(answer, settings={**settings, "version": "v2"})

    async def calling(scope: Any, receive: Any, send: Any) -> None:
        await ask_asgi(inner, "/inner", {"baggage": "gray.checkout=v2"})
        await answer(scope, receive, send)

    outer = graymw.install(calling, settings=settings)
    asyncio.run(ask_asgi(outer, "/outer", GRAY))
    servers = {str(span.attributes["url.path"]): span for span in spans.get_finished_spans()}
    assert servers["/outer"].attributes["gray.served_version"] == "v1"
    assert servers["/outer"].attributes["gray.reason"] == "match"
    assert servers["/inner"].attributes["gray.served_version"] == "v2"
    assert servers["/inner"].attributes["gray.reason"] == "inherited"
    assert "gray.rule" not in servers["/inner"].attributes


def test_a_request_whose_server_span_was_dropped_gets_none_of_ours(settings: Settings) -> None:
    exporter = recording(EverySecond())
    app = OpenTelemetryMiddleware(graymw.install(answer, settings=settings), exclude_spans=["receive", "send"])
    asyncio.run(ask_asgi(app, "/", GRAY))
    assert not exporter.get_finished_spans()


def test_nothing_is_recorded_where_nothing_is_sampled(settings: Settings) -> None:
    exporter = recording(ALWAYS_OFF)
    asyncio.run(ask_asgi(graymw.install(answer, settings=settings), "/", GRAY))
    assert not exporter.get_finished_spans()


def test_a_span_around_the_whole_request_is_the_parent_of_ours(spans: InMemorySpanExporter, settings: Settings) -> None:
    app = graymw.install(answer, settings=settings)
    with trace.get_tracer("tests").start_as_current_span("around") as around:
        asyncio.run(ask_asgi(app, "/", GRAY))
    server = the_server_span(spans.get_finished_spans())
    assert server.parent is not None
    assert server.parent.span_id == around.get_span_context().span_id


def test_middlewares_between_an_instrumentation_and_us_carry_no_claims_of_the_caller(
    spans: InMemorySpanExporter, settings: Settings
) -> None:
    ours = graymw.install(answer, settings=settings)

    async def between(scope: Any, receive: Any, send: Any) -> None:
        for kind in (SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.SERVER):
            trace.get_tracer("tests").start_span("between", kind=kind).end()
        await ours(scope, receive, send)

    hostile = {"baggage": "gray.checkout=evil,gray-rev=deadbeef"}
    asyncio.run(ask_asgi(OpenTelemetryMiddleware(between), "/", hostile, "203.0.113.9"))
    values = [str(value) for span in spans.get_finished_spans() for value in span.attributes.values()]
    assert not [value for value in values if "evil" in value or "deadbeef" in value]
