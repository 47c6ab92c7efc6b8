"""Against a real server on a loopback socket."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from certificates import certificates
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving import free_port

from graymw.errors import MissingExtraError, SourceError
from graymw.remote import http
from graymw.remote.http import HttpClient, UnreachableError
from graymw.settings.access import Access


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
        if self.path == "/silent":
            time.sleep(1.5)
        if self.path == "/lines":
            self.send_response(200)
            self.send_header("connection", "close")
            self.end_headers()
            for piece in (b'{"a":', b'1}\n{"b":2}\r\n', b"rest"):
                self.wfile.write(piece)
                self.wfile.flush()
            self.close_connection = True
            return
        body = b"not json" if self.path == "/text" else b'{"a": 1}'
        self.send_response(404 if self.path.startswith("/missing") else 200)
        self.send_header("X-Index", "7")
        self.send_header("content-length", str(len(body) + (100 if self.path == "/broken" else 0)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/broken":
            self.close_connection = True

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


class Place:
    def __init__(self, server: ThreadingHTTPServer, *, secure: bool = False) -> None:
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{server.server_port}"
        self.seen: list[dict[str, str]] = []


@pytest.fixture
def place() -> Iterator[Place]:
    yield from served()


def served(context: ssl.SSLContext | None = None) -> Iterator[Place]:
    handler = type("Own", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    place = Place(server, secure=context is not None)
    handler.seen = place.seen  # type: ignore[attr-defined]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield place
    server.shutdown()
    server.server_close()


def client(*urls: str, access: Access | None = None, **more: float) -> HttpClient:
    return HttpClient(urls, access or Access(), backend="consul", headers={"x-own": "1"}, **more)


def asked(path: str, *urls: str, **how: object) -> http.Answer:
    async def ask() -> http.Answer:
        own = client(*urls, access=how.pop("access", None))  # type: ignore[arg-type]
        try:
            return await own.request("GET", path, **how)  # type: ignore[arg-type]
        finally:
            await own.close()

    return asyncio.run(ask())


def test_an_answer_is_told_whatever_its_status(place: Place) -> None:
    answer = asked("/missing", place.url, params={"index": 3, "wait": "55s"}, headers={"x-more": "2"})
    assert (answer.status, answer.headers["x-index"], answer.json()) == (404, "7", {"a": 1})
    (seen,) = place.seen
    assert seen["path"] == "/missing?index=3&wait=55s"
    assert (seen["x-own"], seen["x-more"], seen["user-agent"]) == ("1", "2", "graymw")


def test_an_answer_that_is_no_json_is_told(place: Place) -> None:
    with pytest.raises(SourceError, match="is no JSON: not json"):
        asked("/text", place.url).json()


def test_the_next_server_is_tried_where_one_cannot_be_reached_and_stays(place: Place) -> None:
    async def ask() -> None:
        own = client(f"http://127.0.0.1:{free_port()}", place.url)
        await own.request("GET", "/")
        assert own._first == 1
        await own.request("POST", "/", json={"a": 1})
        await own.close()

    asyncio.run(ask())
    assert len(place.seen) == 2


def test_a_server_that_is_not_there_is_told_in_one_sentence() -> None:
    port = free_port()
    with pytest.raises(UnreachableError) as caught:
        asked("/v1?token=secret", f"http://127.0.0.1:{port}")
    told = str(caught.value)
    assert told.startswith(f"consul at http://127.0.0.1:{port} cannot be reached (")
    assert told.endswith("; check the address, and that it runs")
    assert "secret" not in told


def test_a_server_that_is_silent_is_told(place: Place) -> None:
    with pytest.raises(SourceError, match="did not answer in time"):
        asked("/silent", place.url, timeout=0.1)


def test_an_answer_that_breaks_off_is_told(place: Place) -> None:
    with pytest.raises(SourceError, match="broke off the answer"):
        asked("/broken", place.url)


def test_lines_come_as_they_are_written(place: Place) -> None:
    async def read() -> list[bytes]:
        own = client(place.url)
        async with own.lines("GET", "/lines", read_timeout=5) as (status, lines):
            assert status == 200
            found = [line async for line in lines]
        await own.close()
        return found

    assert asyncio.run(read()) == [b'{"a":1}', b'{"b":2}', b"rest"]


def test_a_request_that_waits_ends_when_it_is_cancelled(place: Place) -> None:
    async def run() -> float:
        own = client(place.url)
        task = asyncio.ensure_future(own.request("GET", "/silent", timeout=30))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await own.close()
        return time.monotonic() - began

    assert asyncio.run(run()) < 1


def test_a_connection_is_closed_where_its_handshake_is_cancelled() -> None:
    async def run() -> None:
        came: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        server = await asyncio.start_server(lambda *streams: came.put_nowait(streams), "127.0.0.1", 0)
        client = HttpClient([f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"], Access(), backend="consul")
        waiting = asyncio.ensure_future(client.request("GET", "/"))
        reader, writer = await came.get()
        assert await reader.readexactly(1) == b"\x16"  # a handshake (RFC 8446, §5.1), which is never answered
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(reader.read(), 5)  # ends where the client's side is closed
        writer.close()
        await client.close()
        server.close()

    asyncio.run(run())


def test_nobody_traces_carries_or_routes_it(place: Place) -> None:
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    import graymw

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    graymw.instrument()
    try:
        with graymw.use("checkout", "v2"):
            asked("/", place.url)
    finally:
        graymw.uninstrument()
        instrumentor.uninstrument()
        provider.shutdown()
    assert not spans.get_finished_spans()
    assert not {"baggage", "traceparent"} & place.seen[0].keys()


def test_the_library_logs_the_applications_requests_and_not_ours(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    import httpx

    async def run() -> None:
        client = HttpClient([place.url], Access(), backend="consul")
        await client.request("GET", "/ours")
        async with client.lines("GET", "/lines", read_timeout=5) as (_, lines), httpx.AsyncClient() as application:
            await anext(lines)
            await application.get(f"{place.url}/theirs")
        await client.close()

    with caplog.at_level("INFO", "httpx"):
        asyncio.run(run())
    assert [record.args[1].path for record in caplog.records if isinstance(record.args, tuple)] == ["/theirs"]


def test_over_tls_the_server_is_checked(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert, made.key)
    for place in served(context):
        with pytest.raises(UnreachableError, match=r"certificate verify failed.*check the setting that ends in _CA"):
            asked("/", place.url)
        assert asked("/", place.url, access=Access(ca=str(made.ca))).status == 200
        assert asked("/", place.url, access=Access(verify=False)).status == 200


def test_a_certificate_that_is_missing_is_told() -> None:
    with pytest.raises(SourceError, match=r"/nowhere/ca\.pem is not there; check the settings that end in _CA"):
        client("https://127.0.0.1:1", access=Access(ca="/nowhere/ca.pem"))


def test_a_missing_library_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'graymw\[consul\]'"):
        client("http://127.0.0.1:1")


@pytest.mark.parametrize(
    "trickle", [b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nx-endless: "]
)
def test_an_answer_that_trickles_in_is_given_up(trickle: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(trickle)
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        ended.set()

    ended = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = HttpClient([f"http://127.0.0.1:{port}"], Access(), backend="consul", timeout=0.2)
        try:
            async with asyncio.timeout(20):
                with pytest.raises(SourceError, match="does not end; check what listens there"):
                    await client.request("GET", "/x")
        finally:
            await client.close()
            await asyncio.wait_for(ended.wait(), 20)
            server.close()

    asyncio.run(run())


def test_what_an_answer_shows_is_one_line_that_commands_nothing() -> None:
    assert http.Answer(500, {}, b"a\r\n b\x1b[2J").shown == "a b\N{REPLACEMENT CHARACTER}[2J"


def test_credentials_that_a_server_repeats_are_not_shown() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        seen.append(head + body)
        writer.write(b"HTTP/1.1 500 X\r\nconnection: close\r\n\r\n" + body + head)
        await writer.drain()
        writer.close()

    async def run() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = HttpClient([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"], Access(), backend="consul")
        headers = {"x-consul-token": "tokentoken", "authorization": "Bearer bearerbearer"}
        data = {"username": "ann", "password": "passwordofann"}
        answer = await client.request("POST", "/x", data=data, headers=headers)
        await client.close()
        server.close()
        return answer.shown

    shown = asyncio.run(run())
    for secret in ("tokentoken", "bearerbearer", "passwordofann"):
        assert secret.encode() in seen[0]
        assert secret not in shown
    assert "username=ann" in shown
