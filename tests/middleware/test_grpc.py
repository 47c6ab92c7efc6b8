"""gRPC servers: blocking, asyncio, and asyncio with blocking handlers; all four kinds of calls."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorServer, GrpcInstrumentorServer
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.util._once import Once

import graymw
from graymw import bootstrap
from graymw.grpc import GrayAioServerInterceptor, GrayServerInterceptor
from graymw.middleware.grpc import serving as module
from graymw.middleware.grpc.serving import peer_address
from graymw.runtime import counters, tracing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
TESTER = (("x-gray-version", "true"),)
GRAY = (("baggage", "gray.checkout=v2,gray-rev=0000000a,userId=7"),)
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),)


def told(context: Any) -> bytes:
    """What a handler sees: its version, and the baggage in its metadata."""
    shown = [value for key, value in context.invocation_metadata() if key == "baggage"]
    return json.dumps([graymw.current().version("checkout"), *shown]).encode()


Tell = Callable[[Any], bytes]


class Blocking:
    """Handlers as a blocking server has them."""

    def __init__(self, tell: Tell = told) -> None:
        self.tell = tell

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        if request == b"raise":
            raise LookupError("as asked")
        if request == b"refuse":
            raise graymw.GrayUnavailableError("stock", "v2")
        return self.tell(context)

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(3):
            yield self.tell(context)
            if request == b"refuse":
                raise graymw.GrayUnavailableError("stock", "v2")

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        for _ in requests:
            pass
        return self.tell(context)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for _ in requests:
            yield self.tell(context)


class Asyncio:
    """Handlers as an asyncio server has them: coroutines and asynchronous generators."""

    def __init__(self, tell: Tell = told) -> None:
        self.tell = tell

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        await asyncio.sleep(0)
        if request == b"fail":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        if request == b"raise":
            raise LookupError("as asked")
        if request == b"refuse":
            raise graymw.GrayUnavailableError("stock", "v2")
        return self.tell(context)

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield self.tell(context)
            if request == b"refuse":
                raise graymw.GrayUnavailableError("stock", "v2")

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        async for _ in requests:
            pass
        return self.tell(context)

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Writes rather than yields: a coroutine that streams."""
        async for _ in requests:
            await context.write(self.tell(context))


def generic_handler(behaviours: Any) -> Any:
    handlers = {
        kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(behaviours, kind))
        for kind in KINDS
        if hasattr(behaviours, kind)
    }
    return grpc.method_handlers_generic_handler("shop.Orders", handlers)


