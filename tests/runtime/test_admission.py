"""What a request may bring in, whatever it is sent by and whatever was there before it."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus
from wsgiref.util import setup_testing_defaults

import pytest
from calling import LOOPBACK, OUTSIDE, ask_asgi, scope_of
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as OpenTelemetryWSGI
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import graymw
from graymw.core.carrying import wire
from graymw.runtime import admission, counters, outbound

DOCUMENT = {"schema": 1, "releases": {"checkout": {"stable": "v1", "rules": []}}}
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DIALECT = {"uberctx-gray.checkout": "v9", "uberctx-gray-rev": "abcdef01", "uberctx-tenant": "t1"}
MARKED = {"baggage": "gray.checkout=v7,gray-rev=abcdef01,userId=alice", "traceparent": CALLER}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(DOCUMENT))
    return {"service": "orders", "version": "v1", "rules": str(path)}


@pytest.fixture
def propagated_by() -> Iterator[Callable[..., None]]:
    """Sets the process's propagators for one test."""
    before = propagate.get_global_textmap()
    yield lambda *propagators: propagate.set_global_textmap(CompositePropagator(list(propagators)))
    propagate.set_global_textmap(before)


class JaegerPropagator(TextMapPropagator):
    """The baggage of Jaeger's dialect, as ``opentelemetry-propagator-jaeger`` reads and writes it."""

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = default_getter) -> Context:
        context = Context() if context is None else context
        for key in getter.keys(carrier):
            if key.startswith("uberctx-"):
                context = baggage.set_baggage(key.removeprefix("uberctx-"), getter.get(carrier, key)[0], context)
        return context

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = default_setter) -> None:
        for key, value in baggage.get_all(context).items():
            setter.set(carrier, f"uberctx-{key}", str(value))

    @property
    def fields(self) -> set[str]:
        return {"uber-trace-id"}


def environ_of(peer: str, headers: Mapping[str, str]) -> dict[str, Any]:
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    environ: dict[str, Any] = {"REMOTE_ADDR": peer, **named}
    setup_testing_defaults(environ)
    return environ


class Seen:
    """What an application saw of its last request."""

    headers: list[tuple[bytes, bytes]]
    gray: graymw.GrayContext
    baggage: dict[str, object]
    trace: int
    inner: contextvars.Context

    def note(self) -> None:
        self.gray = graymw.current()
        self.baggage = dict(baggage.get_all())
        self.trace = trace.get_current_span().get_span_context().trace_id
        self.inner = contextvars.copy_context()

    async def asgi(self, scope: Any, _receive: Any, send: Any) -> None:
        self.headers = list(scope["headers"])
        self.note()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        self.headers = [(key.encode(), str(value).encode()) for key, value in environ.items()]
        start_response("200 OK", [("Content-Type", "text/plain")])

        def body() -> Iterator[bytes]:
            self.note()
            yield b""

        return body()


@pytest.fixture
def seen() -> Seen:
    return Seen()


members = st.sampled_from(
    [
        "gray.checkout", "gray.other", "gray-rev", "gray-sig", "=", "v9", ",", ";", "%67ray.x", "gr%61y.checkout",
        "%2567ray.x", "+", "%20", "%2C", "%3D", "%09", " ", "\t", "\x0b", "\xa0", "\x85", "\x1c", "k=v", "Gray.x",
        "gray%2Echeckout", '"', "%", "\xff", "\xc4\xa0", "%C2%A0", "%00", "gray", "ray.x=1",
    ]
)  # fmt: skip
lines = st.lists(members, max_size=12).map("".join)


def keys(text: str, decode: Callable[[str], str]) -> list[str]:
    return [decode(member.partition("=")[0].partition(";")[0]).strip() for member in text.split(",")]


