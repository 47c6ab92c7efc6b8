from __future__ import annotations

import threading

import pytest
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context

from graymw.demo.spans import SpanStore, UndecodableError, decode

from .making import span


def test_what_the_sdk_exports_is_read_back(tracer: Tracer, store: SpanStore) -> None:
    parent = tracer.start_span("GET /order", kind=SpanKind.SERVER)
    child = tracer.start_span(
        "GET",
        context=set_span_in_context(parent),
        kind=SpanKind.CLIENT,
        attributes={"gray.version": "v2", "gray.active": True, "http.response.status_code": 200, "load": 0.5},
    )
    child.set_status(Status(StatusCode.ERROR))
    child.end()
    parent.end()

    first, second = store.trace(format(parent.get_span_context().trace_id, "032x"))
    assert (first.name, first.kind, first.parent_id, first.failed) == ("GET /order", "server", "", False)
    assert (second.kind, second.parent_id, second.failed) == ("client", first.span_id, True)
    assert second.attributes == {
        "gray.version": "v2",
        "gray.active": True,
        "http.response.status_code": 200,
        "load": 0.5,
    }
    assert second.gray == {"gray.version": "v2", "gray.active": True}
    assert second.service == "orders"
    assert second.resource["service.version"] == "v2"
    assert second.end >= second.start > 0


def test_bytes_that_are_no_export_request_are_refused() -> None:
    with pytest.raises(UndecodableError):
        list(decode(b"\xff\xff\xff"))


def test_waiting_ends_when_every_trace_is_complete() -> None:
    store = SpanStore()
    store.add([span("a")])
    threading.Timer(0.05, store.add, [[span("b")]]).start()
    assert store.wait(["a", "b"], bool, timeout=10)


def test_waiting_gives_up_on_a_trace_that_never_comes() -> None:
    store = SpanStore()
    store.add([span("a")])
    assert not store.wait(["a", "b"], bool, timeout=0.05)


def test_spans_of_a_trace_are_in_the_order_of_their_start() -> None:
    store = SpanStore()
    store.add([span(span_id="late", start=2), span(span_id="early", start=1)])
    assert [found.span_id for found in store.trace("t")] == ["early", "late"]
    assert store.trace("unknown") == []


def test_the_oldest_traces_go_when_there_are_too_many() -> None:
    store = SpanStore(max_traces=2)
    store.add([span("a"), span("b"), span("c")])
    assert [bool(store.trace(name)) for name in "abc"] == [False, True, True]
