from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

import graymw
from graymw.messaging import consuming, inject
from graymw.runtime import counters
from graymw.runtime.engine import Engine

Process = Callable[..., Engine]
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
GRAY = {"baggage": "gray.checkout=v2,gray-rev=abcdef01,userId=alice", "traceparent": CALLER}
TRACER = TracerProvider().get_tracer("test")


def test_a_message_carries_the_decision_of_who_sends_it(process: Process) -> None:
    process()
    headers: dict[str, Any] = {"kind": "order", "retries": 3}
    with graymw.use("checkout", "v2"):
        inject(headers)
    assert headers.pop("baggage").startswith("gray.checkout=v2")
    assert headers == {"kind": "order", "retries": 3}
    headers = {}
    with graymw.use("checkout", "v2"):
        inject(headers)
    with consuming(headers) as gray:
        assert gray.version("checkout") == "v2"


def test_its_consumer_works_under_that_decision_and_only_for_that_message(process: Process) -> None:
    process()
    with consuming(GRAY) as gray:
        assert gray == graymw.current()
        assert gray.decisions["checkout"].reason == "inherited"
        assert baggage.get_baggage("userId") == "alice"
    assert not graymw.current()


def test_so_do_asynchronous_consumers(process: Process) -> None:
    process()

    async def work(version: str) -> str | None:
        async with consuming({"baggage": f"gray.checkout={version}"}):
            await asyncio.sleep(0)
            return graymw.current().version("checkout")

    async def both() -> list[str | None]:
        return list(await asyncio.gather(work("v2"), work("v3")))

    assert asyncio.run(both()) == ["v2", "v3"]


@pytest.mark.parametrize("headers", [[("baggage", b"gray.checkout=v2")], {"Baggage": "gray.checkout=v2"}])
def test_headers_are_read_as_libraries_give_them(process: Process, headers: Any) -> None:
    process()
    with consuming(headers):
        assert graymw.current().version("checkout") == "v2"


def test_a_message_without_a_decision_is_undecided_whatever_surrounds_its_work(process: Process) -> None:
    process({"rules": [{"use": "v2"}]})
    with graymw.use("checkout", "v2"), consuming(None) as gray:
        assert not gray
        assert not graymw.current()


def test_what_is_sent_on_carries_the_application_s_baggage_unharmed(process: Process) -> None:
    process()
    headers: dict[str, Any] = {}
    with consuming({"baggage": "gray.checkout=v2,userId=al%20ice;p=1"}):
        inject(headers)
    assert headers["baggage"] == "gray.checkout=v2,userId=al%20ice;p=1"


def test_a_decision_on_the_message_already_gives_way_to_that_of_the_work(process: Process) -> None:
    process()
    headers: dict[str, Any] = {"Baggage": "gray.checkout=v9,a=1"}
    with consuming({"baggage": "gray.checkout=v2"}):
        inject(headers)
    assert headers == {"baggage": "gray.checkout=v2,a=1"}


def test_the_trace_goes_on_without_an_instrumentation(process: Process) -> None:
    process()
    headers: dict[str, Any] = {}
    with consuming(GRAY):
        inject(headers)
        assert f"{trace.get_current_span().get_span_context().span_id:016x}" == CALLER.split("-")[2]
    assert headers["traceparent"] == CALLER


def test_a_trace_that_an_instrumentation_wrote_stays(process: Process) -> None:
    process()
    headers: dict[str, Any] = {"traceparent": "theirs"}
    with consuming(GRAY):
        inject(headers)
    assert headers["traceparent"] == "theirs"


def test_the_consumer_span_of_an_instrumentation_tells_the_decision_and_stays_current(process: Process) -> None:
    process(version="v2")
    with TRACER.start_as_current_span("run", kind=SpanKind.CONSUMER) as span, consuming(GRAY):
        assert trace.get_current_span() is span
        told = dict(span.attributes)  # type: ignore[attr-defined]
    assert told["gray.version"] == "v2"
    assert told["gray.honoured"] is True


