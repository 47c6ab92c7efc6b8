"""Requests and applications that the benchmarks serve, and the floor: the same work by hand."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from graymw.runtime.current import BAGGAGE_KEY

RULES = {
    "schema": 1,
    "releases": {
        "checkout": {
            "stable": "v1",
            "sticky": ["user"],
            "rules": [
                {"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"},
                {"name": "staff", "match": {"user": ["1", "2", "3"]}, "use": "v2"},
                {
                    "name": "mobile-eu",
                    "match": {"header": {"x-region": ["eu", "uk"], "x-device": "mobile"}},
                    "use": "v2",
                },
                {"name": "thousands", "match": {"user": {"mod": [1000, 0]}}, "use": "v2"},
                {"name": "canary", "split": {"v2": "10%"}},
            ],
        }
    },
}

EDGE = [
    (b"host", b"shop.example.com"),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    ),
    (b"accept", b"application/json, text/plain, */*"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"cache-control", b"no-cache"),
    (b"cookie", b"session=8f14e45fceea167a5a36dedd4bea2543; theme=dark"),
    (b"referer", b"https://shop.example.com/cart"),
    (b"x-request-id", b"7f9c2ba4-e88f-827d-9160-4b7a0dcd7e5b"),
    (b"x-user-id", b"123457"),
    (b"x-region", b"us"),
    (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    (b"content-type", b"application/json"),
]
HOP = [*EDGE[:-1], (b"baggage", b"gray.checkout=v2,gray-rev=9f3c2a11")]


class Nothing(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/ping",
        "raw_path": b"/ping",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


def asgi_call(app: Any, headers: list[tuple[bytes, bytes]]) -> Callable[[], object]:
    def call() -> None:
        coroutine = app(scope(headers), _receive, _send)
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise RuntimeError("the application waited")

    return call


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"pong"})


class NoOp:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


_FLOOR_KEY = otel_context.create_key("floor")
_WANTED = frozenset(
    {
        b"x-gray-version",
        b"x-user-id",
        b"x-region",
        b"x-device",
        b"baggage",
        b"traceparent",
        b"x-forwarded-for",
        b"forwarded",
    }
)
_FORWARDING = {b"x-forwarded-for", b"forwarded"}
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


_TRACEPARENT = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_VERSION = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Floor:
    """The same work by hand for these five rules, and for nothing else.

    One scan of the headers, one decision or one checked inheritance, one OpenTelemetry context with the caller's span
    and the baggage, one clean header, a mark against doing it twice.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket") or "floor" in scope:
            await self.app(scope, receive, send)
            return
        found = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED}
        inbound = found.get(b"baggage")
        version = None
        if (
            inbound
            and scope["client"][0] in _LOOPBACK
            and b"x-forwarded-for" not in found
            and b"forwarded" not in found
        ):
            for member in inbound.split(","):
                key, _, value = member.partition("=")
                if key.strip() == "gray.checkout" and _VERSION.fullmatch(value.strip()):
                    version = value.strip()
        if version is None:
            user = found.get(b"x-user-id", "")
            if (
                found.get(b"x-gray-version") == "true"
                or user in ("1", "2", "3")
                or (found.get(b"x-region") in ("eu", "uk") and found.get(b"x-device") == "mobile")
                or (user.isascii() and user.isdigit() and int(user) % 1000 == 0)
                or xxhash.xxh64_intdigest(("checkout:" + user).encode()) % 10000 < 1000
            ):
                version = "v2"
            else:
                version = "v1"
        context = {_FLOOR_KEY: version, BAGGAGE_KEY: {"gray.checkout": version, "gray-rev": "9f3c2a11"}}
        parent = _TRACEPARENT.fullmatch(found.get(b"traceparent", ""))
        if parent:
            trace_id, span_id, flags = parent.groups()
            span = NonRecordingSpan(SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16))))
            current: Any = trace.set_span_in_context(span, Context(context))
        else:
            current = Context(context)
        wire = f"gray.checkout={version},gray-rev=9f3c2a11"
        if inbound != wire:
            kept = [pair for pair in scope["headers"] if pair[0] != b"baggage"]
            scope["headers"] = [*kept, (b"baggage", wire.encode())]
        scope["floor"] = version
        token = otel_context.attach(current)
        try:
            await self.app(scope, receive, send)
        finally:
            otel_context.detach(token)


def starlette_app() -> Any:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def ping(_: Any) -> PlainTextResponse:
        return PlainTextResponse("pong")

    return Starlette(routes=[Route("/ping", ping)])


def fastapi_app() -> Any:
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    app = FastAPI(openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.get("/ping")
    async def ping() -> PlainTextResponse:
        return PlainTextResponse("pong")

    return app


def environ(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    fields = {"HTTP_" + name.decode().upper().replace("-", "_"): value.decode() for name, value in headers}
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/ping",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
        **fields,
    }


def wsgi_call(app: Any, headers: list[tuple[bytes, bytes]]) -> Callable[[], object]:
    prepared = environ(headers)

    def call() -> None:
        body = app(dict(prepared), lambda *_: None)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    return call


def bare_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"pong"]


def noop_wsgi(app: Any) -> Any:
    def middleware(environ: Any, start_response: Any) -> Any:
        return app(environ, start_response)

    return middleware


def flask_app() -> Any:
    from flask import Flask

    app = Flask("bench")
    app.add_url_rule("/ping", view_func=lambda: "pong")
    return app


def with_middleware(app: Any, cls: Any) -> Any:
    app.add_middleware(cls)
    return app


def rule_file() -> str:
    path = Path(tempfile.mkdtemp()) / "rules.json"
    path.write_text(json.dumps(RULES))
    return str(path)
