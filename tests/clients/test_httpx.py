"""httpx: transports of any make, and what only httpx has."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor, SyncOpenTelemetryTransport
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import graymw
from graymw.clients.httpx_family import Family, readdressed
from graymw.clients.httpx_headers import ListedHeaders, PublicHeaders
from graymw.core.instances import Instance
from graymw.runtime import counters
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine

from .conftest import APPLICATION, FOREIGN, GRAY, carrying, covering, engine_of
from .servers import Echo

BOTH = f"{GRAY},{APPLICATION}"


class Retrying(httpx.BaseTransport):
    """A transport of the application's around the library's own."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.inner.handle_request(request)

    def close(self) -> None:
        self.inner.close()


class Own(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return super().handle_request(request)


@pytest.mark.parametrize("mode", ["alone", "contrib before", "contrib after"])
@pytest.mark.parametrize("make", [Retrying, Own, graymw.GrayTransport, lambda: graymw.GrayTransport(Retrying())])
def test_transports_of_the_application_carry_and_are_routed_once(
    make: Any, mode: str, gray: Carried, v2: Echo, spans: InMemorySpanExporter, planned: list[str]
) -> None:
    with covering(mode, HTTPXClientInstrumentor()), httpx.Client(transport=make()) as client:
        response = client.get("http://orders/items")
    assert str(response.url) == "http://orders/items"
    assert v2.only().one("baggage") == BOTH
    assert v2.only().one("host") == "orders"
    assert planned == ["orders"]
    assert [span.kind for span in spans.get_finished_spans()] == [SpanKind.CLIENT]


def test_an_explicit_transport_needs_no_instrumenting(gray: Carried, v2: Echo) -> None:
    with httpx.Client(transport=graymw.GrayTransport()) as client:
        assert client.get("http://orders/").json()["server"] == "v2"
    assert v2.only().one("baggage") == BOTH


def test_an_explicit_async_transport_needs_no_instrumenting(gray: Carried, v2: Echo) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(transport=graymw.AsyncGrayTransport()) as client:
            assert (await client.get("http://orders/")).json()["server"] == "v2"

    asyncio.run(run())
    assert v2.only().one("baggage") == BOTH


def test_a_gray_transport_deep_inside_another_does_not_plan_again(
    plain: None, gray: Carried, v2: Echo, planned: list[str]
) -> None:
    class Around(Retrying):
        def __init__(self) -> None:
            self.inner = graymw.GrayTransport()  # type: ignore[assignment]

    with httpx.Client(transport=Around()) as client:
        client.get("http://orders/")
    assert v2.only().one("baggage") == BOTH
    assert planned == ["orders"]


def test_opentelemetrys_own_transport_makes_the_only_span(
    plain: None, gray: Carried, v2: Echo, spans: InMemorySpanExporter
) -> None:
    with httpx.Client(transport=SyncOpenTelemetryTransport(httpx.HTTPTransport())) as client:
        client.get("http://orders/")
    assert v2.only().one("baggage") == BOTH
    (span,) = spans.get_finished_spans()
    assert (v2.only().one("traceparent") or "").split("-")[2] == f"{span.context.span_id:016x}"


def test_one_client_instrumented_by_itself_has_one_span_a_call(
    plain: None, gray: Carried, v2: Echo, spans: InMemorySpanExporter
) -> None:
    with httpx.Client() as client:
        HTTPXClientInstrumentor().instrument_client(client)
        client.get("http://orders/")
    assert len(spans.get_finished_spans()) == 1
    assert v2.only().one("baggage") == BOTH


def test_transports_inside_the_process_keep_the_logical_name(plain: None, gray: Carried) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(handler)) as client:
        client.get("http://orders/items")
        client.get(f"http://{FOREIGN}/")
    assert [str(each.url) for each in seen] == ["http://orders/items", f"http://{FOREIGN}/"]
    assert [each.headers["baggage"] for each in seen] == [BOTH, APPLICATION]