@given(st.lists(lines, min_size=1, max_size=3))
def test_nothing_that_a_stranger_writes_is_ever_taken_for_ours(texts: list[str]) -> None:
    planned: list[outbound.Outgoing | None] = []
    seen = Seen()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        hosts = ("orders", "example.com")
        planned.extend(outbound.begin(method="GET", scheme="http", host=host, port=None) for host in hosts)
        await seen.asgi(scope, receive, send)

    app = graymw.install(application, settings={"service": "edge", "gray_when": "false"})
    scope = scope_of("/", {}, OUTSIDE)
    scope["headers"] = [(b"baggage", text.encode("latin-1")) for text in texts]

    async def send(_message: Any) -> None: ...

    asyncio.run(app(scope, None, send))

    assert set(seen.gray.decisions) == {"default"}
    (shown,) = [value.decode("latin-1") for name, value in seen.headers if name == b"baggage"]
    inside, foreign = (dict(plan.headers).get("baggage", "") for plan in planned if plan is not None)
    for text, ours in ((shown, seen.gray.wire), (inside, seen.gray.wire), (foreign, "")):
        assert text.startswith(ours)
        for decode in (str, unquote, unquote_plus):
            assert not any(map(wire.is_ours, keys(text.removeprefix(ours), decode)))
    extracted = baggage.get_all(W3CBaggagePropagator().extract({"baggage": shown}, Context()))
    assert {key: value for key, value in extracted.items() if wire.is_ours(key)} == dict(seen.gray.members)


class TestOtherDialects:
    @pytest.fixture(autouse=True)
    def jaeger(self, propagated_by: Callable[..., None]) -> None:
        propagated_by(TraceContextTextMapPropagator(), W3CBaggagePropagator(), JaegerPropagator())

    def test_an_instrumentation_inside_reads_no_members_of_ours_in_them(
        self, settings: dict[str, object], seen: Seen
    ) -> None:
        app = graymw.install(OpenTelemetryMiddleware(seen.asgi, tracer_provider=TracerProvider()), settings=settings)
        asyncio.run(ask_asgi(app, "/", DIALECT, OUTSIDE))
        assert seen.gray.version("checkout") == "v1"
        assert seen.baggage["gray.checkout"] == "v1"
        assert seen.baggage["tenant"] == "t1"

    def test_nor_on_wsgi(self, settings: dict[str, object], seen: Seen) -> None:
        app = graymw.install(OpenTelemetryWSGI(seen.wsgi, tracer_provider=TracerProvider()), settings=settings)
        list(app(environ_of(OUTSIDE, DIALECT), lambda *_: None))
        assert seen.gray.version("checkout") == "v1"
        assert (seen.baggage["gray.checkout"], seen.baggage["tenant"]) == ("v1", "t1")

    def test_what_was_injected_above_us_does_not_leave(self, settings: dict[str, object]) -> None:
        removed: list[tuple[str, ...]] = []

        async def application(_scope: Any, _receive: Any, send: Any) -> None:
            for host in ("example.com", "orders"):
                planned = outbound.begin(method="GET", scheme="http", host=host, port=None, instrumented=True)
                assert planned is not None
                removed.append(planned.remove)
            await send({"type": "http.response.start", "status": 200, "headers": []})

        asyncio.run(ask_asgi(graymw.install(application, settings=settings), "/", {}))
        assert {"uberctx-gray.checkout", "uberctx-gray-rev"} <= set(removed[0])
        assert removed[1] == ()


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_process_that_propagates_no_baggage_knows_its_request_inside_an_instrumentation(
    settings: dict[str, object], seen: Seen, propagated_by: Callable[..., None], kind: str
) -> None:
    propagated_by(TraceContextTextMapPropagator())
    if kind == "asgi":
        app = graymw.install(OpenTelemetryMiddleware(seen.asgi, tracer_provider=TracerProvider()), settings=settings)
        asyncio.run(ask_asgi(app, "/", MARKED))
    else:
        wsgi = graymw.install(OpenTelemetryWSGI(seen.wsgi, tracer_provider=TracerProvider()), settings=settings)
        list(wsgi(environ_of(LOOPBACK, MARKED), lambda *_: None))
    assert seen.gray.version("checkout") == "v7"
    assert not graymw.current()


