"""What holds for every HTTP client when instances fail."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import urllib3
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from waiting import eventually

from graymw.clients.aiohttp import gray_middleware
from graymw.clients.httpx import AsyncGrayTransport, GrayTransport
from graymw.clients.requests import GrayAdapter
from graymw.errors import GrayUnavailableError
from graymw.runtime import counters
from graymw.runtime.engine import Engine
from graymw.runtime.health import FAILURES_IN_A_ROW

from .callers import Caller
from .conftest import APPLICATION, GRAY, carrying, engine_of
from .servers import Echo, serving


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Faults of ours are contained, so a test that does not look would not see them."""
    yield
    assert not any(name.startswith(("client.", "outbound.error")) for name in counters.snapshot())


@pytest.fixture
def dead() -> Iterator[str]:
    """Where nobody listens, and nobody can come to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def dead_too() -> Iterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def sibling() -> Iterator[Echo]:
    with serving("sibling") as echo:
        yield echo


def orders(**versions: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Instances of ``orders`` by version, as addresses or URLs."""
    return {
        "orders": [
            {"url": each if "://" in each else f"http://{each}", "version": version}
            for version, found in versions.items()
            for each in found
        ]
    }


def idle(engine: Engine) -> bool:
    """Whether no call counts as under way."""
    loads = engine.directory._loads
    assert loads is not None
    return not any(loads._active.values())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_call_that_is_refused_goes_to_a_sibling(
    caller: Caller, covered: str, dead: str, sibling: Echo, method: str
) -> None:
    engine = engine_of(orders(v2=[dead, sibling.authority]))
    body = b"content" if method == "POST" else None
    with carrying(engine, application=APPLICATION):
        answers = [caller.get("http://orders/items?a=1", method=method, body=body) for _ in range(4)]
    assert [each.server for each in answers] == ["sibling"] * 4
    assert {each.url for each in answers} == {"http://orders/items?a=1"}
    for each in sibling.arrived:
        assert (each.method, each.target, each.body) == (method, "/items?a=1", body or b"")
        assert each.one("host") == "orders"
        assert each.one("baggage") == f"{GRAY},{APPLICATION}"
    assert counters.snapshot()["retry.sent"] == 1
    assert counters.snapshot()["ejected"] == 1


def test_a_streamed_body_that_nobody_read_is_sent_to_the_sibling(
    caller: Caller, plain: None, dead: str, sibling: Echo
) -> None:
    engine = engine_of(orders(v2=[dead, sibling.authority]))
    with carrying(engine):
        for _ in range(2):
            caller.get("http://orders/", method="POST", body=iter([b"one", b"two"]))
    assert [each.body for each in sibling.arrived] == [b"onetwo"] * 2


def test_what_was_sent_is_sent_again_where_twice_is_as_good_as_once(
    caller: Caller, covered: str, v2: Echo, sibling: Echo
) -> None:
    v2.drops = True
    engine = engine_of(orders(v2=[v2.authority, sibling.authority]))
    with carrying(engine):
        for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
            assert caller.get("http://orders/", method=method, body=body).server == "sibling"
            assert caller.get("http://orders/", method=method, body=body).server == "sibling"
    assert v2.arrived
    assert len(sibling.arrived) == 6


def test_what_was_sent_is_not_sent_twice_where_that_could_do_harm(
    caller: Caller, covered: str, v2: Echo, sibling: Echo
) -> None:
    v2.drops = True
    engine = engine_of(orders(v2=[v2.authority, sibling.authority]))
    failed = 0
    with carrying(engine):
        for _ in range(2):
            try:
                assert caller.get("http://orders/", method="POST", body=b"x").server == "sibling"
            except Exception as error:
                failed += not type(error).__module__.startswith("graymw")
    assert (failed, len(v2.arrived), len(sibling.arrived)) == (1, 1, 1)
    assert "retry.sent" not in counters.snapshot()


def test_a_streamed_body_that_was_read_is_not_sent_again(caller: Caller, plain: None, v2: Echo, sibling: Echo) -> None:
    v2.drops = True
    engine = engine_of(orders(v2=[v2.authority, sibling.authority]))
    failed = 0
    with carrying(engine):
        for _ in range(2):
            try:
                caller.get("http://orders/", method="PUT", body=iter([b"one", b"two"]))
            except Exception:
                failed += 1
    assert failed == 1
    assert [each.body for each in sibling.arrived] == [b"onetwo"]


