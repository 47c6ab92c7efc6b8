"""A whole Django project in one file; its shape comes from the environment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

import graymw

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests only",
    MIDDLEWARE=["graymw.django.GrayMiddleware"] if os.environ["SHAPE"] == "middleware" else [],
)
django.setup()


def told(request: HttpRequest) -> JsonResponse:
    return JsonResponse([str(graymw.current().version()), request.headers.get("baggage")], safe=False)


async def told_async(request: HttpRequest) -> JsonResponse:
    return told(request)


def stream(_: HttpRequest) -> StreamingHttpResponse:
    def chunks() -> Iterator[str]:
        for _ in range(3):
            yield str(graymw.current().version()) + " "

    return StreamingHttpResponse(chunks())


async def stream_async(_: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncIterator[str]:
        for _ in range(3):
            yield str(graymw.current().version()) + " "

    return StreamingHttpResponse(chunks())


def refused(_: HttpRequest) -> HttpResponse:
    raise graymw.GrayUnavailableError("payments", "v2")


urlpatterns = [
    path("told", told),
    path("told-async", told_async),
    path("stream", stream),
    path("stream-async", stream_async),
    path("refused", refused),
]
application = get_asgi_application() if os.environ["MODE"] == "asgi" else get_wsgi_application()
if os.environ["SHAPE"] == "wrapped":
    application = graymw.install(application)
