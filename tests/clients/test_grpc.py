"""gRPC: all four kinds of calls, blocking and asyncio, with and without OpenTelemetry's instrumentation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import _channel
from grpc import insecure_channel as imported_by_name
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from graymw.clients import grpc as adapter
from graymw.clients.grpc import planning
from graymw.clients.grpc.targets import parse_target
from graymw.errors import GrayUnavailableError
from graymw.runtime import counters
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine

from .conftest import APPLICATION, GRAY, MODES, carrying, covering, engine_of
from .grpc_servers import KINDS, Sent, Shop, method, shop

BOTH = f"{GRAY},{APPLICATION}"
BINARY = (("trace-bin", b"\x00\xff"), ("x-two", "1"), ("x-two", "2"))


@pytest.fixture
def stable() -> Iterator[Shop]:
    with shop("v1") as told:
        yield told


@pytest.fixture
def canary() -> Iterator[Shop]:
    with shop("v2") as told:
        yield told


@pytest.fixture
def engine(stable: Shop, canary: Shop) -> Engine:
    return engine_of(
        {
            "orders": [
                {"url": f"grpc://{stable.authority}", "version": "v1"},
                {"url": f"grpc://{canary.authority}", "version": "v2"},
            ]
        }
    )


class Blocking:
    """Calls over a blocking channel."""

    instrumentor = GrpcInstrumentorClient
    name = "blocking"

    def call(self, target: str, kind: str, body: bytes = b"!", *, make: Any = None, **given: Any) -> bytes:
        with (make or grpc.insecure_channel)(target) as channel:
            send = getattr(channel, kind)(method(kind))
            sent = iter([body]) if kind.startswith("stream") else body
            answer = send(sent, timeout=10, **given)
            return answer if kind.endswith("unary") else b"".join(answer)

    def insecure(self, *args: Any) -> Any:
        return adapter.insecure_channel(*args)


class Asyncio(Blocking):
    """Calls over an asyncio channel."""

    instrumentor = GrpcAioInstrumentorClient
    name = "asyncio"

    def call(self, target: str, kind: str, body: bytes = b"!", *, make: Any = None, **given: Any) -> bytes:
        async def run() -> bytes:
            async with (make or grpc.aio.insecure_channel)(target) as channel:
                send = getattr(channel, kind)(method(kind))
                sent = _once(body) if kind.startswith("stream") else body
                call = send(sent, timeout=10, **given)
                return await call if kind.endswith("unary") else b"".join([part async for part in call])

        return asyncio.run(run())

    def insecure(self, *args: Any) -> Any:
        return adapter.aio_insecure_channel(*args)


async def _once(body: bytes) -> Any:
    yield body


@pytest.fixture(params=[Blocking(), Asyncio()], ids=lambda each: each.name)
def stub(request: pytest.FixtureRequest) -> Blocking:
    each: Blocking = request.param
    return each


@pytest.fixture(params=MODES)
def covered(request: pytest.FixtureRequest, stub: Blocking) -> Iterator[str]:
    with covering(request.param, stub.instrumentor()):
        yield request.param


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def no_faults() -> Any:
    yield
    assert not any(name.startswith(("client.", "outbound.error")) for name in counters.snapshot())


def test_a_call_inside_carries_the_decision_first_and_once(
    stub: Blocking, kind: str, covered: str, gray: Carried, stable: Shop
) -> None:
    assert stub.call(stable.authority, kind) == b"v1!"
    assert stable.only().one("baggage") == BOTH


def test_a_service_name_goes_to_an_instance_of_the_decided_version(
    stub: Blocking, kind: str, covered: str, gray: Carried, canary: Shop
) -> None:
    assert stub.call("orders", kind) == b"v2!"
    assert canary.only().one("baggage") == BOTH


def test_undecided_calls_go_to_a_stable_instance(stub: Blocking, kind: str, covered: str, engine: Engine) -> None:
    assert stub.call("orders:50051", kind) == b"v1!"


@pytest.mark.parametrize("mode", MODES)
def test_a_call_to_a_stranger_carries_the_applications_baggage_only(
    mode: str, stub: Blocking, kind: str, gray: Carried, stable: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolved(target: str) -> str:
        return stable.authority if target == "api.example.com:443" else target

    blocking, asynchronous = _channel.Channel, grpc.aio.insecure_channel
    monkeypatch.setattr(_channel, "Channel", lambda target, *rest: blocking(resolved(target), *rest))
    monkeypatch.setattr(grpc.aio, "insecure_channel", lambda target, **given: asynchronous(resolved(target), **given))
    with covering(mode, stub.instrumentor()):
        assert stub.call("api.example.com:443", kind) == b"v1!"
    assert stable.only().one("baggage") == APPLICATION


def test_all_other_metadata_is_left_as_it_was(
    stub: Blocking, kind: str, covered: str, gray: Carried, canary: Shop
) -> None:
    stub.call("orders", kind, metadata=BINARY)
    assert canary.only().all("trace-bin") == [b"\x00\xff"]
    if covered == "alone" or stub.name == "asyncio":
        assert canary.only().all("x-two") == ["1", "2"]
    assert canary.only().one("baggage") == BOTH


def test_baggage_of_the_application_stays_one_entry(stub: Blocking, kind: str, gray: Carried, canary: Shop) -> None:
    with covering("alone"):
        stub.call("orders", kind, metadata=(("baggage", "tenant=acme"), ("baggage", "a=1")))
    assert canary.only().one("baggage") == f"{GRAY},tenant=acme,a=1,{APPLICATION}"


def test_each_call_has_one_client_span_that_the_server_sees_as_its_caller(
    stub: Blocking, kind: str, covered: str, gray: Carried, canary: Shop, spans: InMemorySpanExporter
) -> None:
    stub.call("orders", kind)
    (span,) = (each for each in _finished(spans) if each.kind is SpanKind.CLIENT)
    assert canary.only().one("traceparent").split("-")[2] == f"{span.context.span_id:016x}"
    assert span.attributes["rpc.system"] == "grpc"
    assert span.attributes["rpc.grpc.status_code"] == 0
    assert span.status.status_code.name == "UNSET"


def _finished(spans: InMemorySpanExporter) -> Any:
    for _ in range(500):
        if spans.get_finished_spans():
            break
        threading.Event().wait(0.01)
    return spans.get_finished_spans()


def test_errors_are_grpcs_own_and_show_on_the_span(
    stub: Blocking, kind: str, covered: str, gray: Carried, spans: InMemorySpanExporter
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.call("orders", kind, b"fail")
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
    (span,) = (each for each in _finished(spans) if each.kind is SpanKind.CLIENT)
    assert span.attributes["rpc.grpc.status_code"] == 9
    assert span.status.status_code.name == "ERROR"
    if span.instrumentation_scope.name == "graymw":
        assert span.attributes["error.type"] == "FAILED_PRECONDITION"
        assert span.status.description == "as asked"


def test_a_refusing_release_raises_what_says_so(stub: Blocking, kind: str, covered: str, stable: Shop) -> None:
    engine = engine_of({"orders": [{"url": f"grpc://{stable.authority}", "version": "v1"}]}, fallback="refuse")
    with carrying(engine), pytest.raises(GrayUnavailableError, match="orders"):
        stub.call("orders", kind)
    assert not stable.arrived


def test_channels_and_functions_imported_before_are_covered(gray: Carried) -> None:
    with covering("alone"), imported_by_name("orders") as channel:
        assert channel.unary_unary(method("unary_unary"))(b"!") == b"v2!"


@pytest.mark.parametrize("covered_too", [False, True])
def test_explicit_channels_need_no_instrumenting_and_plan_once(
    covered_too: bool, stub: Blocking, kind: str, gray: Carried, canary: Shop, planned: list[str]
) -> None:
    with covering("alone") if covered_too else nullcontext():
        assert stub.call("orders", kind, make=stub.insecure) == b"v2!"
    assert canary.only().one("baggage") == BOTH
    assert planned == ["orders"]


@pytest.mark.parametrize("covered_too", [False, True])
def test_explicit_interceptors_carry_and_plan_once(
    covered_too: bool, stub: Blocking, kind: str, gray: Carried, stable: Shop, planned: list[str],
    spans: InMemorySpanExporter,
) -> None:  # fmt: skip
    def blocking(target: str) -> Any:
        return grpc.intercept_channel(grpc.insecure_channel(target), adapter.GrayClientInterceptor(target))

    def asynchronous(target: str) -> Any:
        return grpc.aio.insecure_channel(target, interceptors=adapter.aio_client_interceptors(target))

    with covering("alone") if covered_too else nullcontext():
        answer = stub.call(stable.authority, kind, make=asynchronous if stub.name == "asyncio" else blocking)
    assert answer == b"v1!"
    assert stable.only().one("baggage") == BOTH
    assert planned == ["127.0.0.1"]
    (span,) = _finished(spans)
    assert span.attributes["rpc.grpc.status_code"] == 0


def test_an_interceptor_above_leaves_the_way_to_the_channel(gray: Carried, canary: Shop, planned: list[str]) -> None:
    with covering("alone"), grpc.insecure_channel("orders") as channel:
        intercepted = grpc.intercept_channel(channel, adapter.GrayClientInterceptor("orders"))
        assert intercepted.unary_unary(method("unary_unary"))(b"!") == b"v2!"
    assert canary.only().one("baggage") == BOTH
    assert planned == ["orders"]


def test_futures_and_calls_are_what_they_were(gray: Carried, canary: Shop) -> None:
    with covering("alone"), grpc.insecure_channel("orders") as channel:
        send = channel.unary_unary(method("unary_unary"))
        assert send.future(b"!", timeout=5).result() == b"v2!"
        answer, call = send.with_call(b"!", 5, (("x-a", "1"),))
        assert answer == b"v2!"
        assert call.code() is grpc.StatusCode.OK
        stream = channel.stream_unary(method("stream_unary"))
        assert stream.future(iter([b"a", b"b"])).result() == b"v2ab"
        assert stream.with_call(iter([b"a"]))[0] == b"v2a"
        assert isinstance(send, grpc.UnaryUnaryMultiCallable)
    assert {Sent(each).one("baggage") for each in canary.arrived} == {BOTH}


def test_serializers_and_deserializers_are_used(gray: Carried) -> None:
    with covering("alone"), grpc.insecure_channel("orders") as channel:
        send = channel.unary_unary(
            method("unary_unary"), request_serializer=str.encode, response_deserializer=bytes.decode
        )
        assert send("!") == "v2!"


def test_one_channel_goes_where_each_call_was_decided(engine: Engine) -> None:
    with covering("alone"), grpc.insecure_channel("orders") as channel:
        send = channel.unary_unary(method("unary_unary"))
        for version in ("v2", "v1", "v2"):
            with carrying(engine, version):
                assert send(b"") == version.encode()
        assert len(channel.instances._known) == 2


def test_tasks_on_one_channel_mix_up_nothing(engine: Engine) -> None:
    async def one(send: Any, number: int) -> tuple[str, bytes]:
        version = "v2" if number % 3 == 0 else "v1"
        with carrying(engine, version, f"n={number}"):
            return version, await send(b"")

    async def run() -> Any:
        async with grpc.aio.insecure_channel("orders") as channel:
            send = channel.unary_unary(method("unary_unary"))
            return await asyncio.gather(*(one(send, number) for number in range(60)))

    with covering("alone"):
        assert all(served == wanted.encode() for wanted, served in asyncio.run(run()))


def test_closing_a_channel_closes_those_to_instances(gray: Carried) -> None:
    with covering("alone"):
        with grpc.insecure_channel("orders") as channel:
            send = channel.unary_unary(method("unary_unary"))
            send(b"")
            (inner,) = (entry[0] for entry in channel.instances._known.values())
        with pytest.raises(ValueError, match="closed"):
            inner.unary_unary(method("unary_unary"))(b"")


def test_channels_to_instances_that_are_long_gone_are_given_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MAX_INSTANCES", 1)
    with covering("alone"), grpc.insecure_channel("orders") as channel:
        send = channel.unary_unary(method("unary_unary"))
        for version in ("v1", "v2", "v1"):
            with carrying(engine, version):
                assert send(b"") == version.encode()
            assert len(channel.instances._known) == 1


def test_waiting_until_a_channel_is_ready_waits_for_an_instance(engine: Engine) -> None:
    async def ready() -> grpc.ChannelConnectivity:
        async with grpc.aio.insecure_channel("orders") as channel:
            await asyncio.wait_for(channel.channel_ready(), 10)
            return channel.get_state()

    with covering("alone"):
        with grpc.insecure_channel("orders") as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
        assert asyncio.run(ready()) is grpc.ChannelConnectivity.READY


def test_tls_verifies_the_logical_name(stub: Blocking, kind: str, certificate: Path) -> None:
    with shop("secure", certificate) as told:
        engine = engine_of({"orders": [{"url": f"grpcs://{told.authority}", "version": "v2"}]})
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())

        def secure(target: str) -> Any:
            library = grpc.aio if stub.name == "asyncio" else grpc
            return library.secure_channel(target, credentials)

        with covering("alone"), carrying(engine):
            assert stub.call("orders:443", kind, make=secure) == b"secure!"
        engine = engine_of({"payments": [{"url": f"grpcs://{told.authority}", "version": "v2"}]})
        with covering("alone"), carrying(engine), pytest.raises(grpc.RpcError):
            stub.call("payments", kind, make=secure)
        assert told.only().one("baggage") == GRAY


def test_an_instance_over_tls_is_spoken_to_over_tls(stub: Blocking, certificate: Path) -> None:
    with shop("secure", certificate) as told:
        engine = engine_of({"orders": [{"url": f"grpcs://{told.authority}", "version": "v2"}]})
        with covering("alone"), carrying(engine), pytest.raises(grpc.RpcError) as raised:
            stub.call("orders", "unary_unary")
        assert "certificate" in str(raised.value).lower()
        assert not told.arrived


def test_the_server_is_told_the_logical_authority(stub: Blocking, kind: str, gray: Carried, canary: Shop) -> None:
    with covering("alone"):
        stub.call("orders", kind)
        stub.call("dns:///orders:50051", kind)
    assert canary.authorities == ["orders", "orders:50051"]


def test_options_of_the_application_come_first() -> None:
    given = planning.instance_options((("grpc.default_authority", "named"),), parse_target("orders"), secure=True)
    assert dict(given) == {
        "grpc.default_authority": "named",
        "grpc.enable_http_proxy": 0,
        "grpc.max_reconnect_backoff_ms": 5_000,
        "grpc.ssl_target_name_override": "orders",
    }


def test_a_fault_of_ours_lets_the_call_out_as_it_was(
    stub: Blocking, kind: str, gray: Carried, stable: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with covering("alone"):
        monkeypatch.setattr(planning, "_baggage", lambda *_: 1 / 0)
        assert stub.call(stable.authority, kind) == b"v1!"
    assert stable.only().one("baggage") is None
    assert counters.snapshot()["client.error"] == 1
    counters.reset()


@pytest.mark.parametrize(
    ("target", "host", "port", "authority"),
    [
        ("orders", "orders", None, "orders"),
        ("Orders:50051", "orders", 50051, "Orders:50051"),
        ("dns:orders:50051", "orders", 50051, "orders:50051"),
        ("dns:///orders:50051", "orders", 50051, "orders:50051"),
        ("dns://8.8.8.8/orders", "orders", None, "orders"),
        ("ipv4:10.0.0.7:1,10.0.0.8:2", "10.0.0.7", 1, "10.0.0.7:1"),
        ("ipv6:[fd00::7]:1", "fd00::7", 1, "[fd00::7]:1"),
        ("[::1]:1", "::1", 1, "[::1]:1"),
        ("::1", "::1", None, "::1"),
        ("unix:/run/x.sock", "localhost", None, "localhost"),
        ("unix:///run/x.sock", "localhost", None, "localhost"),
        ("unix-abstract:x", "localhost", None, "localhost"),
        ("passthrough:///api.example.com:443", "api.example.com", 443, "api.example.com:443"),
        ("xds:///orders", "orders", None, "orders"),
        ("orders:http", "orders", None, "orders:http"),
        ("", "", None, ""),
    ],
)
def test_targets_are_taken_apart(target: str, host: str, port: int | None, authority: str) -> None:
    assert parse_target(target) == (host, port, authority)