@contextmanager
def serving_blocking(settings: Any, *, threads: int = 1, behaviours: Any = None, twice: bool = False) -> Iterator[str]:
    interceptors = [GrayServerInterceptor(settings=settings) for _ in range(1 + twice)]
    server = grpc.server(futures.ThreadPoolExecutor(threads), interceptors=interceptors)
    server.add_generic_rpc_handlers((generic_handler(behaviours or Blocking()),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(5)


@contextmanager
def serving_aio(settings: Any, *, threads: int = 1, behaviours: Any = None, twice: bool = False) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    pool = futures.ThreadPoolExecutor(threads)

    async def start() -> tuple[Any, int]:
        interceptors = [GrayAioServerInterceptor(settings=settings) for _ in range(1 + twice)]
        server = grpc.aio.server(pool, interceptors=interceptors)
        server.add_generic_rpc_handlers((generic_handler(behaviours or Asyncio()),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(10)
        pool.shutdown()  # while the loop runs: grpc's blocking handlers wait for it, and the process for them
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def serving_blocking_handlers_by_aio(settings: Any, **options: Any) -> Any:
    return serving_aio(settings, **{"behaviours": Blocking(), **options})


SERVERS = {
    "blocking": serving_blocking,
    "asyncio": serving_aio,
    "asyncio, blocking handlers": serving_blocking_handlers_by_aio,
}


@pytest.fixture(params=SERVERS, ids=str)
def serving(request: pytest.FixtureRequest) -> Any:
    return SERVERS[request.param]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def fresh_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(tracing, "_known_provider", None)
    monkeypatch.setattr(tracing, "_tracer", None)
    monkeypatch.setattr(tracing, "_callbacks", [])


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()


@pytest.fixture(autouse=True)
def uninstrumented() -> Iterator[None]:
    """What is looked at here is the server; calls are made without us."""
    yield
    graymw.uninstrument()


def call(target: str, kind: str, metadata: Any = (), body: bytes = b"!", count: int = 3) -> list[list[str]]:
    graymw.uninstrument()
    with grpc.insecure_channel(target) as channel:
        send = getattr(channel, kind)(f"/shop.Orders/{kind}")
        sent = iter([body] * count) if kind.startswith("stream") else body
        answer = send(sent, timeout=10, metadata=metadata)
        return [json.loads(each) for each in ([answer] if kind.endswith("unary") else answer)]


def server_spans(exporter: InMemorySpanExporter, count: int = 1) -> list[ReadableSpan]:
    for _ in range(500):
        found = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
        if len(found) >= count:
            return found
        threading.Event().wait(0.01)
    return found


def test_a_call_is_decided_by_its_metadata(serving: Any, kind: str, settings: Any) -> None:
    with serving(settings) as target:
        assert {answer[0] for answer in call(target, kind, TESTER)} == {"v2"}
        assert {answer[0] for answer in call(target, kind)} == {"v1"}
        assert {answer[0] for answer in call(target, kind, (("x-user-id", "40"),))} == {"v2"}


def test_a_call_inherits_what_was_decided_before(serving: Any, kind: str, settings: Any) -> None:
    with serving(settings) as target:
        answers = call(target, kind, GRAY)
    assert answers
    assert all(answer == ["v2", GRAY[0][1]] for answer in answers)


def test_the_application_sees_no_gray_members_that_are_not_trusted(serving: Any, kind: str, settings: Any) -> None:
    with serving({**settings, "trust": "none"}) as target:
        for answer in call(target, kind, GRAY):
            assert answer[0] == "v1"
            assert answer[1].startswith("gray.checkout=v1,gray-rev=")
            assert answer[1].endswith(",userId=7")


def test_all_other_metadata_is_left_as_it_was(serving: Any, settings: Any) -> None:
    seen: list[Any] = []

    class Noting:
        def unary_unary(self, request: bytes, context: Any) -> bytes:
            seen.extend((entry.key, entry.value) for entry in context.invocation_metadata())
            context.set_trailing_metadata((("x-done", "1"),))
            context.set_details("done")
            return b'["-"]'

    with serving(settings, behaviours=Noting()) as target:
        call(target, "unary_unary", (("x-a", "1"), ("x-a", "2"), ("x-bin", b"\x00")))
    assert [value for key, value in seen if key == "x-a"] == ["1", "2"]
    assert ("x-bin", b"\x00") in seen


def test_members_in_other_dialects_are_taken_out_where_a_propagator_may_read_them(serving: Any, settings: Any) -> None:
    seen: list[str] = []

    class Noting:
        def unary_unary(self, request: bytes, context: Any) -> bytes:
            seen.extend(entry.key for entry in context.invocation_metadata())
            return b'["-"]'

    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([]))
    try:
        with serving(settings, behaviours=Noting()) as target:
            call(target, "unary_unary", (("uberctx-gray.checkout", "v9"), ("uberctx-tenant", "t1"), *GRAY))
    finally:
        propagate.set_global_textmap(before)
    assert "uberctx-tenant" in seen
    assert "uberctx-gray.checkout" not in seen


def test_nothing_is_left_over_for_the_next_call_on_the_thread(serving: Any, kind: str, settings: Any) -> None:
    seen: list[Any] = []

    def leaking(context: Any) -> bytes:
        seen.append(otel_context.get_value("leaked"))
        otel_context.attach(otel_context.set_value("leaked", True))
        return told(context)

    behaviours = (Asyncio if serving is serving_aio else Blocking)(leaking)
    with serving(settings, behaviours=behaviours) as target:
        call(target, kind, TESTER, count=1)
        first = len(seen)
        call(target, kind, count=1)
    assert seen == [None, *[True] * (first - 1)] * 2


def test_streams_side_by_side_keep_their_own_context(serving: Any, settings: Any) -> None:
    versions = []
    with serving(settings, threads=4) as target:
        graymw.uninstrument()
        with grpc.insecure_channel(target) as channel:
            send = channel.stream_stream("/shop.Orders/stream_stream")
            requests: list[Queue[bytes | None]] = [Queue(), Queue()]
            answers = [
                send(iter(queue.get, None), metadata=metadata, timeout=10)
                for queue, metadata in zip(requests, (TESTER, ()), strict=True)
            ]
            for _ in range(3):
                for queue, answer in zip(requests, answers, strict=True):
                    queue.put(b"!")
                    versions.append(json.loads(next(answer))[0])
            for queue in requests:
                queue.put(None)
    assert versions == ["v2", "v1"] * 3


@pytest.mark.parametrize("refusing", ["unary_unary", "unary_stream"])
def test_a_call_that_no_instance_may_take_is_unavailable(serving: Any, refusing: str, settings: Any) -> None:
    with serving(settings) as target, pytest.raises(grpc.RpcError) as raised:
        call(target, refusing, body=b"refuse")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
    assert "stock" in raised.value.details()  # type: ignore[attr-defined]


def test_strictly_a_call_meant_for_another_version_is_refused(
    serving: Any, kind: str, settings: Any, spans: InMemorySpanExporter
) -> None:
    seen: list[object] = []

    def tell(context: Any) -> bytes:
        seen.append(context)
        return told(context)

    behaviours = (Asyncio if serving is serving_aio else Blocking)(tell)
    with serving({**settings, "strict": "true"}, behaviours=behaviours) as target:
        with pytest.raises(grpc.RpcError) as raised:
            call(target, kind, GRAY)
        (span,) = server_spans(spans)
        assert not seen
        assert call(target, kind, (("baggage", "gray.checkout=v1"),))
        assert call(target, kind)
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
    assert raised.value.details() == "gray_misdirected: this is v1, the call is for v2"  # type: ignore[attr-defined]
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == 9
    assert span.attributes["gray.honoured"] is False
    assert span.status.status_code.name == "UNSET"


@pytest.mark.parametrize(("body", "code"), [(b"fail", "FAILED_PRECONDITION"), (b"raise", "UNKNOWN")])
def test_errors_of_the_application_are_its_own(serving: Any, body: bytes, code: str, settings: Any) -> None:
    with serving(settings) as target, pytest.raises(grpc.RpcError) as raised:
        call(target, "unary_unary", body=body)
    assert raised.value.code().name == code  # type: ignore[attr-defined]


def test_each_call_has_one_server_span_below_its_caller(
    serving: Any, kind: str, settings: Any, spans: InMemorySpanExporter
) -> None:
    with serving(settings) as target:
        call(target, kind, (*TESTER, *CALLER))
        (span,) = server_spans(spans)
    assert span.name == f"shop.Orders/{kind}"
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == 0
    assert span.attributes["gray.version"] == "v2"
    assert span.attributes["gray.reason"] == "match"
    assert span.attributes["gray.honoured"] is False


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("name", ["blocking", "asyncio"])
def test_with_opentelemetrys_instrumentation_there_is_still_one(
    name: str, order: str, kind: str, settings: Any, spans: InMemorySpanExporter
) -> None:
    if (name, kind) == ("asyncio", "stream_stream"):
        pytest.skip("OpenTelemetry's instrumentation cannot serve coroutines that stream")
    instrumentor = GrpcInstrumentorServer() if name == "blocking" else GrpcAioInstrumentorServer()
    if order == "after":
        GrayServerInterceptor(settings=settings)
    instrumentor.instrument(skip_dep_check=True)
    try:
        with SERVERS[name](settings) as target:
            answers = call(target, kind, (*TESTER, *CALLER))
            (span,) = server_spans(spans)
    finally:
        instrumentor.uninstrument()
    assert {answer[0] for answer in answers} == {"v2"}
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes is not None
    assert span.attributes["gray.version"] == "v2"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name.startswith("opentelemetry.")


def test_a_fault_of_the_application_shows_on_the_span(serving: Any, settings: Any, spans: InMemorySpanExporter) -> None:
    with serving(settings) as target:
        with pytest.raises(grpc.RpcError):
            call(target, "unary_unary", body=b"raise")
        (span,) = server_spans(spans)
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == 2
    assert span.attributes["error.type"] == "UNKNOWN"
    assert span.status.status_code.name == "ERROR"


def test_a_stream_that_the_caller_gives_up_leaves_nothing_open(
    serving: Any, settings: Any, spans: InMemorySpanExporter
) -> None:
    with serving(settings) as target:
        graymw.uninstrument()
        with grpc.insecure_channel(target) as channel:
            requests: Queue[bytes | None] = Queue()
            answers = channel.stream_stream("/shop.Orders/stream_stream")(iter(requests.get, None), metadata=TESTER)
            requests.put(b"!")
            assert json.loads(next(answers))[0] == "v2"
            answers.cancel()
            requests.put(None)
        assert len(server_spans(spans)) == 1
        assert {answer[0] for answer in call(target, "unary_unary")} == {"v1"}


@pytest.mark.parametrize("serving", [serving_blocking, serving_aio])
def test_an_answer_without_end_that_the_caller_gives_up_leaves_no_span_open(
    serving: Any, settings: Any, spans: InMemorySpanExporter
) -> None:
    """Blocking generators of an asyncio server are run to their end by grpc, whoever listens."""

    class Endless:
        def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
            while True:
                yield told(context)

    class EndlessAio:
        async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
            while True:
                yield told(context)
                await asyncio.sleep(0)

    with serving(settings, behaviours=EndlessAio() if serving is serving_aio else Endless()) as target:
        graymw.uninstrument()
        with grpc.insecure_channel(target) as channel:
            answers = channel.unary_stream("/shop.Orders/unary_stream")(b"", metadata=TESTER)
            assert json.loads(next(answers))[0] == "v2"
            answers.cancel()
            (span,) = server_spans(spans)
    assert span.attributes is not None
    assert span.attributes["gray.version"] == "v2"


def test_interceptors_given_twice_decide_once(
    serving: Any, kind: str, settings: Any, spans: InMemorySpanExporter
) -> None:
    with serving(settings, twice=True) as target:
        assert {answer[0] for answer in call(target, kind, TESTER)} == {"v2"}
        assert len(server_spans(spans)) == 1


def test_switched_off_a_server_serves_as_without_us(serving: Any, kind: str, settings: Any) -> None:
    with serving({**settings, "enabled": False}) as target:
        assert all(answer == [None, GRAY[0][1]] for answer in call(target, kind, GRAY))


def test_methods_that_are_not_there_stay_unimplemented(serving: Any, settings: Any) -> None:
    class Nothing:
        pass

    with serving(settings, behaviours=Nothing()) as target, pytest.raises(grpc.RpcError) as raised:
        call(target, "unary_unary")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_a_fault_of_ours_serves_the_call_as_without_us(
    serving: Any, kind: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "admit", lambda *_: 1 / 0)
    with serving(settings) as target:
        assert all(answer == [None, GRAY[0][1]] for answer in call(target, kind, GRAY))
    assert counters.snapshot()["middleware.error"] == 1


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.7:4711", "10.0.0.7"),
        ("ipv6:[fd00::7]:4711", "fd00::7"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv4:10.2.1.1:57284,127.0.0.1:57284", "10.2.1.1"),
        ("unix:/run/x.sock", None),
        ("unix:", None),
        ("unix-abstract:x", None),
        ("", "unknown"),
        ("vsock:2:1024", "2"),
        ("nonsense", "unknown"),
    ],
)
def test_peers_are_read(peer: str, address: str | None) -> None:
    assert peer_address(peer) == address


def test_a_unix_socket_is_inside(settings: Any, tmp_path: Path) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1), interceptors=[GrayServerInterceptor(settings=settings)])
    server.add_generic_rpc_handlers((generic_handler(Blocking()),))
    server.add_insecure_port(f"unix:{tmp_path}/x.sock")
    server.start()
    try:
        assert call(f"unix:{tmp_path}/x.sock", "unary_unary", GRAY) == [["v2", GRAY[0][1]]]
    finally:
        server.stop(None).wait(5)