def test_nobody_s_word_counts_at_an_edge(process: Process) -> None:
    process(trust="none")
    with consuming(GRAY) as gray:
        assert not gray
        assert baggage.get_all() == {"userId": "alice"}
    assert counters.snapshot()["baggage.untrusted.edge"] == 1


def test_where_signatures_are_asked_for_they_are_written_and_verified(process: Process) -> None:
    process(trust="signed", secret="s" * 32)
    headers: dict[str, Any] = {}
    with graymw.use("checkout", "v2"):
        inject(headers)
    with consuming(headers) as gray:
        assert gray.version("checkout") == "v2"
    with consuming({"baggage": headers["baggage"].replace("v2", "v3")}) as gray:
        assert not gray


class TestSignatures:
    """Instrumentations of OpenTelemetry write baggage over ours, of the same members but without the signature."""

    @pytest.fixture
    def signed(self, process: Process) -> dict[str, Any]:
        process(trust="signed", secret="s" * 32)
        headers: dict[str, Any] = {}
        with graymw.use("checkout", "v2"):
            inject(headers)
        return headers

    def test_baggage_written_over_ours_is_still_believed(self, process: Process) -> None:
        process(trust="signed", secret="s" * 32)
        headers: dict[str, Any] = {}
        with graymw.use("checkout", "v2"):
            inject(headers)
            propagate.inject(headers)
        assert "gray-sig" not in headers["baggage"]
        with consuming(headers) as gray:
            assert gray.version("checkout") == "v2"

    def test_other_members_are_not(self, signed: dict[str, Any]) -> None:
        for other in ("gray.checkout=v3", "gray.checkout=v2,gray.search=v2", "gray.search=v2"):
            with consuming({**signed, "baggage": other}) as gray:
                assert not gray

    def test_a_signature_s_header_can_not_stand_for_members(self, signed: dict[str, Any]) -> None:
        revision = re.search("gray-rev=[0-9a-f]+", signed["baggage"])
        assert revision is not None
        smuggled = f"{signed['gray-sig']},gray.checkout=v2,{revision[0]}"
        for members in ("gray.search=v2", revision[0]):
            with consuming({"baggage": members, "gray-sig": smuggled}) as gray:
                assert not gray

    def test_one_that_was_forwarded_is_replaced(self, signed: dict[str, Any]) -> None:
        forwarded = {**signed, "gray-sig": "1.forged"}
        with graymw.use("checkout", "v3"):
            inject(forwarded)
        with consuming(forwarded) as gray:
            assert gray.version("checkout") == "v3"

    def test_where_nothing_is_signed_none_is_written(self, process: Process) -> None:
        process()
        headers: dict[str, Any] = {"gray-sig": "1.old"}
        with graymw.use("checkout", "v2"):
            inject(headers)
        assert list(headers) == ["baggage"]


def test_without_graymw_messages_are_left_alone() -> None:
    headers: dict[str, Any] = {}
    inject(headers)
    with consuming(GRAY) as gray:
        assert not gray
    assert headers == {}


def test_switched_off_it_neither_writes_nor_reads(process: Process) -> None:
    process(enabled=False)
    headers: dict[str, Any] = {}
    inject(headers)
    with consuming(GRAY) as gray:
        assert not gray
    assert headers == {}


def test_a_fault_of_ours_is_no_fault_of_the_work(process: Process) -> None:
    process()
    broken: Any = SimpleNamespace()
    with consuming(broken) as gray:
        assert not gray
    with graymw.use("checkout", "v2"):
        inject(broken)
    assert counters.snapshot()["messaging.error"] == 2


def test_whatever_a_message_holds_its_work_is_done(process: Process) -> None:
    process()

    @given(st.dictionaries(st.text(), st.one_of(st.text(), st.binary(), st.none(), st.integers())), st.text())
    def law(headers: dict[str, Any], text: str) -> None:
        before = otel_context.get_current()
        with consuming({**headers, "baggage": text}):
            inject({})
        assert otel_context.get_current() is before

    law()
    assert "messaging.error" not in counters.snapshot()