def test_a_body_read_by_a_transport_inside_the_process_can_be_redirected(plain: None, gray: Carried) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/first":
            return httpx.Response(307, headers={"location": "/second"})
        return httpx.Response(200, content=request.read())

    with httpx.Client(transport=httpx.MockTransport(handler), follow_redirects=True) as client:
        assert client.post("http://orders/first", content=iter([b"one", b"two"])).content == b"onetwo"


def test_an_asgi_application_in_the_process_is_told(plain: None, gray: Carried) -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.extend(value for name, value in scope["headers"] if name == b"baggage")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            await client.get("http://testserver/")

    asyncio.run(run())
    assert told == [BOTH.encode()]


def test_the_applications_request_is_not_changed(plain: None, gray: Carried, v2: Echo) -> None:
    with httpx.Client() as client:
        request = client.build_request("GET", "http://orders/")
        before = request.headers.raw
        response = client.send(request)
    assert response.request is request
    assert request.headers.raw == before
    assert str(request.url) == "http://orders/"


def test_one_request_sent_from_many_tasks_carries_what_each_of_them_decided(
    plain: None, engine: Engine, v1: Echo, v2: Echo
) -> None:
    class Yielding(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self.inner = httpx.AsyncHTTPTransport()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(0)
            return await self.inner.handle_async_request(request)

        async def aclose(self) -> None:
            await self.inner.aclose()

    async def one(client: httpx.AsyncClient, request: httpx.Request, number: int) -> tuple[int, str]:
        version = "v2" if number % 3 == 0 else "v1"
        with carrying(engine, version, f"n={number}"):
            return number, (await client.send(request)).json()["server"]

    async def run() -> list[tuple[int, str]]:
        async with httpx.AsyncClient(transport=Yielding()) as client:
            request = client.build_request("GET", "http://orders/")
            return await asyncio.gather(*(one(client, request, number) for number in range(60)))

    for number, server in asyncio.run(run()):
        assert server == ("v2" if number % 3 == 0 else "v1")
    seen = {each.one("baggage") for each in (*v1.arrived, *v2.arrived)}
    assert seen == {f"gray.checkout={'v2' if n % 3 == 0 else 'v1'},gray-rev=9f3c2a11,n={n}" for n in range(60)}


def test_digest_authentication_carries_on_both_legs(plain: None, gray: Carried) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if "authorization" in request.headers:
            return httpx.Response(200)
        return httpx.Response(401, headers={"www-authenticate": 'Digest realm="r", nonce="n", qop="auth"'})

    with httpx.Client(transport=httpx.MockTransport(handler), auth=httpx.DigestAuth("u", "p")) as client:
        assert client.get("http://orders/").status_code == 200
    assert [each.headers.get_list("baggage") for each in seen] == [[BOTH], [BOTH]]


def test_cancelling_leaves_nothing_behind(plain: None, gray: Carried, spans: InMemorySpanExporter) -> None:
    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

    async def run() -> None:
        before = dict(otel_context.get_current())
        async with httpx.AsyncClient(transport=Hanging()) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("http://orders/"), 0.01)
            assert dict(otel_context.get_current()) == before

    asyncio.run(run())
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "CancelledError"


def test_streamed_answers_are_read_in_the_callers_context(plain: None, gray: Carried, v2: Echo) -> None:
    before = otel_context.get_current()
    with httpx.Client() as client, client.stream("GET", "http://orders/chunks") as response:
        assert otel_context.get_current() is before
        assert b"".join(response.iter_bytes()) == b"one,two,three"


def test_streamed_uploads_are_read_within_the_call(plain: None, gray: Carried, v2: Echo) -> None:
    versions: list[str | None] = []

    def sync_body() -> Iterator[bytes]:
        versions.append(graymw.current().version("checkout"))
        yield b"sync"

    async def async_body() -> AsyncIterator[bytes]:
        versions.append(graymw.current().version("checkout"))
        yield b"async"

    async def run() -> None:
        async with httpx.AsyncClient() as client:
            await client.post("http://orders/", content=async_body())

    httpx.post("http://orders/", content=sync_body())
    asyncio.run(run())
    assert versions == ["v2", "v2"]
    assert [each.body for each in v2.arrived] == [b"sync", b"async"]


