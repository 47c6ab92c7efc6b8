"""gRPC calls to instances that nobody listens at: all four kinds, blocking and asyncio."""

# ruff: noqa: F401, F811 - fixtures come from the modules beside this one

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from waiting import eventually

from graymw.clients.grpc import GrayClientInterceptor, aio_client_interceptors
from graymw.clients.grpc.rewinding import KEPT, AsyncRewindable, Rewindable
from graymw.runtime import counters
from graymw.runtime.engine import Engine

from .conftest import GRAY, carrying, covering, engine_of
from .grpc_servers import Sent, Shop, method, shop
from .test_grpc import Blocking, covered, kind, stub
from .test_retrying import dead, dead_too, idle


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    yield
    assert not any(name.startswith(("client.", "outbound.error")) for name in counters.snapshot())


@pytest.fixture
def sibling() -> Iterator[Shop]:
    with shop("sibling") as told:
        yield told


@pytest.fixture
def stable() -> Iterator[Shop]:
    with shop("v1") as told:
        yield told


def orders(**versions: list[str]) -> dict[str, list[dict[str, Any]]]:
    return {
        "orders": [
            {"url": f"grpc://{each}", "version": version} for version, found in versions.items() for each in found
        ]
    }


def test_a_call_that_finds_no_connection_goes_to_a_sibling(
    stub: Blocking,
    kind: str,
    covered: str,
    dead: str,
    sibling: Shop,
) -> None:
    engine = engine_of(orders(v2=[dead, sibling.authority]), balancer="least-request")
    with carrying(engine):
        for _ in range(6):
            assert stub.call("orders", kind) == b"sibling!"
    assert [Sent(each).one("baggage") for each in sibling.arrived] == [GRAY] * 6
    assert set(sibling.authorities) == {"orders"}
    assert counters.snapshot().get("retry.sent", 0) == counters.snapshot().get("ejected", 0) <= 1
    eventually(lambda: idle(engine))


