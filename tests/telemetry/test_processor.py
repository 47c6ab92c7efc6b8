"""GraySpanProcessor: which spans carry what, and whom it believes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from one_span import gray
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context.context import Context
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from graymw import loading
from graymw.core.context import Decision, GrayContext
from graymw.registries.static import StaticRegistry
from graymw.runtime import counters, tracing
from graymw.runtime.client_span import CALL_KEY
from graymw.runtime.current import REQUEST, Carried, attach, detach
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings
from graymw.telemetry import attaching
from graymw.telemetry.processor import GraySpanProcessor

DECISION = Decision("checkout", "v2", "split", "canary", "9f3c2a11", "v1")
GRAY = GrayContext([DECISION], revision="9f3c2a11", primary="checkout")
EVERYWHERE = {
    "gray.release": "checkout",
    "gray.version": "v2",
    "gray.active": True,
    "gray.context": "checkout=v2",
}


@pytest.fixture
def engine() -> Engine:
    return Engine(Settings(service="orders", version="v1"), StaticRegistry({}))


@pytest.fixture
def carried(engine: Engine) -> Carried:
    return Carried(engine, GRAY)


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> trace.Tracer:
    attaching.attach(trace.get_tracer_provider())
    return trace.get_tracer("application")


def start(tracer: trace.Tracer, context: Context | None = None, kind: SpanKind = SpanKind.INTERNAL) -> dict[str, Any]:
    """Attributes of a span that starts and ends."""
    span: Any = tracer.start_span("span", context=context, kind=kind)
    span.end()
    return gray(span)


class TestTagging:
    @pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER])
    def test_spans_of_a_request_carry_its_context(self, tracer: trace.Tracer, carried: Carried, kind: SpanKind) -> None:
        assert start(tracer, carried.context, kind) == EVERYWHERE

    def test_the_current_context_counts_where_none_is_given(self, tracer: trace.Tracer, carried: Carried) -> None:
        tokens = attach(carried.context, carried)
        try:
            assert start(tracer) == EVERYWHERE
        finally:
            detach(tokens)
        assert start(tracer) == {}

    def test_a_server_span_says_why_as_well(self, tracer: trace.Tracer, carried: Carried) -> None:
        assert start(tracer, carried.context, SpanKind.SERVER) == {
            **EVERYWHERE,
            "gray.reason": "split",
            "gray.rule": "canary",
            "gray.revision": "9f3c2a11",
            "gray.served_version": "v1",
        }

    def test_a_client_span_says_where_the_call_goes(self, tracer: trace.Tracer, carried: Carried) -> None:
        call = {"gray.target_version": "v1", "gray.fallback": "stable"}
        context = Context({**carried.context, CALL_KEY: call})
        assert start(tracer, context, SpanKind.CLIENT) == {**EVERYWHERE, **call}
        assert start(tracer, context, SpanKind.INTERNAL) == EVERYWHERE

    def test_spans_of_our_own_are_left_as_they_were_made(self, carried: Carried, tracer: trace.Tracer) -> None:
        assert start(trace.get_tracer(tracing.SCOPE), carried.context) == {}

    def test_an_undecided_request_leaves_no_mark(self, tracer: trace.Tracer, engine: Engine) -> None:
        assert start(tracer, Carried(engine, GrayContext()).context) == {}


class TestBelieving:
    """Server instrumentations extract headers into an empty context: baggage is all that is left there."""

    def within(self, carried: Carried, tracer: trace.Tracer, context: Context, kind: SpanKind) -> dict[str, Any]:
        token = REQUEST.set(carried)
        try:
            return start(tracer, context, kind)
        finally:
            REQUEST.reset(token)

    def test_baggage_that_agrees_with_the_request_is_the_requests(self, tracer: trace.Tracer, carried: Carried) -> None:
        context = _baggage({**dict(GRAY.members), "userId": "alice"})
        assert self.within(carried, tracer, context, SpanKind.SERVER)["gray.rule"] == "canary"
        assert self.within(carried, tracer, context, SpanKind.INTERNAL) == EVERYWHERE

    @pytest.mark.parametrize("kind", list(SpanKind))
    @pytest.mark.parametrize(
        "entries",
        [{}, {"userId": "alice"}, {"gray.checkout": "evil", "gray-rev": "9f3c2a11"}, {"gray.checkout": "v2"}],
        ids=["none", "foreign", "another version", "no revision"],
    )
    def test_other_baggage_is_not(
        self, tracer: trace.Tracer, carried: Carried, entries: dict[str, str], kind: SpanKind
    ) -> None:
        assert self.within(carried, tracer, _baggage(entries), kind) == {}

    @pytest.mark.parametrize("kind", list(SpanKind))
    def test_baggage_alone_counts_for_nothing(self, tracer: trace.Tracer, kind: SpanKind) -> None:
        assert start(tracer, _baggage(dict(GRAY.members)), kind) == {}


class TestLimits:
    """The SDK's own limits of a span hold for what we put on it."""

    def test_of_the_number_of_attributes(self, carried: Carried) -> None:
        provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=3), shutdown_on_exit=False)
        attaching.attach(provider)
        tracer = provider.get_tracer("application")
        full: Any = tracer.start_span("span", context=carried.context)
        expected: Any = tracer.start_span("span")
        expected.set_attributes(carried.gray.attributes)
        assert dict(full.attributes) == dict(expected.attributes)
        assert full.dropped_attributes == expected.dropped_attributes == 1

    def test_of_the_length_of_values(self, carried: Carried) -> None:
        provider = TracerProvider(span_limits=SpanLimits(max_attribute_length=4), shutdown_on_exit=False)
        attaching.attach(provider)
        assert start(provider.get_tracer("application"), carried.context)["gray.context"] == "chec"

    def test_without_limits_all_is_as_set_attributes_has_it(self, tracer: trace.Tracer, carried: Carried) -> None:
        span: Any = tracer.start_span("span", context=carried.context, attributes={"first": 1})
        expected: Any = tracer.start_span("span", attributes={"first": 1})
        expected.set_attributes(carried.gray.attributes)
        assert list(span.attributes.items()) == list(expected.attributes.items())
        span.set_attribute("gray.version", "v3")
        assert span.attributes["gray.version"] == "v3"
        assert carried.gray.attributes["gray.version"] == "v2"