class TestAccessLog:
    """One line for each call, whatever kind it is of and however it ends."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "access.jsonl"

    def lines(self, path: Path) -> list[dict[str, Any]]:
        bootstrap.shut_down()
        return [json.loads(line) for line in path.read_text().splitlines()]

    def test_tells_method_and_status(self, serving: Any, kind: str, settings: dict[str, object], path: Path) -> None:
        with serving({**settings, "access_log": str(path)}) as target:
            call(target, kind, TESTER)
        (line,) = self.lines(path)
        assert (line["method"], line["path"], line["rpc_status"]) == ("POST", f"/shop.Orders/{kind}", "OK")
        assert (line["version"], line["rule"], line["honoured"]) == ("v2", "testers", False)
        assert "status" not in line

    @pytest.mark.parametrize(
        ("body", "status"), [(b"fail", "FAILED_PRECONDITION"), (b"raise", "UNKNOWN"), (b"refuse", "UNAVAILABLE")]
    )
    def test_tells_how_a_call_failed(
        self, serving: Any, settings: dict[str, object], path: Path, body: bytes, status: str
    ) -> None:
        if serving is serving_blocking_handlers_by_aio and body != b"raise":
            pytest.skip("a handler's thread that aborts waits for the loop, which ends with the server")
        with serving({**settings, "access_log": str(path)}) as target, pytest.raises(grpc.RpcError):
            call(target, "unary_unary", TESTER, body)
        (line,) = self.lines(path)
        assert line["rpc_status"] == status
        assert "status" not in line