def test_a_version_whose_instances_are_all_gone_falls_back_and_that_shows(
    stub: Blocking,
    kind: str,
    covered: str,
    dead: str,
    dead_too: str,
    stable: Shop,
    spans: InMemorySpanExporter,
) -> None:
    engine = engine_of(orders(v1=[stable.authority], v2=[dead, dead_too]))
    with carrying(engine):
        assert stub.call("orders", kind) == b"v1!"
    eventually(lambda: [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT])
    assert counters.snapshot()["retry.sent"] == 2
    assert counters.snapshot()["fallback.stable"] == 1
    if covered == "alone":
        made = [span.attributes or {} for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
        eventually(lambda: len(spans.get_finished_spans()) == 3)
        made = [span.attributes or {} for span in spans.get_finished_spans()]
        assert [each.get("rpc.grpc.status_code") for each in made] == [14, 14, 0]
        assert [each.get("gray.retried") for each in made] == [None, True, True]
        assert made[-1]["gray.fallback"] == "stable"


def test_without_a_budget_the_error_is_grpcs(
    stub: Blocking,
    kind: str,
    covered: str,
    dead: str,
) -> None:
    engine = engine_of(orders(v2=[dead]), retry_budget="0%", balancer="least-request")
    for _ in range(2):
        with carrying(engine), pytest.raises(grpc.RpcError) as raised:
            stub.call("orders", kind)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
    assert counters.snapshot()["retry.refused"] == 2
    eventually(lambda: idle(engine))


def test_what_is_not_gray_is_never_tried_at_a_gray_instance(
    stub: Blocking,
    kind: str,
    dead: str,
    sibling: Shop,
) -> None:
    engine = engine_of(orders(v1=[dead], v2=[sibling.authority]), fallback="any")
    with covering("alone"):
        for _ in range(2):
            with carrying(engine, "v1"), pytest.raises(grpc.RpcError):
                stub.call("orders", kind)
    assert not sibling.arrived


def test_a_call_that_was_answered_is_not_tried_again(
    stub: Blocking,
    kind: str,
    covered: str,
    sibling: Shop,
    stable: Shop,
) -> None:
    engine = engine_of(orders(v2=[sibling.authority, stable.authority]))
    with carrying(engine), pytest.raises(grpc.RpcError):
        stub.call("orders", kind, b"fail")
    assert len(sibling.arrived) + len(stable.arrived) == 1
    assert not {"retry.sent", "ejected"} & set(counters.snapshot())


class TestCalls:
    @pytest.fixture
    def failing_first(self, dead: str, sibling: Shop) -> Iterator[Engine]:
        """A gray request, whose first instance is dead whatever is drawn."""
        engine = engine_of(orders(v1=[sibling.authority], v2=[dead]), balancer="least-request")
        with covering("alone"), carrying(engine):
            yield engine
        eventually(lambda: idle(engine))

    def test_with_call_tells_of_the_one_that_answered(self, failing_first: Engine) -> None:
        with grpc.insecure_channel("orders") as channel:
            answer, call = channel.unary_unary(method("unary_unary")).with_call(b"!", timeout=10)
        assert answer == b"sibling!"
        assert call.code() is grpc.StatusCode.OK

    def test_a_blocking_stream_answers_for_the_instance_that_took_it(self, failing_first: Engine) -> None:
        told = threading.Event()
        with grpc.insecure_channel("orders") as channel:
            call: Any = channel.stream_stream(method("stream_stream"))(iter([b"a", b"b"]), timeout=10)
            assert call.add_callback(told.set)
            assert call.initial_metadata() is not None
            assert list(call) == [b"sibling", b"a", b"b"]
            assert call.code() is grpc.StatusCode.OK
            assert call.details() == ""
            assert call.exception() is None
            assert call.trailing_metadata() is not None
            assert told.wait(5)
            assert not call.add_callback(told.set)
            assert (call.done(), call.running(), call.cancelled(), call.is_active()) == (True, False, False, False)
            assert isinstance(call, (grpc.Call, grpc.Future))

    def test_a_future_answers_for_the_instance_that_took_it(self, failing_first: Engine) -> None:
        done = threading.Event()
        with grpc.insecure_channel("orders") as channel:
            one: Any = channel.unary_unary(method("unary_unary")).future(b"!", timeout=10)
            one.add_done_callback(lambda each: done.set() if each is one else None)
            assert one.result() == b"sibling!"
            assert done.wait(5)
            assert one.code() is grpc.StatusCode.OK
            many = channel.stream_unary(method("stream_unary")).future(iter([b"a", b"b"]), timeout=10)
            assert many.result(timeout=10) == b"siblingab"
            assert many.traceback() is None

    def test_a_future_that_fails_raises_grpcs_error(self, dead: str) -> None:
        engine = engine_of(orders(v2=[dead]), balancer="least-request")
        with covering("alone"), carrying(engine), grpc.insecure_channel("orders") as channel:
            call: Any = channel.unary_unary(method("unary_unary")).future(b"!", timeout=10)
            with pytest.raises(grpc.RpcError):
                call.result()
            assert call.exception().code() is grpc.StatusCode.UNAVAILABLE
            assert call.code() is grpc.StatusCode.UNAVAILABLE
        eventually(lambda: idle(engine))

    @pytest.mark.parametrize("style", ["blocking", "asyncio"])
    def test_a_fault_of_ours_while_trying_again_leaves_grpcs_error(
        self,
        style: str,
        dead: str,
        sibling: Shop,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def blocking() -> None:
            with grpc.insecure_channel("orders") as channel:
                list(channel.unary_stream(method("unary_stream"))(b"!", timeout=10))

        async def run() -> None:
            async with grpc.aio.insecure_channel("orders") as channel:
                await channel.unary_unary(method("unary_unary"))(b"!", timeout=10)

        engine = engine_of(orders(v1=[sibling.authority], v2=[dead]), balancer="least-request")
        monkeypatch.setattr(engine.directory.budget, "take", lambda: 1 / 0)
        with covering("alone"), carrying(engine), pytest.raises(grpc.RpcError):
            blocking() if style == "blocking" else asyncio.run(run())
        assert counters.snapshot()["client.error"] == 1
        counters.reset()
        eventually(lambda: idle(engine))

    def test_a_blocking_stream_can_be_cancelled(self, failing_first: Engine) -> None:
        go_on = threading.Event()

        def requests() -> Iterator[bytes]:
            yield b"a"
            go_on.wait(10)

        with grpc.insecure_channel("orders") as channel:
            call: Any = channel.stream_stream(method("stream_stream"))(requests())
            assert next(call) == b"sibling"
            call.cancel()
            with pytest.raises(grpc.RpcError) as raised:
                list(call)
            assert raised.value.code() is grpc.StatusCode.CANCELLED  # type: ignore[attr-defined]
            go_on.set()

    def test_an_asyncio_call_answers_for_the_instance_that_took_it(self, failing_first: Engine) -> None:
        async def run() -> None:
            done: list[Any] = []
            async with grpc.aio.insecure_channel("orders") as channel:
                call: Any = channel.unary_unary(method("unary_unary"))(b"!", timeout=10)
                call.add_done_callback(done.append)
                assert await call.code() is grpc.StatusCode.OK
                assert await call == await call == b"sibling!"
                assert await call.initial_metadata() is not None
                assert await call.trailing_metadata() is not None
                assert await call.details() == ""
                assert (call.done(), call.cancelled()) == (True, False)
                assert call.time_remaining() is not None
                call.add_done_callback(done.append)
                assert done == [call, call]
                assert isinstance(call, grpc.aio.UnaryUnaryCall)

        asyncio.run(run())

    def test_an_asyncio_stream_is_read_in_either_way(self, failing_first: Engine) -> None:
        async def run() -> None:
            async with grpc.aio.insecure_channel("orders") as channel:
                send = channel.unary_stream(method("unary_stream"))
                call: Any = send(b"!", timeout=10)
                assert await call.read() == b"sibling"
                assert await call.read() == b"!"
                assert await call.read() is grpc.aio.EOF
                assert [part async for part in send(b"!", timeout=10)] == [b"sibling", b"!"]

        asyncio.run(run())

    def test_requests_written_by_hand_are_not_sent_again(self, dead: str) -> None:
        async def run() -> None:
            async with grpc.aio.insecure_channel("orders") as channel:
                call: Any = channel.stream_unary(method("stream_unary"))(timeout=10)
                await call.write(b"x")
                await call.done_writing()
                await call

        engine = engine_of(orders(v2=[dead]))
        with covering("alone"), carrying(engine), pytest.raises(grpc.RpcError):
            asyncio.run(run())
        assert "retry.sent" not in counters.snapshot()

    def test_requests_written_by_hand_go_out(self, sibling: Shop) -> None:
        async def run() -> list[Any]:
            async with grpc.aio.insecure_channel("orders") as channel:
                call: Any = channel.stream_stream(method("stream_stream"))(timeout=10)
                await call.write(b"x")
                first = [await call.read(), await call.read()]
                await call.done_writing()
                return [*first, await call.read()]

        engine = engine_of(orders(v2=[sibling.authority]))
        with covering("alone"), carrying(engine):
            assert asyncio.run(run()) == [b"sibling", b"x", grpc.aio.EOF]

    def test_a_cancelled_asyncio_call_is_over(self, sibling: Shop) -> None:
        async def forever() -> Any:
            yield b"a"
            await asyncio.Event().wait()

        async def run() -> None:
            async with grpc.aio.insecure_channel("orders") as channel:
                call: Any = channel.stream_unary(method("stream_unary"))(forever())
                task = asyncio.ensure_future(_awaited(call))
                eventually_arrived = asyncio.to_thread(eventually, lambda: sibling.arrived)
                await eventually_arrived
                assert not idle(engine)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert call.cancelled()

        engine = engine_of(orders(v2=[sibling.authority]), balancer="least-request")
        with covering("alone"), carrying(engine):
            asyncio.run(run())
        eventually(lambda: idle(engine))
        assert not engine.directory.health.records


async def _awaited(call: Any) -> Any:
    return await call


@pytest.mark.parametrize("style", ["blocking", "asyncio"])
def test_what_an_interceptor_sees_on_a_channel_of_somebody_elses_says_nothing_of_instances(
    style: str,
    dead: str,
    sibling: Shop,
) -> None:
    def blocking() -> None:
        with grpc.insecure_channel(dead, [("grpc.default_authority", "orders")]) as channel:
            intercepted = grpc.intercept_channel(channel, GrayClientInterceptor("orders"))
            intercepted.unary_unary(method("unary_unary"))(b"!", timeout=5)

    async def run() -> None:
        interceptors = aio_client_interceptors("orders")
        async with grpc.aio.insecure_channel(dead, interceptors=interceptors) as channel:
            await channel.unary_unary(method("unary_unary"))(b"!", timeout=5)

    engine = engine_of(orders(v2=[sibling.authority]), balancer="least-request")
    with carrying(engine):
        for _ in range(6):
            with pytest.raises(grpc.RpcError):
                blocking() if style == "blocking" else asyncio.run(run())
    assert not engine.directory.health.records
    assert idle(engine)


class TestRewinding:
    def test_requests_are_read_once_and_again_from_the_start(self) -> None:
        source = iter(range(3))
        found = Rewindable(source)
        first = found.read()
        assert [next(first), next(first)] == [0, 1]
        assert list(found.read()) == [0, 1, 2]
        assert found.replayable

    def test_a_reader_given_up_in_the_middle_of_a_step_loses_nothing(self) -> None:
        go_on = threading.Event()

        def requests() -> Iterator[int]:
            assert go_on.wait(5)
            yield 0
            yield 1

        found = Rewindable(requests())
        old, new = found.read(), found.read()
        taken: list[int] = []
        threads = [
            threading.Thread(target=lambda: taken.append(next(old))),
            threading.Thread(target=lambda: taken.extend(new)),
        ]
        for each in threads:
            each.start()
        go_on.set()
        for each in threads:
            each.join(5)
        assert sorted(taken) == [0, 0, 1]

    def test_only_a_few_are_kept(self) -> None:
        found = Rewindable(iter(range(KEPT + 1)))
        assert list(found.read()) == list(range(KEPT + 1))
        assert not found.replayable

    @pytest.mark.parametrize("asynchronous", [True, False])
    def test_asyncio_reads_alike(self, asynchronous: bool) -> None:
        async def requests() -> Any:
            for number in range(3):
                yield number

        async def run() -> None:
            found = AsyncRewindable(requests() if asynchronous else [0, 1, 2])
            first = found.read()
            assert [await anext(first), await anext(first)] == [0, 1]
            assert [each async for each in found.read()] == [0, 1, 2]
            assert found.replayable
            many = AsyncRewindable(range(KEPT + 1))
            assert [each async for each in many.read()] == list(range(KEPT + 1))
            assert not many.replayable

        asyncio.run(run())
