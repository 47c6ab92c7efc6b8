"""Exactly one SERVER span per request, with the decision on it: ASGI applications and every instrumentation of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calling import ask_asgi, open_websocket
from fastapi import FastAPI
from one_span import HOSTILE, TRACEPARENT, check_gray, check_requests, check_stable, work
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette import applications
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware as StarlettesOwnMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import graymw

Settings = dict[str, Any]


async def _answer(_request: Any) -> JSONResponse:
    work()
    return JSONResponse({}, background=BackgroundTask(work))


async def _talk(socket: WebSocket) -> None:
    await socket.accept()
    work()
    await socket.send_text("hello")
    await socket.close()


def starlette() -> Starlette:
    # The class is looked up when called: instrumentations replace it in its module.
    return applications.Starlette(routes=[Route("/items/{item}", _answer), WebSocketRoute("/ws", _talk)])


def fastapi(**telemetry: Any) -> FastAPI:
    import fastapi as library

    return _with_routes(library.FastAPI(telemetry=telemetry))


def plain_fastapi() -> FastAPI:
    """Without its own telemetry, as FastAPI was before 0.142."""
    return fastapi(tracing=False)


def _with_routes(app: FastAPI) -> FastAPI:
    @app.get("/items/{item}")
    async def items(item: str) -> dict[str, str]:
        work()
        return {}

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await _talk(websocket)

    return app


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await _talk(WebSocket(scope, receive, send))
        return
    work()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


Arrangement = Callable[[Settings], Any]
ARRANGEMENTS: dict[str, Arrangement] = {}


def arrangement(build: Arrangement) -> Arrangement:
    ARRANGEMENTS[build.__name__] = build
    return build


@arrangement
def graymw_alone_with_starlette(settings: Settings) -> Any:
    return graymw.install(starlette(), settings=settings)


@arrangement
def graymw_alone_with_fastapi(settings: Settings) -> Any:
    return graymw.install(plain_fastapi(), settings=settings)


@arrangement
def graymw_alone_with_a_callable(settings: Settings) -> Any:
    return graymw.install(bare, settings=settings)


@arrangement
def graymw_alone_as_middleware(settings: Settings) -> Any:
    app = starlette()
    app.add_middleware(graymw.GrayMiddleware, settings=settings)
    return app


@arrangement
def graymw_alone_around_fastapi(settings: Settings) -> Any:
    return graymw.GrayMiddleware(plain_fastapi(), settings=settings)


@arrangement
def installed_twice(settings: Settings) -> Any:
    return graymw.install(graymw.install(starlette(), settings=settings), settings=settings)


@arrangement
def contrib_fastapi_before(settings: Settings) -> Any:
    app = plain_fastapi()
    FastAPIInstrumentor.instrument_app(app)
    return graymw.install(app, settings=settings)


@arrangement
def contrib_fastapi_after(settings: Settings) -> Any:
    app = graymw.install(plain_fastapi(), settings=settings)
    FastAPIInstrumentor.instrument_app(app)
    return app


@arrangement
def contrib_fastapi_class_wide(settings: Settings) -> Any:
    FastAPIInstrumentor().instrument()
    return graymw.install(plain_fastapi(), settings=settings)


@arrangement
def contrib_fastapi_inside_a_wrapper(settings: Settings) -> Any:
    app = plain_fastapi()
    FastAPIInstrumentor.instrument_app(app)
    return graymw.GrayMiddleware(app, settings=settings)


@arrangement
def contrib_fastapi_class_wide_inside_a_wrapper(settings: Settings) -> Any:
    FastAPIInstrumentor().instrument()
    return graymw.GrayMiddleware(plain_fastapi(), settings=settings)


@arrangement
def contrib_starlette_before(settings: Settings) -> Any:
    app = starlette()
    StarletteInstrumentor.instrument_app(app)
    return graymw.install(app, settings=settings)


@arrangement
def contrib_starlette_after(settings: Settings) -> Any:
    app = graymw.install(starlette(), settings=settings)
    StarletteInstrumentor.instrument_app(app)
    return app


@arrangement
def contrib_starlette_class_wide(settings: Settings) -> Any:
    StarletteInstrumentor().instrument()
    return graymw.install(starlette(), settings=settings)


@arrangement
def contrib_starlette_before_as_middleware(settings: Settings) -> Any:
    app = starlette()
    StarletteInstrumentor.instrument_app(app)
    app.add_middleware(graymw.GrayMiddleware, settings=settings)
    return app


@arrangement
def contrib_starlette_after_as_middleware(settings: Settings) -> Any:
    app = starlette()
    app.add_middleware(graymw.GrayMiddleware, settings=settings)
    StarletteInstrumentor.instrument_app(app)
    return app


@arrangement
def contrib_starlette_inside_a_wrapper(settings: Settings) -> Any:
    app = starlette()
    StarletteInstrumentor.instrument_app(app)
    return graymw.GrayMiddleware(app, settings=settings)


@arrangement
def contrib_asgi_inside(settings: Settings) -> Any:
    return graymw.install(OpenTelemetryMiddleware(bare), settings=settings)


@arrangement
def contrib_asgi_inside_under_other_layers(settings: Settings) -> Any:
    traced = OpenTelemetryMiddleware(bare)

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        await traced(scope, receive, send)

    class Layer:
        __slots__ = ("application",)

        def __init__(self, application: Any) -> None:
            self.application = application

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.application(scope, receive, send)

    return graymw.install(Layer(layer), settings=settings)


@arrangement
def contrib_asgi_outside(settings: Settings) -> Any:
    return OpenTelemetryMiddleware(graymw.install(bare, settings=settings))


@arrangement
def contrib_asgi_around_starlette(settings: Settings) -> Any:
    return OpenTelemetryMiddleware(graymw.install(starlette(), settings=settings))


@arrangement
def contrib_asgi_outside_and_inside(settings: Settings) -> Any:
    return OpenTelemetryMiddleware(graymw.install(OpenTelemetryMiddleware(bare), settings=settings))


@arrangement
def fastapi_native(settings: Settings) -> Any:
    return graymw.install(fastapi(), settings=settings)


@arrangement
def fastapi_native_without_operation_spans(settings: Settings) -> Any:
    return graymw.install(fastapi(operation_spans=False), settings=settings)


@arrangement
def fastapi_native_inside_a_wrapper(settings: Settings) -> Any:
    return graymw.GrayMiddleware(fastapi(), settings=settings)


@arrangement
def fastapi_native_with_contrib_before(settings: Settings) -> Any:
    app = fastapi()
    FastAPIInstrumentor.instrument_app(app)
    return graymw.install(app, settings=settings)


@arrangement
def fastapi_native_with_contrib_after(settings: Settings) -> Any:
    app = graymw.install(fastapi(), settings=settings)
    FastAPIInstrumentor.instrument_app(app)
    return app


@arrangement
def fastapi_native_with_contrib_class_wide(settings: Settings) -> Any:
    FastAPIInstrumentor().instrument()
    return graymw.install(fastapi(), settings=settings)


@arrangement
def fastapi_native_with_contrib_inside_a_wrapper(settings: Settings) -> Any:
    app = fastapi()
    FastAPIInstrumentor.instrument_app(app)
    return graymw.GrayMiddleware(app, settings=settings)


@arrangement
def starlettes_own_before(settings: Settings) -> Any:
    app = starlette()
    app.add_middleware(StarlettesOwnMiddleware)
    return graymw.install(app, settings=settings)


@arrangement
def starlettes_own_after(settings: Settings) -> Any:
    app = graymw.install(starlette(), settings=settings)
    app.add_middleware(StarlettesOwnMiddleware)
    return app


@arrangement
def starlettes_own_before_as_middleware(settings: Settings) -> Any:
    app = starlette()
    app.add_middleware(StarlettesOwnMiddleware)
    app.add_middleware(graymw.GrayMiddleware, settings=settings)
    return app


@arrangement
def starlettes_own_after_as_middleware(settings: Settings) -> Any:
    app = starlette()
    app.add_middleware(graymw.GrayMiddleware, settings=settings)
    app.add_middleware(StarlettesOwnMiddleware)
    return app


@arrangement
def starlettes_own_inside_a_wrapper(settings: Settings) -> Any:
    app = starlette()
    app.add_middleware(StarlettesOwnMiddleware)
    return graymw.GrayMiddleware(app, settings=settings)


@arrangement
def starlettes_own_outside(settings: Settings) -> Any:
    return StarlettesOwnMiddleware(graymw.install(bare, settings=settings))


@arrangement
def starlettes_own_inside(settings: Settings) -> Any:
    return graymw.install(StarlettesOwnMiddleware(bare), settings=settings)


@pytest.fixture(autouse=True)
def uninstrumented() -> Iterator[None]:
    yield
    for instrumentor in (FastAPIInstrumentor(), StarletteInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


@pytest.fixture(params=ARRANGEMENTS.values(), ids=ARRANGEMENTS.keys())
def app(request: pytest.FixtureRequest, spans: InMemorySpanExporter, settings: Settings) -> Any:
    return request.param(settings)


def test_every_request_has_one_server_span_and_all_its_spans_are_tagged(app: Any, spans: InMemorySpanExporter) -> None:
    check_requests(lambda headers, peer: asyncio.run(ask_asgi(app, "/items/1", headers, peer)), spans)


def test_every_websocket_has_one_server_span(app: Any, spans: InMemorySpanExporter) -> None:
    asyncio.run(open_websocket(app, "/ws", {"x-gray-version": "true", **TRACEPARENT}))
    check_gray(spans.get_finished_spans())
    spans.clear()
    asyncio.run(open_websocket(app, "/ws", HOSTILE, "203.0.113.9"))
    check_stable(spans.get_finished_spans())


def test_requests_at_the_same_time_do_not_mix(app: Any, spans: InMemorySpanExporter) -> None:
    async def both() -> None:
        marked = (ask_asgi(app, "/items/1", {"x-gray-version": "true"}) for _ in range(5))
        unmarked = (ask_asgi(app, "/items/1", {}) for _ in range(5))
        await asyncio.gather(*marked, *unmarked)

    asyncio.run(both())
    by_trace: dict[int, set[object]] = {}
    for span in spans.get_finished_spans():
        by_trace.setdefault(span.context.trace_id, set()).add(span.attributes["gray.version"])
    assert sorted(versions.pop() for versions in by_trace.values() if len(versions) == 1) == ["v1"] * 5 + ["v2"] * 5


class TestProvidersOfTheirOwn:
    """Where the application gives an instrumentation a provider and sets none for the process."""

    def test_of_fastapis_native_telemetry(
        self, provider: TracerProvider, exporter: InMemorySpanExporter, settings: Settings
    ) -> None:
        app = graymw.install(fastapi(tracer_provider=provider), settings=settings)
        asyncio.run(ask_asgi(app, "/items/1", {"x-gray-version": "true", **TRACEPARENT}))
        check_gray(exporter.get_finished_spans())

    def test_of_fastapis_native_telemetry_inside_a_wrapper(
        self, provider: TracerProvider, exporter: InMemorySpanExporter, settings: Settings
    ) -> None:
        app = graymw.GrayMiddleware(fastapi(tracer_provider=provider), settings=settings)
        asyncio.run(ask_asgi(app, "/items/1", {"x-gray-version": "true", **TRACEPARENT}))
        check_gray(exporter.get_finished_spans())

    @pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
    def test_of_contribs_fastapi_instrumentation(
        self, first: bool, provider: TracerProvider, exporter: InMemorySpanExporter, settings: Settings
    ) -> None:
        app = plain_fastapi()
        if first:
            FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
        graymw.install(app, settings=settings)
        if not first:
            FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
        asyncio.run(ask_asgi(app, "/items/1", {"x-gray-version": "true", **TRACEPARENT}))
        check_gray(exporter.get_finished_spans())

    def test_of_contribs_middleware_inside(
        self, provider: TracerProvider, exporter: InMemorySpanExporter, settings: Settings
    ) -> None:
        app = graymw.install(OpenTelemetryMiddleware(bare, tracer_provider=provider), settings=settings)
        asyncio.run(ask_asgi(app, "/items/1", {"x-gray-version": "true", **TRACEPARENT}))
        check_gray(exporter.get_finished_spans())

    def test_of_starlettes_own_middleware_inside(
        self, provider: TracerProvider, exporter: InMemorySpanExporter, settings: Settings
    ) -> None:
        app = graymw.install(StarlettesOwnMiddleware(bare, tracer_provider=provider), settings=settings)
        asyncio.run(ask_asgi(app, "/items/1", {"x-gray-version": "true", **TRACEPARENT}))
        check_gray(exporter.get_finished_spans())
