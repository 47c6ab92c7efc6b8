"""Gray traces are kept at a ratio of their own; whole or not at all, whoever makes their first span."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import fastapi
import flask
import pytest
from calling import OUTSIDE, ask_asgi, ask_wsgi
from hypothesis import given
from hypothesis import strategies as st
from one_span import GRAY, HOSTILE, TRACE, work
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as ContribASGI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as ContribWSGI
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision as Kept
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context
from starlette.applications import Starlette
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware as StarlettesOwn
from starlette.responses import JSONResponse
from starlette.routing import Route

import graymw
from graymw.core.context import Decision, GrayContext
from graymw.registries.static import StaticRegistry
from graymw.runtime.current import Carried, set_default_engine
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
DROPPED = TraceFlags(TraceFlags.DEFAULT)

ratio = st.floats(0, 1)
trace_ids = st.integers(1, 2**128 - 1)
kinds = st.sampled_from(SpanKind)


def settings_of(**told: object) -> Settings:
    return Settings.from_mapping({"service": "orders", **told}, environ={})


def carrying(*decisions: Decision) -> Context:
    return Carried(Engine(settings_of(), StaticRegistry({})), GrayContext(decisions)).context


def decided(release: str, version: str) -> Decision:
    return Decision(release, version, "match", stable="v1")


def within(context: Context, trace_id: int, flags: TraceFlags, *, remote: bool) -> Context:
    span = NonRecordingSpan(SpanContext(trace_id, 1, remote, flags, TraceState([("vendor", "kept")])))
    return set_span_in_context(span, context)


GRAY_REQUEST = carrying(decided("checkout", "v2"))
STABLE_REQUEST = carrying(decided("checkout", "v1"))
NOTHING = Context({})


class TestARoot:
    @given(gray=ratio, stable=ratio, trace_id=trace_ids, kind=kinds)
    def test_of_a_gray_request_is_kept_as_the_gray_ratio_says(
        self, gray: float, stable: float, trace_id: int, kind: SpanKind
    ) -> None:
        result = graymw.GraySampler(gray, stable).should_sample(GRAY_REQUEST, trace_id, "root", kind)
        assert result.decision is TraceIdRatioBased(gray).should_sample(None, trace_id, "root").decision

    @given(gray=ratio, stable=ratio, trace_id=trace_ids, kind=kinds)
    def test_of_a_stable_request_is_kept_as_the_stable_ratio_says(
        self, gray: float, stable: float, trace_id: int, kind: SpanKind
    ) -> None:
        result = graymw.GraySampler(gray, stable).should_sample(STABLE_REQUEST, trace_id, "root", kind)
        assert result.decision is TraceIdRatioBased(stable).should_sample(None, trace_id, "root").decision

    @given(gray=ratio, stable=ratio, trace_id=trace_ids, kind=kinds.filter(lambda kind: kind is not SpanKind.SERVER))
    def test_of_work_outside_any_request_counts_as_stable(
        self, gray: float, stable: float, trace_id: int, kind: SpanKind
    ) -> None:
        result = graymw.GraySampler(gray, stable).should_sample(NOTHING, trace_id, "job", kind)
        assert result.decision is TraceIdRatioBased(stable).should_sample(None, trace_id, "job").decision

    def test_is_gray_when_any_release_is_though_another_governs_this_service(self) -> None:
        context = carrying(decided("checkout", "v1"), decided("search", "v2"))
        assert graymw.GraySampler(1, 0).should_sample(context, 1, "root").decision is Kept.RECORD_AND_SAMPLE

    def test_under_use_is_gray(self) -> None:
        settings = {"service": "job", "stable_version": "v1"}
        graymw.install(lambda environ, start: [], settings=settings)
        sampler = graymw.GraySampler(1, 0)
        with graymw.use("checkout", "v2"):
            assert sampler.should_sample(None, 1, "root").decision is Kept.RECORD_AND_SAMPLE
        assert sampler.should_sample(None, 1, "root").decision is Kept.DROP

    @given(trace_id=trace_ids)
    def test_keeps_all_without_ratios(self, trace_id: int) -> None:
        for context in (GRAY_REQUEST, STABLE_REQUEST, NOTHING):
            result = graymw.GraySampler().should_sample(context, trace_id, "root", SpanKind.SERVER)
            assert result.decision is Kept.RECORD_AND_SAMPLE


requests = st.sampled_from([GRAY_REQUEST, STABLE_REQUEST, NOTHING])
flags = st.sampled_from([SAMPLED, DROPPED])


class TestAParent:
    @given(request=requests, trace_id=trace_ids, kept=flags, remote=st.booleans(), kind=kinds, gray=ratio, stable=ratio)
    def test_is_followed(
        self,
        request: Context,
        trace_id: int,
        kept: TraceFlags,
        remote: bool,
        kind: SpanKind,
        gray: float,
        stable: float,
    ) -> None:
        context = within(request, trace_id, kept, remote=remote)
        result = graymw.GraySampler(gray, stable).should_sample(context, trace_id, "child", kind)
        assert result.decision is (Kept.RECORD_AND_SAMPLE if kept.sampled else Kept.DROP)

    @given(request=requests, trace_id=trace_ids, kept=flags, remote=st.booleans(), kind=kinds, stable=ratio)
    def test_may_be_overruled_for_gray_requests_that_another_process_dropped(
        self, request: Context, trace_id: int, kept: TraceFlags, remote: bool, kind: SpanKind, stable: float
    ) -> None:
        context = within(request, trace_id, kept, remote=remote)
        sampler = graymw.GraySampler(1.0, stable, parent_based=False)
        decision = sampler.should_sample(context, trace_id, "child", kind).decision
        if kept.sampled or (remote and request is GRAY_REQUEST):
            assert decision is Kept.RECORD_AND_SAMPLE
        elif remote and request is NOTHING and kind is SpanKind.SERVER:
            assert decision is Kept.RECORD_ONLY  # until the request is decided
        else:
            assert decision is Kept.DROP

    @given(request=requests, kept=flags, parent_based=st.booleans(), kind=kinds, gray=ratio, stable=ratio)
    def test_hands_its_trace_state_on(
        self, request: Context, kept: TraceFlags, parent_based: bool, kind: SpanKind, gray: float, stable: float
    ) -> None:
        context = within(request, 7, kept, remote=True)
        sampler = graymw.GraySampler(gray, stable, parent_based=parent_based)
        assert sampler.should_sample(context, 7, "child", kind).trace_state == TraceState([("vendor", "kept")])


def test_attributes_of_a_kept_span_stay() -> None:
    result = graymw.GraySampler(1, 0).should_sample(GRAY_REQUEST, 1, "root", attributes={"url.path": "/"})
    assert result.attributes == {"url.path": "/"}


@pytest.mark.parametrize("ratios", [{"gray": 1.1}, {"stable": -0.1}, {"gray": float("nan")}])
def test_a_ratio_outside_its_range_is_refused(ratios: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(ratios))}=.* is no ratio: give a number from 0 to 1"):
        graymw.GraySampler(**ratios)


class TestRatiosOfTheSettings:
    """``GRAYMW_SAMPLE_GRAY`` and ``GRAYMW_SAMPLE_STABLE``, as they are in force now."""

    @pytest.fixture(autouse=True)
    def engine(self) -> Iterator[Engine]:
        engine = Engine(settings_of(sample_gray="100%", sample_stable=0), StaticRegistry({}))
        set_default_engine(engine)
        yield engine
        set_default_engine(None)

    @staticmethod
    def kept(sampler: graymw.GraySampler) -> list[bool]:
        results = [sampler.should_sample(context, 1, "root") for context in (GRAY_REQUEST, STABLE_REQUEST)]
        return [result.decision is Kept.RECORD_AND_SAMPLE for result in results]

    def test_count_where_none_are_given(self) -> None:
        assert self.kept(graymw.GraySampler()) == [True, False]

    def test_do_not_count_where_others_are_given(self) -> None:
        assert self.kept(graymw.GraySampler(0, 1)) == [False, True]
        assert self.kept(graymw.GraySampler(stable=1)) == [True, True]

    def test_change_while_the_process_runs(self, engine: Engine) -> None:
        sampler = graymw.GraySampler()
        assert self.kept(sampler) == [True, False]
        engine.adopt_settings(settings_of(sample_gray=0, sample_stable=1.0))
        assert self.kept(sampler) == [False, True]
        assert sampler.get_description() == "GraySampler{gray:0.0,stable:1.0}"
        engine.adopt_settings(settings_of())
        assert self.kept(sampler) == [True, True]

    def test_are_not_needed(self) -> None:
        set_default_engine(None)
        assert self.kept(graymw.GraySampler()) == [True, True]


def test_it_describes_itself() -> None:
    assert graymw.GraySampler(1, 0.05).get_description() == "GraySampler{gray:1,stable:0.05}"
    assert "parentBased:false" in graymw.GraySampler(parent_based=False).get_description()


# Real requests: who makes the first span, and when.


async def _answer(_request: Any) -> JSONResponse:
    return JSONResponse(_work())


def _work() -> dict[str, str]:
    """Some spans, and what a call made now would tell the next process."""
    work()
    told: dict[str, str] = {}
    inject(told)
    return told


def starlette() -> Starlette:
    return Starlette(routes=[Route("/items", _answer)])


def fastapi_app(**telemetry: Any) -> Any:
    app = fastapi.FastAPI(telemetry=telemetry)

    @app.get("/items")
    async def items() -> dict[str, str]:
        return _work()

    return app


def flask_app() -> Any:
    app = flask.Flask("orders")
    app.add_url_rule("/items", view_func=_work)
    return app


def starlettes_own(settings: dict[str, Any], *, outside: bool) -> Any:
    app = starlette()
    both: list[tuple[Any, dict[str, Any]]] = [(StarlettesOwn, {}), (graymw.GrayMiddleware, {"settings": settings})]
    for middleware, arguments in reversed(both) if outside else both:
        app.add_middleware(middleware, **arguments)
    return app


def instrumented(app: Any, instrumentor: Any) -> Any:
    instrumentor.instrument_app(app)
    return app


ARRANGEMENTS: dict[str, tuple[Callable[..., Any], Callable[[dict[str, Any]], Any]]] = {
    "ours, ASGI": (ask_asgi, lambda s: graymw.install(starlette(), settings=s)),
    "ours, WSGI": (ask_wsgi, lambda s: graymw.install(flask_app(), settings=s)),
    "contrib outside, ASGI": (ask_asgi, lambda s: ContribASGI(graymw.install(starlette(), settings=s))),
    "contrib inside, ASGI": (ask_asgi, lambda s: graymw.install(ContribASGI(starlette()), settings=s)),
    "contrib outside, WSGI": (ask_wsgi, lambda s: ContribWSGI(graymw.install(flask_app(), settings=s))),
    "contrib inside, WSGI": (ask_wsgi, lambda s: graymw.install(ContribWSGI(flask_app()), settings=s)),
    "contrib's Flask": (ask_wsgi, lambda s: graymw.install(instrumented(flask_app(), FlaskInstrumentor()), settings=s)),
    "contrib's FastAPI": (
        ask_asgi,
        lambda s: graymw.install(instrumented(fastapi_app(tracing=False), FastAPIInstrumentor), settings=s),
    ),
    "FastAPI's own": (ask_asgi, lambda s: graymw.install(fastapi_app(), settings=s)),
    "Starlette's own, outside": (ask_asgi, lambda s: starlettes_own(s, outside=True)),
    "Starlette's own, inside": (ask_asgi, lambda s: starlettes_own(s, outside=False)),
}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def provide(exporter: InMemorySpanExporter, sampler: Any) -> None:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


class Served:
    """An application, and what became of a request's trace."""

    def __init__(self, ask: Callable[..., Any], app: Any, exporter: InMemorySpanExporter) -> None:
        self._ask = ask
        self._app = app
        self._exporter = exporter

    def keeps(self, headers: dict[str, str], peer: str = "127.0.0.1") -> bool:
        """Whether a request's trace is kept, as a whole, and the next process is told so."""
        self._exporter.clear()
        answer = self._ask(self._app, "/items", headers, peer)
        if self._ask is ask_asgi:
            answer = asyncio.run(answer)
        assert answer.status == 200
        told = flask.json.loads(answer.body)["traceparent"]
        spans = self._exporter.get_finished_spans()
        kinds = {span.kind for span in spans}
        kept = bool(int(told.rpartition("-")[2], 16) & TraceFlags.SAMPLED)
        assert ({SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT} <= kinds) if kept else not spans, kinds
        assert {format(span.context.trace_id, "032x") for span in spans} <= {told.split("-")[1]}
        return kept