def test_without_a_budget_the_error_is_the_librarys(caller: Caller, covered: str, dead: str, sibling: Echo) -> None:
    engine = engine_of(orders(v2=[dead, sibling.authority]), retry_budget="0%")
    failed = 0
    with carrying(engine):
        for _ in range(4):
            try:
                caller.get("http://orders/")
            except caller.refused:
                failed += 1
    assert failed == 1
    assert counters.snapshot()["retry.refused"] == 1
    assert counters.snapshot()["ejected"] == 1


def test_a_version_whose_instances_are_all_gone_falls_back_and_that_shows(
    caller: Caller, covered: str, spans: InMemorySpanExporter, dead: str, dead_too: str, v1: Echo
) -> None:
    engine = engine_of(orders(v1=[v1.authority], v2=[dead, dead_too]))
    with carrying(engine):
        assert caller.get("http://orders/").server == "v1"
    last = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT][-1]
    assert last.attributes is not None
    assert last.attributes["gray.fallback"] == "stable"
    assert last.attributes["gray.retried"] is True
    assert last.attributes["gray.ejected"] is True
    assert last.attributes["gray.target_version"] == "v1"
    assert counters.snapshot()["fallback.stable"] == 1
    with carrying(engine):
        assert caller.get("http://orders/").server == "v1"
    assert counters.snapshot()["retry.sent"] == 2  # those of the first call: now it is known
    assert [each.one("baggage") for each in v1.arrived] == [GRAY, GRAY]


