"""What graymw adds to a request, against the bare app, a no-op middleware, a floor by hand and OpenTelemetry's own.

    python -m bench.middleware

In process, no sockets: an ASGI coroutine that never waits is driven by hand. Thirteen headers as a browser and a proxy
send them; five rules that all miss but the last, a bucket. ``hop`` has the decision in its baggage already.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import xxhash
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from rich.console import Console
from rich.table import Table

import graymw
from bench.harness import Timing, keep, measure
from graymw.runtime import tracing
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
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Floor:
    """The same work by hand for these five rules: one scan, one parse, one decision, one context, one header."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        wanted = {
            b"x-gray-version",
            b"x-user-id",
            b"x-region",
            b"x-device",
            b"baggage",
            b"traceparent",
            b"x-forwarded-for",
        }
        found = {name: value.decode("latin-1") for name, value in scope["headers"] if name in wanted}
        inbound = found.get(b"baggage")
        if (
            inbound
            and inbound.startswith("gray.")
            and scope["client"][0] in _LOOPBACK
            and b"x-forwarded-for" not in found
        ):
            version = inbound[5:].partition(",")[0].partition("=")[2]
        else:
            user = found.get(b"x-user-id", "")
            if (
                found.get(b"x-gray-version") == "true"
                or user in ("1", "2", "3")
                or (found.get(b"x-region") in ("eu", "uk") and found.get(b"x-device") == "mobile")
                or (user.isdigit() and int(user) % 1000 == 0)
                or xxhash.xxh64_intdigest(("checkout:" + user).encode()) % 10000 < 1000
            ):
                version = "v2"
            else:
                version = "v1"
        entries = {"gray.checkout": version, "gray-rev": "9f3c2a11"}
        parent = found.get(b"traceparent")
        context = {_FLOOR_KEY: version, BAGGAGE_KEY: entries}
        if parent and len(parent) == 55:
            span = NonRecordingSpan(
                SpanContext(int(parent[3:35], 16), int(parent[36:52], 16), True, TraceFlags(int(parent[53:], 16)))
            )
            current: Any = trace.set_span_in_context(span, Context(context))
        else:
            current = Context(context)
        if not inbound:
            scope["headers"] = [
                *scope["headers"], (b"baggage", f"gray.checkout={version},gray-rev=9f3c2a11".encode())
            ]  # fmt: skip
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


def _middleware(app: Any, cls: Any) -> Any:
    app.add_middleware(cls)
    return app


def main() -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as Contrib
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as ContribWSGI

    settings = {"service": "orders", "version": "v1", "rules": _rule_file()}
    cases: dict[str, Any] = {}

    def both(name: str, call: Any, app: Any) -> None:
        cases[f"{name} edge"] = call(app, EDGE)
        cases[f"{name} hop"] = call(app, HOP)

    both("asgi bare", asgi_call, bare_asgi)
    both("asgi no-op", asgi_call, NoOp(bare_asgi))
    both("asgi floor", asgi_call, Floor(bare_asgi))
    both("asgi graymw", asgi_call, graymw.install(bare_asgi, settings=settings))
    both(
        "asgi contrib, no SDK",
        asgi_call,
        Contrib(bare_asgi, tracer_provider=trace.NoOpTracerProvider()),
    )
    for framework, make in (("starlette", starlette_app), ("fastapi", fastapi_app)):
        both(f"{framework} bare", asgi_call, make())
        both(f"{framework} no-op", asgi_call, _middleware(make(), NoOp))
        both(f"{framework} floor", asgi_call, _middleware(make(), Floor))
        both(f"{framework} graymw", asgi_call, graymw.install(make(), settings=settings))
    both("wsgi bare", wsgi_call, bare_wsgi)
    both("wsgi no-op", wsgi_call, noop_wsgi(bare_wsgi))
    both("wsgi graymw", wsgi_call, graymw.install(bare_wsgi, settings=settings))
    both("flask bare", wsgi_call, flask_app())
    wrapped = flask_app()
    wrapped.wsgi_app = noop_wsgi(wrapped.wsgi_app)
    both("flask no-op", wsgi_call, wrapped)
    both("flask graymw", wsgi_call, graymw.install(flask_app(), settings=settings))
    plain = measure(cases)

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nothing(), max_queue_size=2048, schedule_delay_millis=200))
    trace.set_tracer_provider(provider)
    tracing.recording_tracer()
    recorded: dict[str, Any] = {}
    recorded["asgi bare"] = asgi_call(bare_asgi, EDGE)
    recorded["asgi graymw"] = asgi_call(graymw.install(bare_asgi, settings=settings), EDGE)
    recorded["asgi graymw hop"] = asgi_call(graymw.install(bare_asgi, settings=settings), HOP)
    recorded["asgi contrib"] = asgi_call(Contrib(bare_asgi, tracer_provider=provider), EDGE)
    recorded["asgi contrib, server span only"] = asgi_call(
        Contrib(bare_asgi, tracer_provider=provider, exclude_spans=["receive", "send"]), EDGE
    )
    recorded["asgi contrib + graymw"] = asgi_call(
        Contrib(graymw.install(bare_asgi, settings=settings), tracer_provider=provider), EDGE
    )
    recorded["wsgi bare"] = wsgi_call(bare_wsgi, EDGE)
    recorded["wsgi graymw"] = wsgi_call(graymw.install(bare_wsgi, settings=settings), EDGE)
    recorded["wsgi contrib"] = wsgi_call(ContribWSGI(bare_wsgi, tracer_provider=provider), EDGE)
    with_spans = measure(recorded)
    _report(plain, with_spans)


