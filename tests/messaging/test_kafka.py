from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.aiokafka import utils as of_aiokafka
from opentelemetry.instrumentation.confluent_kafka import utils as of_confluent_kafka
from opentelemetry.sdk.trace import TracerProvider

import graymw
from graymw.messaging.gate import honours, own_queue
from graymw.messaging.headers import consuming
from graymw.messaging.kafka import (
    STAND_IN,
    carrying,
    checked,
    is_alive,
    label_of,
    may_stand_in,
    moved,
    moving,
    original_topic,
    version_group,
    version_topic,
)
from graymw.runtime.engine import Engine

Process = Callable[..., Engine]

SETTERS = [of_aiokafka._aiokafka_setter, of_confluent_kafka._kafka_setter]


def decided(headers: Any) -> str | None:
    with consuming(headers) as gray:
        return gray.version("checkout")


class TestHeaders:
    def test_a_message_carries_the_decision_as_bytes(self, process: Process) -> None:
        process()
        with graymw.use("checkout", "v2"):
            headers = carrying()
        assert [name for name, _ in headers] == ["baggage"]
        assert all(isinstance(value, bytes) for _, value in headers)
        assert decided(headers) == "v2"

    def test_the_application_s_own_stay_in_their_order(self, process: Process) -> None:
        process()
        given = [("kind", b"a"), ("kind", b"b"), ("none", None), ("raw", b"\xff\x00")]
        with graymw.use("checkout", "v2"):
            assert carrying(given)[:4] == given
            assert carrying({"kind": b"a"})[0] == ("kind", b"a")
        assert given == [("kind", b"a"), ("kind", b"b"), ("none", None), ("raw", b"\xff\x00")]

    def test_its_baggage_and_ours_are_one(self, process: Process) -> None:
        process()
        with graymw.use("checkout", "v2"):
            headers = dict(carrying([("baggage", b"tenant=acme")]))
        assert (headers["baggage"] or b"").endswith(b",tenant=acme")
        assert (headers["baggage"] or b"").startswith(b"gray.checkout=v2,")

    def test_a_decision_that_came_on_a_message_goes_on_with_the_next(self, process: Process) -> None:
        process()
        with graymw.use("checkout", "v2"):
            first = carrying()
        with consuming(first):
            assert decided(carrying()) == "v2"

    def test_without_graymw_they_are_as_they_were(self) -> None:
        assert carrying([("a", b"1"), ("baggage", b"x=1")]) == [("a", b"1"), ("baggage", b"x=1")]
        assert carrying() == []

    def test_headers_that_are_not_there_decide_nothing(self, process: Process) -> None:
        process()
        assert decided(None) is None
        assert honours(None)


@pytest.mark.parametrize("setter", SETTERS, ids=["aiokafka", "confluent-kafka"])
class TestInstrumentations:
    """What OpenTelemetry's instrumentations write into the headers that a producer was given."""

    def test_baggage_stays_ours_with_its_signature(self, process: Process, setter: Any) -> None:
        process(trust="signed", secret="a secret of at least thirty-two characters")
        with graymw.use("checkout", "v2"):
            headers = carrying()
            before = list(headers)
            propagate.inject(headers, setter=setter)
        assert headers == before
        assert decided(headers) == "v2"

    def test_trace_context_is_that_of_the_sending(self, process: Process, setter: Any) -> None:
        process()
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
        with graymw.use("checkout", "v2"), tracer.start_as_current_span("caller"):
            headers = carrying()
            with tracer.start_as_current_span("send", kind=trace.SpanKind.PRODUCER) as span:
                propagate.inject(headers, setter=setter)
        (parent,) = (value for name, value in headers if name == "traceparent")
        assert parent is not None
        assert parent.decode().split("-")[2] == f"{span.get_span_context().span_id:016x}"

    def test_baggage_that_is_not_ours_is_as_without_us(self, process: Process, setter: Any) -> None:
        process()
        headers = carrying([("baggage", b"a=1")])
        setter.set(headers, "baggage", "b=2")
        assert headers == [("baggage", b"a=1"), ("baggage", b"b=2")]

    def test_other_headers_are_appended(self, process: Process, setter: Any) -> None:
        process()
        headers = carrying([("x", b"1")])
        setter.set(headers, "x", "2")
        assert headers == [("x", b"1"), ("x", b"2")]

    def test_a_message_that_is_moved_keeps_its_baggage_and_its_trace(self, process: Process, setter: Any) -> None:
        process()
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
        with tracer.start_as_current_span("sender") as sender, graymw.use("checkout", "v2"):
            headers = carrying([("x", b"1")])
        with tracer.start_as_current_span("receive", kind=trace.SpanKind.CONSUMER):
            before = otel_context.get_current()
            with moving(tuple(headers)) as sent, tracer.start_as_current_span("send") as span:
                propagate.inject(sent, setter=setter)
            assert otel_context.get_current() == before
        assert sorted(name for name, _ in sent) == ["baggage", "traceparent", "x"]
        assert dict(sent)["baggage"] == dict(headers)["baggage"]
        assert span.get_span_context().trace_id == sender.get_span_context().trace_id
        assert (dict(sent)["traceparent"] or b"").decode().split("-")[2] == f"{span.get_span_context().span_id:016x}"