def test_a_server_name_that_the_application_asks_for_is_kept(plain: None) -> None:
    seen: list[Any] = []

    class Noting(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            seen.append((str(request.url), request.extensions.get("sni_hostname")))
            return httpx.Response(200)

    engine = engine_of({"orders": [{"url": "https://10.0.0.7:8443", "version": "v2"}]})
    with carrying(engine), httpx.Client(transport=Noting()) as client:
        client.get("http://orders/a?b=c")
        client.get("https://orders/", extensions={"sni_hostname": "named.example"})
    assert seen == [("https://10.0.0.7:8443/a?b=c", "orders"), ("https://10.0.0.7:8443/", "named.example")]


def test_a_fault_of_ours_lets_the_call_out_as_it_was(
    plain: None, gray: Carried, v1: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ListedHeaders, "merged", lambda *_: 1 / 0)
    assert httpx.get(f"http://{v1.authority}/").json()["server"] == "v1"
    assert v1.only().one("baggage") is None
    assert counters.snapshot()["client.error"] == 1


def test_a_fault_while_planning_lets_the_call_out_as_it_was(
    plain: None, gray: Carried, v1: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Family, "_is_traced", lambda *_: 1 / 0)
    assert httpx.get(f"http://{v1.authority}/").json()["server"] == "v1"
    assert counters.snapshot()["client.error"] == 1


def test_a_span_that_is_current_around_the_call_is_the_parent(
    plain: None, gray: Carried, v1: Echo, spans: InMemorySpanExporter
) -> None:
    with trace.get_tracer("application").start_as_current_span("work") as work:
        httpx.get(f"http://{v1.authority}/")
    client = next(span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT)
    assert client.parent is not None
    assert client.parent.span_id == work.get_span_context().span_id


def test_calls_from_a_context_of_their_own_see_that_context(plain: None, engine: Engine, v1: Echo, v2: Echo) -> None:
    with carrying(engine, "v2"):
        inside = contextvars.copy_context()
    assert httpx.get("http://orders/").json()["server"] == "v1"
    assert inside.run(httpx.get, "http://orders/").json()["server"] == "v2"


@pytest.mark.parametrize("make", [ListedHeaders, PublicHeaders])
def test_headers_are_dealt_with_alike_by_their_list_and_by_their_methods(make: Any) -> None:
    headers = make(httpx.Headers)
    original = httpx.Headers(
        [("Host", "orders"), ("Baggage", "a=1"), ("baggage", "b=2"), ("X-Two", "1"), ("x-two", "2")]
    )

    class Planned:
        headers = (("baggage", GRAY), ("traceparent", "00-1-2-01"))
        remove = ("x-two", "absent")

    assert (headers.baggage(original) or "").replace(" ", "") == "a=1,b=2"
    assert headers.baggage(httpx.Headers()) is None
    merged = headers.merged(original, Planned())
    assert sorted(merged.multi_items()) == [("baggage", GRAY), ("host", "orders"), ("traceparent", "00-1-2-01")]
    assert original.get_list("x-two") == ["1", "2"]


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        (Instance("orders", "10.0.0.7", 8001, "v2"), "http://u:p@10.0.0.7:8001/a%20b?c=%2F#d"),
        (Instance("orders", "fd00::7", 80, "v2"), "http://u:p@[fd00::7]:80/a%20b?c=%2F#d"),
        (Instance("orders", "ördérs", 81, "v2"), "http://u:p@ördérs:81/a%20b?c=%2F#d"),
    ],
)
def test_readdressing_changes_the_authority_alone(instance: Instance, expected: str) -> None:
    url = readdressed(httpx.URL("http://u:p@orders/a%20b?c=%2F#d"), "http", instance)
    assert httpx.URL(str(url)) == httpx.URL(expected)
    assert url.raw_path == b"/a%20b?c=%2F"
