"""Spans as they were exported: OTLP's protobuf decoded to plain values, kept by trace."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Value: TypeAlias = str | bool | int | float

_KINDS: Final = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_STATUS_ERROR: Final = 2
_MAX_TRACES: Final = 20_000


class UndecodableError(ValueError):
    """Bytes are no OTLP export request."""


@dataclass(frozen=True, slots=True)
class ExportedSpan:
    """One span.

    Attributes:
        parent_id: Empty for a root.
        kind: ``server``, ``client``, ``internal``, ``producer`` or ``consumer``.
        start: Nanoseconds since the Unix epoch; ``end`` alike.
        resource: Attributes of the process that made it.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start: int
    end: int
    failed: bool
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value]

    @property
    def service(self) -> str:
        """``service.name`` of the process."""
        return str(self.resource.get("service.name", "unknown"))

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e6

    @property
    def gray(self) -> dict[str, Value]:
        """Its ``gray.*`` attributes."""
        return {key: value for key, value in self.attributes.items() if key.startswith("gray.")}


def decode(body: bytes) -> Iterator[ExportedSpan]:
    """Spans of one OTLP export request.

    Raises:
        UndecodableError: The bytes are no such request.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise UndecodableError("no OTLP export request") from error
    for of_resource in request.resource_spans:
        resource = _mapping(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield ExportedSpan(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    kind=_KINDS.get(span.kind, "internal"),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    failed=span.status.code == _STATUS_ERROR,
                    attributes=_mapping(span.attributes),
                    resource=resource,
                )


def _mapping(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "bool_value":
        return value.bool_value
    if kind == "int_value":
        return value.int_value
    if kind == "double_value":
        return value.double_value
    return value.string_value if kind == "string_value" else str(value).strip()


class SpanStore:
    """Spans received so far, by trace id; safe between threads. The oldest traces go when there are too many."""

    def __init__(self, max_traces: int = _MAX_TRACES) -> None:
        self._max_traces = max_traces
        self._traces: OrderedDict[str, list[ExportedSpan]] = OrderedDict()
        self._changed = threading.Condition()

    def add(self, spans: Iterable[ExportedSpan]) -> None:
        """Keep spans."""
        with self._changed:
            for span in spans:
                self._traces.setdefault(span.trace_id, []).append(span)
            while len(self._traces) > self._max_traces:
                self._traces.popitem(last=False)
            self._changed.notify_all()

    def trace(self, trace_id: str) -> list[ExportedSpan]:
        """Spans of one trace, by start; empty where none came."""
        with self._changed:
            return sorted(self._traces.get(trace_id, ()), key=lambda span: span.start)

    def wait(self, trace_ids: Iterable[str], complete: Callable[[list[ExportedSpan]], bool], timeout: float) -> bool:
        """Wait until every one of these traces is complete; False where ``timeout`` seconds were not enough."""
        waiting = set(trace_ids)
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                waiting = {trace_id for trace_id in waiting if not complete(self._traces.get(trace_id, []))}
                left = deadline - time.monotonic()
                if not waiting or left <= 0:
                    return not waiting
                self._changed.wait(left)
