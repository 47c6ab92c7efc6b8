"""Spans and export requests, made by hand."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from graymw.demo.outcomes import Outcome, Share
from graymw.demo.people import User
from graymw.demo.report import Change, Refusal, Report, Round
from graymw.demo.spans import ExportedSpan
from graymw.demo.traffic import Answer, Hop

PROTOBUF = {"content-type": "application/x-protobuf"}


def request_with(trace_id: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id, span_id=b"12345678", name="GET")
    return request.SerializeToString()


def span(
    trace_id: str = "t", span_id: str = "s", parent_id: str = "", *, start: int = 0, **more: object
) -> ExportedSpan:
    return ExportedSpan(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=str(more.get("name", "GET")),
        kind=str(more.get("kind", "server")),
        start=start,
        end=start + 1_000_000,
        failed=False,
        attributes=more.get("attributes", {}),  # type: ignore[arg-type]
        resource={"service.name": more.get("service", "orders")},  # type: ignore[dict-item]
    )


def outcome(uid: str, version: str, rule: str = "canary") -> Outcome:
    served = {"edge": ("v1",), "orders": (version,), "payments": (version,)}
    return Outcome(User(uid, in_cast=True), 1, rule, "split", "rev", served, is_agreed=True, is_traced=True)


def answer(uid: str, version: str, trace_id: str) -> Answer:
    pid = 2 if version == "v1" else 4
    hops = (Hop("edge", "v1", 1), Hop("orders", version, pid), Hop("payments", version, pid + 1))
    return Answer(User(uid), trace_id, "root", 0, 14_000_000, hops)


def round_of(revision: str, gray: str, stable: str, share: Share) -> Round:
    """A round in which the users named by the letters were on v2 and on v1."""
    versions = dict.fromkeys(gray, "v2") | dict.fromkeys(stable, "v1")
    return Round(
        revision=revision,
        answers=[answer(uid, version, f"{revision}-{uid}") for uid, version in versions.items()],
        outcomes=[outcome(uid, version) for uid, version in versions.items()],
        expected={uid: (version, "canary") for uid, version in versions.items()},
        share=share,
        seconds=1.5,
        is_exported=True,
    )


def good_report() -> Report:
    """A run in which everything held: user a was on v2 from the start, b joined, c stayed on v1."""
    shared = {"gray.version": "v2", "gray.release": "checkout"}
    trace = [
        span("rev-1-a", "root", kind="client", service="demo-client"),
        span("rev-1-a", "e", "root", service="edge", attributes={**shared, "gray.rule": "canary"}),
        span("rev-1-a", "o", "e", service="orders", attributes={**shared, "gray.honoured": True}),
    ]
    return Report(
        services=[],
        before=round_of("rev-1", "a", "bc", Share(0.1, 300, 31)),
        refusal=Refusal(["line 26: [releases.checkout]: too much; write less"], True, frozenset({"rev-1"})),
        change=Change("rev-2", 42.0),
        after=round_of("rev-2", "ab", "c", Share(0.5, 300, 151)),
        shown=answer("a", "v2", "rev-1-a"),
        trace=trace,
    )
