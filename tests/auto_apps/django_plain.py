"""Its views and its WSGI callable."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.headers.get("baggage", ""))


urlpatterns = [path("", index)]
application = get_wsgi_application()