def _rule_file() -> str:
    import json
    import tempfile
    from pathlib import Path

    path = Path(tempfile.mkdtemp()) / "rules.json"
    path.write_text(json.dumps(RULES))
    return str(path)


def _report(plain: dict[str, Timing], spans: dict[str, Timing]) -> None:
    added = {
        name: timing.minimum - plain[f"{name.split()[0]} bare {name.split()[-1]}"].minimum
        for name, timing in plain.items()
    }
    added_spans = {name: timing.minimum - spans[f"{name.split()[0]} bare"].minimum for name, timing in spans.items()}
    contrib = added_spans["asgi contrib"]
    goals = {
        "edge, times the floor (asgi; goal 1.5)": added["asgi graymw edge"] / added["asgi floor edge"],
        "edge, times the floor (starlette; goal 1.5)": added["starlette graymw edge"] / added["starlette floor edge"],
        "hop, times the floor (asgi)": added["asgi graymw hop"] / added["asgi floor hop"],
        "edge / contrib (goal 0.10)": added["asgi graymw edge"] / contrib,
        "hop / contrib (goal 0.06)": added["asgi graymw hop"] / contrib,
        "own span recorded / contrib (goal 0.35)": added_spans["asgi graymw"] / contrib,
        "own span recorded / contrib's server span alone": added_spans["asgi graymw"]
        / added_spans["asgi contrib, server span only"],
        "contrib + graymw / contrib": spans["asgi contrib + graymw"].minimum / spans["asgi contrib"].minimum,
        "wsgi own span / contrib wsgi": added_spans["wsgi graymw"] / added_spans["wsgi contrib"],
        "flask edge / no-op": plain["flask graymw edge"].minimum / plain["flask no-op edge"].minimum,
        "fastapi edge / no-op": plain["fastapi graymw edge"].minimum / plain["fastapi no-op edge"].minimum,
    }
    console = Console()
    for title, timings, extra in (("no tracing", plain, added), ("spans recorded", spans, added_spans)):
        table = Table("case", "minimum us", "median us", "added us", title=title)
        for name, timing in timings.items():
            table.add_row(name, f"{timing.minimum:.2f}", f"{timing.median:.2f}", f"{extra[name]:.2f}")
        console.print(table)
    table = Table("goal", "reached")
    for name, ratio in goals.items():
        table.add_row(name, f"{ratio:.3f}")
    console.print(table)
    keep("middleware", {"added": added, "added_spans": added_spans, "ratios": goals})


if __name__ == "__main__":
    contextvars.copy_context().run(main)
