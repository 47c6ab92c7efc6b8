"""Finding instrumentations inside an application by looking at its objects, whatever those are."""

from __future__ import annotations

import functools
from typing import Any
from unittest.mock import MagicMock

import pytest
from flask import Flask
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WSGIMiddleware
from starlette.applications import Starlette
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware as StarlettesOwn
from werkzeug.local import LocalProxy
from werkzeug.middleware.proxy_fix import ProxyFix

from graymw.runtime import counters
from graymw.telemetry import neighbours
from graymw.telemetry.neighbours import ABSENT, HTTP_ONLY, PRESENT, InnerSpans, server_spans


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


class Layer:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def serve(self, scope: Any, receive: Any, send: Any) -> None: ...


class Traced(OpenTelemetryMiddleware):
    """Somebody's own variant."""


def wrapped_in_a_closure(inner: Any) -> Any:
    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    return outer


def wrapped_by_decorator(inner: Any) -> Any:
    several = [inner]

    @functools.wraps(inner.__class__.__call__)
    def outer(*args: Any) -> Any:
        return several[0](*args)

    outer.__wrapped__ = inner  # type: ignore[attr-defined]
    return outer


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: inner,
        Layer,
        lambda inner: Layer(Layer(Layer(inner))),
        lambda inner: Layer(inner).serve,
        wrapped_in_a_closure,
        wrapped_by_decorator,
        functools.partial,
        lambda inner: functools.partial(inner, flag=True),
        lambda inner: wrapped_in_a_closure(Layer(functools.partial(inner))),
    ],
)
def test_it_is_found_under_every_kind_of_wrapping(wrap: Any) -> None:
    assert server_spans(wrap(OpenTelemetryMiddleware(app))) is PRESENT
    assert server_spans(wrap(Traced(app))) is PRESENT
    assert server_spans(wrap(StarlettesOwn(app))) is HTTP_ONLY
    assert server_spans(wrap(app)) is ABSENT


def test_one_for_http_only_does_not_hide_one_for_everything() -> None:
    assert server_spans(StarlettesOwn(OpenTelemetryMiddleware(app))) is PRESENT


def test_wsgi_is_searched_alike() -> None:
    assert server_spans(ProxyFix(WSGIMiddleware(wsgi))) is PRESENT
    assert server_spans(ProxyFix(wsgi)) is ABSENT


def test_a_flask_application_tells_by_its_flag() -> None:
    flask = Flask("orders")
    assert server_spans(flask.wsgi_app) is ABSENT
    FlaskInstrumentor().instrument_app(flask)
    assert server_spans(flask.wsgi_app) is PRESENT
    FlaskInstrumentor().uninstrument_app(flask)
    assert server_spans(flask.wsgi_app) is ABSENT


def test_a_starlette_stack_that_is_built_tells_more_than_the_plan() -> None:
    starlette = Starlette()
    starlette.add_middleware(StarlettesOwn)
    assert server_spans(starlette) is HTTP_ONLY
    starlette.middleware_stack = starlette.build_middleware_stack()
    starlette.user_middleware.clear()
    assert server_spans(starlette) is HTTP_ONLY


def test_an_instrumentation_that_was_told_not_to_record_counts_as_none() -> None:
    assert server_spans(StarlettesOwn(app, tracer_provider=trace.NoOpTracerProvider())) is ABSENT


def test_a_function_over_several_applications_may_branch() -> None:
    traced, plain = OpenTelemetryMiddleware(app), Layer(app)

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await (traced if scope["path"] == "/" else plain)(scope, receive, send)

    assert server_spans(dispatch) is ABSENT


class TestNeverRaising:
    def test_circles_end(self) -> None:
        first, second = Layer(None), Layer(None)
        first.app, second.app = second, first
        assert server_spans(first) is ABSENT

    def test_endless_chains_end(self) -> None:
        chain: Any = app
        for _ in range(neighbours._MOST * 2):
            chain = Layer(chain)
        assert server_spans(chain) is ABSENT

    def test_no_code_of_the_objects_runs(self) -> None:
        class Explosive:
            def __getattr__(self, name: str) -> Any:
                raise AssertionError(name)

            @property
            def app(self) -> Any:
                raise AssertionError("app")

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

        assert server_spans(Explosive()) is ABSENT

    def test_odd_objects(self) -> None:
        unbound: Any = LocalProxy(lambda: 1 / 0)
        for odd in (None, 42, "text", object(), type, Layer, MagicMock(), unbound, print, len):
            assert server_spans(odd) is ABSENT
            assert server_spans(Layer(odd)) is ABSENT

    def test_a_fault_means_absent_and_is_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(neighbours, "_search", lambda app: 1 / 0)
        assert server_spans(app) is ABSENT
        assert counters.snapshot() == {"telemetry.error": 1}


class TestInnerSpans:
    def test_are_judged_once_and_again_with_another_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[object] = []
        monkeypatch.setattr(neighbours, "server_spans", lambda app: asked.append(app) or HTTP_ONLY)
        inner = InnerSpans(app)
        assert [inner.cover(None), inner.cover(None), inner.cover(None, http=False)] == [True, True, False]
        assert len(asked) == 1
        tracer = trace.NoOpTracer()
        assert inner.cover(tracer)
        assert inner.cover(tracer)
        assert len(asked) == 2