class TestLeftovers:
    """A request that begins in the context of another one (python/cpython#140947 and the like)."""

    def test_of_an_instrumentation_inside_do_not_reach_the_next_request(
        self, settings: dict[str, object], seen: Seen
    ) -> None:
        app = graymw.install(OpenTelemetryMiddleware(seen.asgi, tracer_provider=TracerProvider()), settings=settings)

        async def two() -> None:
            await ask_asgi(app, "/", MARKED)
            first = seen.trace
            await asyncio.create_task(ask_asgi(app, "/", {}), context=seen.inner)
            assert seen.trace not in (0, first)

        asyncio.run(two())
        assert set(seen.baggage) == {"gray.checkout", "gray-rev"}
        assert seen.gray.version("checkout") == "v1"

    def test_of_an_application_that_attached_a_context_of_its_own_do_not(
        self, settings: dict[str, object], seen: Seen
    ) -> None:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            token = otel_context.attach(propagate.extract(headers))
            try:
                await seen.asgi(scope, receive, send)
            finally:
                otel_context.detach(token)

        app = graymw.install(application, settings=settings)

        async def two() -> None:
            await ask_asgi(app, "/", MARKED)
            await asyncio.create_task(ask_asgi(app, "/", {}), context=seen.inner)

        asyncio.run(two())
        assert "userId" not in seen.baggage
        assert seen.trace == 0

    def test_of_an_instrumentation_around_whose_response_was_closed_before_it_was_iterated_do_not(
        self, settings: dict[str, object], seen: Seen
    ) -> None:
        app = OpenTelemetryWSGI(graymw.install(seen.wsgi, settings=settings), tracer_provider=TracerProvider())

        def two() -> None:
            app(environ_of(LOOPBACK, MARKED), lambda *_: None).close()
            list(app(environ_of(LOOPBACK, {}), lambda *_: None))

        contextvars.copy_context().run(two)
        assert set(seen.baggage) == {"gray.checkout", "gray-rev"}


def test_baggage_over_the_limit_of_w3c_is_cut_before_anybody_works_on_it(
    settings: dict[str, object], seen: Seen
) -> None:
    many = ",".join(f"k{number}=v" for number in range(5_000))
    asyncio.run(ask_asgi(graymw.install(seen.asgi, settings=settings), "/", {"baggage": many}))
    assert len(seen.baggage) <= wire.MAX_MEMBERS + 2


@pytest.mark.parametrize("sent", ["gray.checkout=v9,k=v", "gray.checkout=v9"])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_where_we_fail_nothing_of_ours_is_believed(
    settings: dict[str, object], seen: Seen, monkeypatch: pytest.MonkeyPatch, kind: str, sent: str
) -> None:
    def fault(*_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(admission, "_decide", fault)
    if kind == "asgi":
        asyncio.run(ask_asgi(graymw.install(seen.asgi, settings=settings), "/", {"baggage": sent}))
    else:
        list(graymw.install(seen.wsgi, settings=settings)(environ_of(LOOPBACK, {"baggage": sent}), lambda *_: None))
    assert counters.snapshot()["middleware.error"] == 1
    shown = [value for name, value in seen.headers if name in (b"baggage", b"HTTP_BAGGAGE")]
    assert shown == ([b"k=v"] if "k=v" in sent else [])


def test_every_decision_of_the_largest_document_reaches_the_next_hop(tmp_path: Path, seen: Seen) -> None:
    release = {"stable": "v1", "sticky": ["user"], "rules": [{"split": {"v2": "50%"}}]}
    off = {f"a{number}": {**release, "services": [f"a{number}"], "enabled": False} for number in range(30)}
    on = {f"b{number}": {**release, "services": [f"b{number}"]} for number in range(32)}
    path = tmp_path / "large.json"
    path.write_text(json.dumps({"schema": 1, "releases": {**off, **on}}))
    app = graymw.install(seen.asgi, settings={"service": "edge", "rules": str(path)})
    asyncio.run(ask_asgi(app, "/", {}))
    decided = seen.gray
    asyncio.run(ask_asgi(app, "/", {"baggage": decided.wire}))
    assert {decision.reason for decision in seen.gray.decisions.values()} == {"inherited"}
    assert seen.gray.wire == decided.wire