@pytest.fixture(params=ARRANGEMENTS)
def arrangement(
    request: pytest.FixtureRequest, settings: dict[str, Any], exporter: InMemorySpanExporter
) -> Iterator[Callable[..., Served]]:
    ask, build = ARRANGEMENTS[request.param]

    def served(
        *ratios: float, parent_based: bool = True, inside: Callable[[Any], Any] = lambda sampler: sampler
    ) -> Served:
        provide(exporter, inside(graymw.GraySampler(*ratios, parent_based=parent_based)))
        return Served(ask, build(settings), exporter)

    yield served
    trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]


INHERITED = {"baggage": "gray.checkout=v2,gray-rev=0123abcd"}


class TestARequest:
    def test_that_is_gray_is_kept_where_stable_ones_are_not(self, arrangement: Callable[..., Served]) -> None:
        served = arrangement(1.0, 0.0)
        assert [served.keeps(GRAY), served.keeps({}), served.keeps(GRAY), served.keeps({})] == [
            True,
            False,
            True,
            False,
        ]

    def test_that_is_gray_is_dropped_where_only_stable_ones_are_kept(self, arrangement: Callable[..., Served]) -> None:
        served = arrangement(0.0, 1.0)
        assert [served.keeps(GRAY), served.keeps({}), served.keeps(GRAY), served.keeps({})] == [
            False,
            True,
            False,
            True,
        ]

    def test_that_inherited_its_decision_is_as_gray_as_one_that_is_decided_here(
        self, arrangement: Callable[..., Served]
    ) -> None:
        served = arrangement(1.0, 0.0)
        assert served.keeps(INHERITED)
        assert not served.keeps({"baggage": "gray.checkout=v1,gray-rev=0123abcd"})

    def test_from_outside_does_not_become_gray_by_saying_so(self, arrangement: Callable[..., Served]) -> None:
        served = arrangement(1.0, 0.0)
        assert not served.keeps(HOSTILE, OUTSIDE)

    @pytest.mark.parametrize("flag", ["00", "01"])
    def test_goes_with_its_caller(self, arrangement: Callable[..., Served], flag: str) -> None:
        served = arrangement(0.5, 0.5)
        caller = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-{flag}"}
        assert served.keeps({**caller, **GRAY}) == served.keeps(caller) == (flag == "01")

    def test_that_a_proxy_dropped_is_kept_only_where_it_is_gray(self, arrangement: Callable[..., Served]) -> None:
        served = arrangement(1.0, 1.0, parent_based=False)
        dropped = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}
        assert served.keeps({**dropped, **GRAY})
        assert not served.keeps(dropped)

    def test_is_judged_inside_other_samplers_too(self, arrangement: Callable[..., Served]) -> None:
        served = arrangement(1.0, 0.0, inside=ParentBased)
        assert [served.keeps(GRAY), served.keeps({})] == [True, False]


def test_a_span_that_nobody_decides_about_counts_as_stable(exporter: InMemorySpanExporter) -> None:
    """A SERVER span that no middleware of ours is inside of."""
    provide(exporter, graymw.GraySampler(1.0, 0.0))
    with trace.get_tracer("application").start_as_current_span("server", kind=SpanKind.SERVER) as span:
        assert not span.get_span_context().trace_flags.sampled
    assert not exporter.get_finished_spans()