class TestNeverRaising:
    def test_a_fault_is_counted_and_told_once(
        self, tracer: trace.Tracer, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = Carried(engine, GRAY)
        broken.gray = None  # type: ignore[assignment]
        with caplog.at_level(logging.ERROR, "graymw"):
            assert start(tracer, broken.context) == {}
            assert start(tracer, broken.context) == {}
        assert counters.snapshot()["telemetry.error"] == 2
        assert len(caplog.records) == 1


class TestAttaching:
    def test_once_per_provider(self, provider: TracerProvider, carried: Carried) -> None:
        for _ in range(3):
            attaching.attach(provider)
            attaching.attach(provider.get_tracer("given to an instrumentation"))
        held = provider._active_span_processor._span_processors
        assert [type(processor) for processor in held].count(GraySpanProcessor) == 1

    @pytest.mark.parametrize("home", [None, object(), trace.NoOpTracerProvider(), trace.ProxyTracerProvider()])
    def test_what_takes_no_processors_is_left_alone(self, home: object) -> None:
        attaching.attach(home)

    def test_a_provider_that_fails_fails_nobody_else(self, caplog: pytest.LogCaptureFixture) -> None:
        class Failing:
            def add_span_processor(self, processor: object) -> None:
                raise RuntimeError("no")

        attaching.attach(Failing())
        assert counters.snapshot()["telemetry.error"] == 1

    def test_a_provider_set_later_is_found_by_the_next_request(
        self, provider: TracerProvider, exporter: InMemorySpanExporter, carried: Carried
    ) -> None:
        tracing.when_provider_appears(attaching.attach)
        assert tracing.recording_tracer() is None
        trace.set_tracer_provider(provider)
        assert tracing.recording_tracer() is not None
        assert start(trace.get_tracer("application"), carried.context) == EVERYWHERE


def test_feature_flag_attributes_are_opt_in_and_on_the_server_span_only(
    tracer: trace.Tracer, tmp_path: Any, carried: Carried
) -> None:
    engine = Engine(Settings(service="orders", version="v1", feature_flags=True), StaticRegistry({}))
    document = {"schema": 1, "releases": {"checkout": {"services": ["orders"], "stable": "v1"}}}
    engine.adopt(loading.load_rules(document).document)
    span: Any = tracer.start_span("span", context=Carried(engine, GRAY).context, kind=SpanKind.SERVER)
    flags = {name: value for name, value in span.attributes.items() if name.startswith("feature_flag.")}
    assert flags == {
        "feature_flag.key": "checkout",
        "feature_flag.result.variant": "v2",
        "feature_flag.result.reason": "split",
        "feature_flag.provider.name": "graymw",
        "feature_flag.version": "9f3c2a11",
        "feature_flag.set.id": "orders",
    }
    inner: Any = tracer.start_span("span", context=Carried(engine, GRAY).context)
    without: Any = tracer.start_span("span", context=carried.context, kind=SpanKind.SERVER)
    assert "feature_flag" not in json.dumps([list(inner.attributes), list(without.attributes)])


def _baggage(entries: dict[str, str]) -> Context:
    context = Context()
    for key, value in entries.items():
        context = baggage.set_baggage(key, value, context)
    assert otel_context.get_value("graymw", context) is None
    return context
