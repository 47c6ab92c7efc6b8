"""Exactly one SERVER span per request, with the decision on it: Django, WSGI and ASGI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from calling import ask_asgi, ask_wsgi
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from one_span import check_requests, work
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import graymw

Settings = dict[str, Any]
OURS = "graymw.django.GrayMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"

if not django_settings.configured:
    django_settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="for tests only")
    django.setup()


def _items(request: HttpRequest, item: str) -> HttpResponse:
    work()
    return HttpResponse(b"ok")


def _stream(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[bytes]:
        work()
        yield b"streamed"

    return StreamingHttpResponse(body())


urlpatterns = [path("items/<str:item>", _items), path("stream", _stream)]

MIDDLEWARES: dict[str, tuple[list[str], int | None, bool]] = {
    "graymw_around_the_handler": ([COMMON], None, True),
    "graymw_as_middleware": ([OURS, COMMON], None, False),
    "graymw_twice": ([OURS, COMMON], None, True),
    "contrib_inside_the_handler": ([COMMON], 0, True),
    "contrib_inside_the_handler_after_others": ([COMMON], 1, True),
    "contrib_before_graymw": ([OURS, COMMON], 0, False),
    "contrib_after_graymw": ([OURS, COMMON], 1, False),
    "contrib_after_graymw_and_others": ([OURS, COMMON], 2, False),
    "contrib_between_two_of_graymw": ([OURS, COMMON], 0, True),
}
"""MIDDLEWARE, where contrib's goes in it, and whether the handler is installed too."""


@pytest.fixture(params=MIDDLEWARES.values(), ids=MIDDLEWARES.keys())
def build(
    request: pytest.FixtureRequest, spans: InMemorySpanExporter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[type], Any]]:
    middlewares, position, installed = request.param
    for name, value in settings.items():
        monkeypatch.setenv(f"GRAYMW_{name.upper()}", value)
    with override_settings(MIDDLEWARE=list(middlewares), ROOT_URLCONF=__name__):
        if position is not None:
            DjangoInstrumentor().instrument(middleware_position=position)
        yield lambda handler: graymw.install(handler()) if installed else handler()
        if position is not None:
            DjangoInstrumentor().uninstrument()
    logging.getLogger("django.request").handlers.clear()


def test_every_wsgi_request_has_one_server_span(build: Callable[[type], Any], spans: InMemorySpanExporter) -> None:
    app = build(WSGIHandler)
    check_requests(lambda headers, peer: ask_wsgi(app, "/items/1", headers, peer), spans)


def test_a_streamed_body_is_of_the_same_trace(build: Callable[[type], Any], spans: InMemorySpanExporter) -> None:
    app = build(WSGIHandler)
    check_requests(lambda headers, peer: ask_wsgi(app, "/stream", headers, peer), spans)


def test_every_asgi_request_has_one_server_span(build: Callable[[type], Any], spans: InMemorySpanExporter) -> None:
    app = build(ASGIHandler)
    check_requests(lambda headers, peer: asyncio.run(ask_asgi(app, "/items/1", headers, peer)), spans)