def test_more_dead_instances_than_are_tried_do_not_keep_a_call_from_the_fallback(
    caller: Caller, plain: None, v1: Echo
) -> None:
    held = [socket.socket() for _ in range(6)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    try:
        engine = engine_of(orders(v1=[v1.authority], v2=[f"127.0.0.1:{each.getsockname()[1]}" for each in held]))
        with carrying(engine):
            assert caller.get("http://orders/", method="POST", body=b"x").server == "v1"
    finally:
        for each in held:
            each.close()
    assert counters.snapshot()["retry.sent"] == 3


def test_each_try_has_a_client_span_of_its_own(
    caller: Caller, plain: None, spans: InMemorySpanExporter, dead: str, sibling: Echo
) -> None:
    engine = engine_of(orders(v2=[dead, sibling.authority]))
    with carrying(engine):
        caller.calls("http://orders/", "http://orders/")
    made = [span.attributes or {} for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert len(made) == 3
    failed, again = next((one, other) for one, other in itertools.pairwise(made) if "error.type" in one)
    assert failed["gray.ejected"] is True
    assert "gray.retried" not in failed
    assert again["gray.retried"] is True
    assert again["http.request.resend_count"] == 1
    assert again["http.response.status_code"] == 200


@pytest.mark.parametrize("decided", [True, False])
def test_what_is_not_gray_is_never_tried_at_a_gray_instance(
    caller: Caller, covered: str, dead: str, v2: Echo, decided: bool
) -> None:
    engine = engine_of(orders(v1=[dead], v2=[v2.authority]), fallback="any")
    for _ in range(3):
        with carrying(engine, "v1") if decided else nullcontext(), pytest.raises(caller.refused):
            caller.get("http://orders/")
    assert not v2.arrived


def test_where_a_version_may_not_fall_back_its_dead_instance_is_the_librarys_error(
    caller: Caller, covered: str, dead: str, v1: Echo
) -> None:
    engine = engine_of(orders(v1=[v1.authority], v2=[dead]), fallback="refuse")
    for _ in range(2):
        with carrying(engine), pytest.raises(caller.refused):
            caller.get("http://orders/")
    engine = engine_of(orders(v1=[v1.authority]), fallback="refuse")
    with carrying(engine), pytest.raises(GrayUnavailableError):
        caller.get("http://orders/")
    assert not v1.arrived


def test_an_instance_that_cannot_serve_again_and_again_is_passed_by(
    caller: Caller, covered: str, v2: Echo, sibling: Echo
) -> None:
    engine = engine_of(orders(v2=[v2.authority, sibling.authority]))
    with carrying(engine):
        caller.calls(*["http://orders/status/503"] * 2 * FAILURES_IN_A_ROW["answer"])
        assert counters.snapshot()["ejected"] == 2
        assert len(v2.arrived) == len(sibling.arrived) == FAILURES_IN_A_ROW["answer"]
        answers = caller.calls(*["http://orders/"] * 4)
    assert len({each.server for each in answers[1:]}) <= 2
    assert "retry.sent" not in counters.snapshot()


def test_the_sibling_is_spoken_to_over_tls_by_the_logical_name(
    caller: Caller, plain: None, tls_server: Any, certificate: Path, dead: str
) -> None:
    with serving("secure", tls_server) as echo:
        engine = engine_of(orders(v2=[f"https://{dead}", f"https://{echo.authority}"]))
        with carrying(engine):
            answers = caller.calls("https://orders/1", "https://orders/2", ca=str(certificate))
        assert [each.url for each in answers] == ["https://orders/1", "https://orders/2"]
        assert set(echo.server_names) == {"orders"}


def test_a_certificate_that_is_not_accepted_is_nobodys_failure(
    caller: Caller, plain: None, tls_server: Any, certificate: Path
) -> None:
    with serving("one", tls_server) as one, serving("other", tls_server) as other:
        table = {"payments": [{"url": f"https://{each.authority}", "version": "v1"} for each in (one, other)]}
        with carrying(engine_of(table)), pytest.raises(Exception, match=r"(?i)certificate"):
            caller.get("https://payments/", ca=str(certificate))
    assert not {"ejected", "retry.sent"} & set(counters.snapshot())


def test_a_proxy_that_is_gone_is_no_failure_of_the_instance(
    caller: Caller, plain: None, dead: str, v2: Echo, sibling: Echo
) -> None:
    engine = engine_of(orders(v2=[v2.authority, sibling.authority]))
    with carrying(engine), pytest.raises(Exception) as raised:  # noqa: PT011 - each library has its own
        caller.get("http://orders/", proxy=f"http://{dead}")
    assert not type(raised.value).__module__.startswith("graymw")
    assert not {"ejected", "retry.sent"} & set(counters.snapshot())


def test_no_call_stays_under_way(caller: Caller, covered: str, dead: str, v1: Echo, v2: Echo, sibling: Echo) -> None:
    engine = engine_of(orders(v1=[v1.authority], v2=[dead, v2.authority, sibling.authority]), balancer="least-request")
    with carrying(engine):
        for path in ("/", "/status/503", "/redirect?to=/next", "/chunks", "/"):
            caller.get(f"http://orders{path}")
        with pytest.raises(Exception):  # noqa: B017, PT011 - each library has its own
            caller.get("http://orders/drop", method="POST", body=b"x")
        caller.get("http://orders/upload", method="POST", body=iter([b"one"]))
    assert idle(engine)


def _explicit_httpx(url: str) -> str:
    with httpx.Client(transport=GrayTransport(), trust_env=False) as client:
        return str(client.get(url).json()["server"])


def _explicit_async_httpx(url: str) -> str:
    async def run() -> str:
        async with httpx.AsyncClient(transport=AsyncGrayTransport(), trust_env=False) as client:
            return str((await client.get(url)).json()["server"])

    return asyncio.run(run())


def _explicit_requests(url: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", GrayAdapter())
        return str(session.get(url).json()["server"])


def _explicit_aiohttp(url: str) -> str:
    async def run() -> str:
        async with aiohttp.ClientSession(middlewares=[gray_middleware]) as session, session.get(url) as response:
            return str((await response.json(content_type=None))["server"])

    return asyncio.run(run())


@pytest.mark.parametrize("get", [_explicit_httpx, _explicit_async_httpx, _explicit_requests, _explicit_aiohttp])
def test_who_prefers_to_be_explicit_has_the_same(get: Callable[[str], str], dead: str, sibling: Echo) -> None:
    with carrying(engine_of(orders(v2=[dead, sibling.authority]))):
        assert [get("http://orders/") for _ in range(3)] == ["sibling"] * 3
    assert counters.snapshot()["retry.sent"] == 1


def test_what_a_transport_inside_the_process_raises_is_no_failure_of_an_instance(plain: None, v2: Echo) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("as asked", request=request)

    engine = engine_of(orders(v2=[v2.authority, "127.0.0.1:1"]))
    with carrying(engine), httpx.Client(transport=httpx.MockTransport(refuse)) as client:
        for _ in range(3):
            with pytest.raises(httpx.ConnectError, match="as asked"):
                client.get("http://orders/")
        assert not {"ejected", "retry.sent"} & set(counters.snapshot())
    with carrying(engine), httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(503))) as client:
        for _ in range(3 * FAILURES_IN_A_ROW["answer"]):
            assert client.get("http://orders/").status_code == 503
    assert not {"ejected", "retry.sent"} & set(counters.snapshot())


def test_a_redirect_within_a_pool_that_fails_does_not_send_the_first_request_again(
    plain: None, v2: Echo, sibling: Echo
) -> None:
    engine = engine_of(orders(v2=[v2.authority, sibling.authority]))
    failed = 0
    with carrying(engine), urllib3.HTTPConnectionPool("orders", retries=urllib3.Retry(read=0)) as pool:
        for _ in range(2):
            try:
                pool.request("PUT", "/redirect?to=/drop&status=307", body=b"x")
            except urllib3.exceptions.MaxRetryError:
                failed += 1
    assert failed == 2
    assert "retry.sent" not in counters.snapshot()


def test_retries_of_urllib3s_own_come_first(plain: None, dead: str, sibling: Echo) -> None:
    engine = engine_of(orders(v2=[dead, sibling.authority]))
    with carrying(engine), urllib3.PoolManager(retries=urllib3.Retry(2)) as pools:
        for _ in range(2):
            assert pools.request("POST", "http://orders/", body=b"x").json()["server"] == "sibling"
    assert counters.snapshot()["retry.sent"] == 1


def test_a_retry_of_urllib3s_own_that_sent_something_keeps_a_later_refusal_from_going_on(
    plain: None, sibling: Echo
) -> None:
    """The first answer asks to come again, then the server is gone."""
    gone = socket.create_server(("127.0.0.1", 0))

    def answer_once() -> None:
        connection, _ = gone.accept()
        gone.close()
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 503 later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()

    address = f"127.0.0.1:{gone.getsockname()[1]}"
    thread = threading.Thread(target=answer_once, daemon=True)
    thread.start()
    retries = urllib3.Retry(1, status_forcelist=[503], allowed_methods=None)
    engine = engine_of(orders(v2=[address, sibling.authority]))
    failed = 0
    with carrying(engine), urllib3.PoolManager(retries=retries) as pools:
        for _ in range(2):
            try:
                pools.request("POST", "http://orders/", body=b"x")
            except urllib3.exceptions.MaxRetryError:
                failed += 1
    thread.join(5)
    assert (failed, len(sibling.arrived)) == (1, 1)
    assert "retry.sent" not in counters.snapshot()


class TestCancelling:
    """A server that accepts and says nothing."""

    @pytest.fixture
    def silent(self) -> Iterator[tuple[str, threading.Event]]:
        arrived = threading.Event()
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            kept = []
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    break
                kept.append(connection)
                if connection.recv(65_536):
                    arrived.set()
            for each in kept:
                each.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", arrived
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)

    @pytest.mark.parametrize("library", ["httpx", "aiohttp"])
    def test_a_cancelled_call_is_over_and_nobodys_failure(
        self, plain: None, silent: tuple[str, threading.Event], v1: Echo, library: str
    ) -> None:
        address, arrived = silent
        engine = engine_of(orders(v1=[v1.authority], v2=[address]), balancer="least-request")

        async def call() -> None:
            if library == "httpx":
                async with httpx.AsyncClient(trust_env=False) as client:
                    await client.get("http://orders/")
            else:
                async with aiohttp.ClientSession() as session, session.get("http://orders/"):
                    pass

        async def run() -> None:
            task = asyncio.create_task(call())
            assert await asyncio.to_thread(arrived.wait, 5)
            assert not idle(engine)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        with carrying(engine):
            asyncio.run(run())
        assert idle(engine)
        assert not {"ejected", "retry.sent"} & set(counters.snapshot())
        assert not engine.directory.health.records

    def test_a_call_whose_task_is_forgotten_is_over(self, plain: None, silent: tuple[str, threading.Event]) -> None:
        address, arrived = silent
        engine = engine_of(orders(v2=[address]), balancer="least-request")

        async def run() -> None:
            async with httpx.AsyncClient(trust_env=False) as client:
                task = asyncio.create_task(client.get("http://orders/"))
                assert await asyncio.to_thread(arrived.wait, 5)
                task.cancel()

        with carrying(engine):
            asyncio.run(run())
        eventually(lambda: idle(engine))

    def test_a_read_that_times_out_is_nobodys_failure(
        self, plain: None, silent: tuple[str, threading.Event], sibling: Echo
    ) -> None:
        address, _ = silent
        engine = engine_of(orders(v2=[address]), balancer="least-request")
        timing_out = pytest.raises(httpx.ReadTimeout)
        with carrying(engine), httpx.Client(trust_env=False, timeout=0.05) as client, timing_out:
            client.get("http://orders/")
        assert idle(engine)
        assert not engine.directory.health.records