class TestTopics:
    def test_a_version_s_topic_is_of_one_group_alone(self) -> None:
        assert version_topic("orders", "billing", "v2") == "orders.gray.billing.v2"
        assert version_topic("orders", "billing", "v2") != version_topic("orders", "shipping", "v2")

    def test_it_tells_where_its_messages_were_sent_to(self) -> None:
        assert original_topic("orders.gray.billing.v2", "billing") == "orders"
        assert original_topic("orders", "billing") == "orders"
        assert original_topic("orders.gray.shipping.v2", "billing") == "orders.gray.shipping.v2"

    def test_those_of_others_are_not_stood_in_for(self) -> None:
        present = [
            "orders", "returns", "orders.gray.billing.v2", "returns.gray.billing.v2", "orders.gray.billing.v3.1",
            "orders.gray.shipping.v2", "orders.audit", "orders.v2", "other.gray.billing.v2",
        ]  # fmt: skip
        assert moved(present, ["orders", "returns"], "billing") == {
            "v2": ["orders.gray.billing.v2", "returns.gray.billing.v2"],
            "v3.1": ["orders.gray.billing.v3.1"],
        }

    @pytest.mark.parametrize(("label", "group"), [("", "billing"), ("v2", "billing.v2"), ("1.10", "billing.1.10")])
    def test_groups_tell_their_version(self, label: str, group: str) -> None:
        assert label_of(group, "billing") == label
        if label:
            assert version_group("billing", label) == group

    @pytest.mark.parametrize("group", ["", "a b", "a/b", "ä"])
    def test_a_group_that_no_topic_can_be_named_after_is_refused(self, group: str) -> None:
        with pytest.raises(ValueError, match="topics are named after the group"):
            checked(group)

    def test_others_are_taken(self) -> None:
        assert checked("billing-1.a_B") == "billing-1.a_B"


class TestStandingIn:
    def test_who_stands_in_does_not_count_as_alive(self) -> None:
        assert is_alive([f"{STAND_IN}-rdkafka", "rdkafka"])
        assert not is_alive([f"{STAND_IN}-rdkafka"])
        assert not is_alive([])

    @pytest.mark.parametrize(
        ("version", "fallback", "may"),
        [
            ("v1", "stable", True),
            ("v2", "stable", False),
            ("v1", "any", True),
            ("v2", "any", True),
            ("v1", "refuse", False),
            ("v2", "refuse", False),
        ],
    )
    def test_by_the_release_s_fallback(self, process: Process, version: str, fallback: str, may: bool) -> None:
        process({"fallback": fallback}, version=version)
        assert may_stand_in("billing") is may

    def test_a_process_without_graymw_reads_all(self) -> None:
        assert own_queue("billing") == "billing"
        assert may_stand_in("billing")
