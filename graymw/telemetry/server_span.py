"""Our own lean SERVER span, for processes that have no other server instrumentation.

Attributes by OpenTelemetry's stable semantic conventions for HTTP server spans (1.44). Queries are left out: they
hold user names and tokens, and nothing here needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from graymw.runtime.admission import Admitted
from graymw.runtime.live_facts import LiveFacts

_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)  # fmt: skip


def start(
    tracer: Tracer,
    admitted: Admitted,
    facts: LiveFacts,
    *,
    scheme: str,
    server: tuple[str, int | None] | None,
    http_version: str | None,
    served_version: str,
) -> Span:
    """Start the span of one request, as a child of its caller.

    Args:
        server: Address and port that the request came in at.
        served_version: Version of this process.
    """
    method = facts.raw_method()
    attributes: dict[str, Any] = {
        **admitted.snapshot.server_attributes(admitted.gray, served_version),
        "http.request.method": method if method in _METHODS else "_OTHER",
        "url.path": facts.raw_path(),
        "url.scheme": scheme,
    }
    if server is not None:
        attributes["server.address"] = server[0]
        if server[1] is not None:
            attributes["server.port"] = server[1]
    if http_version:
        attributes["network.protocol.version"] = http_version
    peer = facts.peer()
    if peer:
        attributes["client.address"] = peer
    return tracer.start_span(
        method if method in _METHODS else "HTTP", context=admitted.context, kind=SpanKind.SERVER, attributes=attributes
    )


def start_asgi(
    tracer: Tracer, admitted: Admitted, scope: Mapping[str, Any], facts: LiveFacts, served_version: str
) -> Span:
    """Start the span of one ASGI request or WebSocket."""
    server = scope.get("server")
    return start(
        tracer,
        admitted,
        facts,
        scheme=str(scope.get("scheme", "http")),
        server=(str(server[0]), server[1]) if server else None,
        http_version=scope.get("http_version"),
        served_version=served_version,
    )


def start_wsgi(
    tracer: Tracer, admitted: Admitted, environ: Mapping[str, Any], facts: LiveFacts, served_version: str
) -> Span:
    """Start the span of one WSGI request."""
    port = str(environ.get("SERVER_PORT", ""))
    name = environ.get("SERVER_NAME")
    return start(
        tracer,
        admitted,
        facts,
        scheme=str(environ.get("wsgi.url_scheme", "http")),
        server=(str(name), int(port) if port.isascii() and port.isdigit() else None) if name else None,
        http_version=str(environ.get("SERVER_PROTOCOL", "")).partition("/")[2] or None,
        served_version=served_version,
    )


def answered(span: Span, status: int) -> None:
    """The response has begun."""
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))


def fail(span: Span, error: BaseException) -> None:
    """The application raised."""
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def name_route(span: Span, method: str, route: str) -> None:
    """The route that the framework found, as template: ``/items/{id}``."""
    span.set_attribute("http.route", route)
    span.update_name(f"{method} {route}")


def end_asgi(span: Span, scope: MutableMapping[str, Any]) -> None:
    """End the span, named by the route that Starlette or FastAPI left in the scope."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str) and path:
        name_route(span, str(scope.get("method", "GET")), path)
    span.end()


def answered_wsgi(span: Span, status: int, environ: Mapping[str, Any]) -> None:
    """The response has begun; Flask's route is in the environ until the request is over."""
    answered(span, status)
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if isinstance(rule, str) and rule:
        name_route(span, str(environ.get("REQUEST_METHOD", "GET")), rule)
