"""Exactly one SERVER span per request, with the decision on it: WSGI applications and every instrumentation of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from calling import ask_wsgi
from one_span import TRACEPARENT, check_gray, check_requests, check_stable, work
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import graymw

Settings = dict[str, Any]


def flask_app() -> Any:
    app = flask.Flask("orders")  # the class is looked up when called: instrumentations replace it

    @app.get("/items/<item>")
    def items(item: str) -> Any:
        work()

        def body() -> Iterator[bytes]:
            work()
            yield b"streamed"

        return body()

    return app


def bare(environ: Any, start_response: Any) -> list[bytes]:
    work()
    start_response("200 OK", [])
    return [b"ok"]


def streaming(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    work()
    yield b"streamed"


Arrangement = Callable[[Settings], Any]
ARRANGEMENTS: dict[str, Arrangement] = {}


def arrangement(build: Arrangement) -> Arrangement:
    ARRANGEMENTS[build.__name__] = build
    return build


@arrangement
def graymw_alone_with_flask(settings: Settings) -> Any:
    return graymw.install(flask_app(), settings=settings)


@arrangement
def graymw_alone_with_a_callable(settings: Settings) -> Any:
    return graymw.install(bare, settings=settings)


@arrangement
def graymw_alone_with_a_generator(settings: Settings) -> Any:
    return graymw.install(streaming, settings=settings)


@arrangement
def graymw_alone_as_middleware(settings: Settings) -> Any:
    app = flask_app()
    app.wsgi_app = graymw.GrayWSGIMiddleware(app.wsgi_app, settings=settings)
    return app


@arrangement
def installed_twice(settings: Settings) -> Any:
    return graymw.install(graymw.install(flask_app(), settings=settings), settings=settings)


@arrangement
def contrib_flask_before(settings: Settings) -> Any:
    app = flask_app()
    FlaskInstrumentor().instrument_app(app)
    return graymw.install(app, settings=settings)


@arrangement
def contrib_flask_after(settings: Settings) -> Any:
    app = graymw.install(flask_app(), settings=settings)
    FlaskInstrumentor().instrument_app(app)
    return app


@arrangement
def contrib_flask_class_wide(settings: Settings) -> Any:
    FlaskInstrumentor().instrument()
    return graymw.install(flask_app(), settings=settings)


@arrangement
def contrib_flask_class_wide_as_middleware(settings: Settings) -> Any:
    FlaskInstrumentor().instrument()
    app = flask_app()
    app.wsgi_app = graymw.GrayWSGIMiddleware(app.wsgi_app, settings=settings)
    return app


@arrangement
def contrib_flask_inside_a_wrapper(settings: Settings) -> Any:
    app = flask_app()
    FlaskInstrumentor().instrument_app(app)
    return graymw.GrayWSGIMiddleware(app, settings=settings)


@arrangement
def contrib_wsgi_inside(settings: Settings) -> Any:
    return graymw.install(OpenTelemetryMiddleware(bare), settings=settings)


@arrangement
def contrib_wsgi_inside_a_generator(settings: Settings) -> Any:
    return graymw.install(OpenTelemetryMiddleware(streaming), settings=settings)


@arrangement
def contrib_wsgi_outside(settings: Settings) -> Any:
    return OpenTelemetryMiddleware(graymw.install(bare, settings=settings))


@arrangement
def contrib_wsgi_around_a_generator(settings: Settings) -> Any:
    return OpenTelemetryMiddleware(graymw.install(streaming, settings=settings))


@arrangement
def contrib_wsgi_in_flask_before(settings: Settings) -> Any:
    app = flask_app()
    app.wsgi_app = OpenTelemetryMiddleware(app.wsgi_app)
    return graymw.install(app, settings=settings)


@arrangement
def contrib_wsgi_in_flask_after(settings: Settings) -> Any:
    app = graymw.install(flask_app(), settings=settings)
    app.wsgi_app = OpenTelemetryMiddleware(app.wsgi_app)
    return app


@arrangement
def contrib_flask_and_wsgi_before(settings: Settings) -> Any:
    app = flask_app()
    FlaskInstrumentor().instrument_app(app)
    app.wsgi_app = OpenTelemetryMiddleware(app.wsgi_app)
    return graymw.install(app, settings=settings)


@arrangement
def contrib_flask_and_wsgi_after(settings: Settings) -> Any:
    app = graymw.install(flask_app(), settings=settings)
    FlaskInstrumentor().instrument_app(app)
    app.wsgi_app = OpenTelemetryMiddleware(app.wsgi_app)
    return app


@arrangement
def a_dispatcher_of_which_one_branch_is_instrumented(settings: Settings) -> Any:
    traced = flask_app()
    FlaskInstrumentor().instrument_app(traced)
    return graymw.install(DispatcherMiddleware(traced, {"/bare": bare}), settings=settings)


@pytest.fixture(autouse=True)
def uninstrumented() -> Iterator[None]:
    yield
    if FlaskInstrumentor().is_instrumented_by_opentelemetry:
        FlaskInstrumentor().uninstrument()


@pytest.fixture(params=ARRANGEMENTS.values(), ids=ARRANGEMENTS.keys())
def app(request: pytest.FixtureRequest, spans: InMemorySpanExporter, settings: Settings) -> Any:
    return request.param(settings)


def test_every_request_has_one_server_span_and_all_its_spans_are_tagged(app: Any, spans: InMemorySpanExporter) -> None:
    check_requests(lambda headers, peer: ask_wsgi(app, "/items/1", headers, peer), spans)


def test_the_other_branch_of_a_dispatcher_has_one_too(spans: InMemorySpanExporter, settings: Settings) -> None:
    app = a_dispatcher_of_which_one_branch_is_instrumented(settings)
    check_requests(lambda headers, peer: ask_wsgi(app, "/bare/items", headers, peer), spans)


def test_a_response_closed_before_it_is_iterated_leaves_nothing_for_the_next_request(
    spans: InMemorySpanExporter, settings: Settings
) -> None:
    app = OpenTelemetryMiddleware(graymw.install(streaming, settings=settings))
    ask_wsgi(app, "/", {"x-gray-version": "true"}, iterated=False)
    spans.clear()
    ask_wsgi(app, "/", {})
    check_stable(spans.get_finished_spans())


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_an_instrumentation_with_a_provider_of_its_own(
    first: bool, provider: TracerProvider, exporter: InMemorySpanExporter, settings: Settings
) -> None:
    traced = OpenTelemetryMiddleware(bare, tracer_provider=provider) if first else bare
    app = graymw.install(traced, settings=settings)
    app = app if first else OpenTelemetryMiddleware(app, tracer_provider=provider)
    ask_wsgi(app, "/", {"x-gray-version": "true", **TRACEPARENT})
    check_gray(exporter.get_finished_spans())
