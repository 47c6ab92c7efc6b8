"""aiohttp: connectors and middlewares of any make, and what only aiohttp has."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from graymw.clients import aiohttp as adapter_module
from graymw.clients.aiohttp import gray_middleware
from graymw.runtime import counters
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine

from .conftest import APPLICATION, FOREIGN, GRAY, MODES, carrying, covering, engine_of
from .servers import Echo

BOTH = f"{GRAY},{APPLICATION}"


class Own(aiohttp.TCPConnector):
    """A connector of the application's."""

    opened: list[tuple[str | None, int | None]]

    async def _create_connection(self, req: Any, *args: Any, **kwargs: Any) -> Any:
        self.opened = [*getattr(self, "opened", []), (req.url.raw_host, req.url.port)]
        return await super()._create_connection(req, *args, **kwargs)


@pytest.mark.parametrize("mode", MODES)
def test_connectors_of_the_application_connect_to_the_instance(mode: str, gray: Carried, v2: Echo) -> None:
    async def run() -> None:
        connector = Own()
        async with aiohttp.ClientSession(connector=connector) as session, session.get("http://orders/") as response:
            assert str(response.url) == "http://orders/"
        assert connector.opened == [("127.0.0.1", v2.port)]

    with covering(mode, AioHttpClientInstrumentor()):
        asyncio.run(run())
    assert v2.only().one("baggage") == BOTH


@pytest.mark.parametrize("covered_too", [False, True])
def test_an_explicit_middleware_plans_once(covered_too: bool, gray: Carried, v2: Echo, planned: list[str]) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession(middlewares=[gray_middleware]) as session, session.get("http://orders/"):
            pass

    if covered_too:
        with covering("alone"):
            asyncio.run(run())
    else:
        asyncio.run(run())
    assert v2.only().one("baggage") == BOTH
    assert planned == ["orders"]


def test_middlewares_of_the_application_come_before(plain: None, gray: Carried, v2: Echo) -> None:
    seen: list[str] = []

    async def own(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        seen.append(str(request.url))
        response: aiohttp.ClientResponse = await handler(request)
        if response.status == 503:
            response.release()
            response = await handler(request)
        return response

    async def run() -> None:
        async with aiohttp.ClientSession(middlewares=[own]) as session:
            async with session.get("http://orders/status/503"):
                pass
            async with session.get("http://orders/", middlewares=()):
                pass

    asyncio.run(run())
    assert seen == ["http://orders/status/503"]
    assert [each.one("baggage") for each in v2.arrived] == [BOTH] * 3


def test_errors_of_a_status_name_the_logical_url(plain: None, gray: Carried, v2: Echo) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            with pytest.raises(aiohttp.ClientResponseError) as raised:
                await session.get("http://orders/status/404")
        assert str(raised.value.request_info.url) == "http://orders/status/404"

    asyncio.run(run())


def test_a_websocket_is_routed(plain: None) -> None:
    async def run() -> None:
        hosts: list[tuple[str | None, str | None]] = []

        async def handler(request: web.Request) -> web.WebSocketResponse:
            hosts.append((request.headers.get("Host"), request.headers.get("baggage")))
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("hello")
            await socket.close()
            return socket

        app = web.Application()
        app.router.add_get("/ws", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        engine = engine_of({"orders": [{"url": f"http://127.0.0.1:{port}", "version": "v2"}]})
        try:
            with carrying(engine):
                async with aiohttp.ClientSession() as session, session.ws_connect("ws://orders/ws") as socket:
                    assert (await socket.receive()).data == "hello"
        finally:
            await runner.cleanup()
        assert hosts == [("orders", GRAY)]

    asyncio.run(run())


def test_cancelling_leaves_nothing_behind(plain: None, gray: Carried, spans: InMemorySpanExporter) -> None:
    async def hanging(request: Any, handler: Any) -> Any:
        return await handler(request)

    class Stuck(aiohttp.TCPConnector):
        async def connect(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

    async def run() -> None:
        before = dict(otel_context.get_current())
        async with aiohttp.ClientSession(connector=Stuck(), middlewares=[hanging]) as session:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.get("http://orders/"), 0.01)
            assert dict(otel_context.get_current()) == before

    asyncio.run(run())
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "CancelledError"


def test_many_tasks_on_one_session_mix_up_nothing(plain: None, engine: Engine, v1: Echo, v2: Echo) -> None:
    async def one(session: aiohttp.ClientSession, number: int) -> tuple[str, str]:
        version = "v2" if number % 3 == 0 else "v1"
        with carrying(engine, version, f"n={number}"):
            async with session.get("http://orders/") as response:
                return version, (await response.json(content_type=None))["server"]

    async def run() -> list[tuple[str, str]]:
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(one(session, number) for number in range(60)))

    assert all(wanted == served for wanted, served in asyncio.run(run()))
    seen = {each.one("baggage") for each in (*v1.arrived, *v2.arrived)}
    assert seen == {f"gray.checkout={'v2' if n % 3 == 0 else 'v1'},gray-rev=9f3c2a11,n={n}" for n in range(60)}


@pytest.mark.parametrize("broken", ["_address", "_begin"])
def test_a_fault_of_ours_lets_the_call_out_as_addressed(
    broken: str, plain: None, gray: Carried, foreign: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of({FOREIGN: [{"url": "http://127.0.0.1:1", "version": "v1"}]})
    if broken == "_begin":
        monkeypatch.setattr(adapter_module, "_SCHEMES", None)
    else:
        monkeypatch.setattr(adapter_module, broken, lambda *_: 1 / 0)

    async def run() -> None:
        url = f"http://{FOREIGN}:{foreign.port}/"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200

    with carrying(engine):
        asyncio.run(run())
    assert len(foreign.arrived) == 1
    assert counters.snapshot()["client.error"] == 1
