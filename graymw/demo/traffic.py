"""Sends the users' requests to the edge, and keeps what each answer says of the hops behind it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final, Self

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from graymw.demo.people import User

CHAIN: Final = ("edge", "orders", "payments")
CLIENT_SERVICE: Final = "demo-client"
_AT_ONCE: Final = 8
_TIMEOUT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Hop:
    """What one service said of itself."""

    service: str
    version: str
    pid: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what came back.

    Attributes:
        hops: From the edge on; short where the chain broke.
        error: What went wrong; empty where nothing did.
        start: Nanoseconds since the Unix epoch; ``end`` alike.
    """

    user: User
    trace_id: str
    span_id: str
    start: int
    end: int
    hops: tuple[Hop, ...] = ()
    error: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every hop of the chain answered."""
        return not self.error and tuple(hop.service for hop in self.hops) == CHAIN

    @property
    def versions(self) -> Mapping[str, str]:
        """By service, the version that served it."""
        return {hop.service: hop.version for hop in self.hops}


class Client:
    """A plain HTTP client without graymw, as a browser would be; use as a context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        # No environment: a proxy configured there must not get loopback traffic.
        self._client = httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, user: User) -> Answer:
        """Send one request, as the root of a trace of its own (W3C Trace Context)."""
        trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
        start = time.time_ns()
        hops: tuple[Hop, ...] = ()
        error = ""
        try:
            answer = self._client.get(
                f"{self._url}/checkout", headers={**user.headers, "traceparent": f"00-{trace_id}-{span_id}-01"}
            )
            answer.raise_for_status()
            hops, error = _hops(answer.json())
        except (httpx.HTTPError, ValueError) as failure:
            error = str(failure) or type(failure).__name__
        return Answer(user, trace_id, span_id, start, time.time_ns(), hops, error)

    def round(self, users: Sequence[User], on_answer: Callable[[], None]) -> list[Answer]:
        """Send all requests of a round, several at a time, the requests of a user spread over it."""
        turns = max((user.requests for user in users), default=0)
        queue = [user for turn in range(turns) for user in users if turn < user.requests]
        answers: list[Answer] = []
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="graymw-demo-client")
        try:
            for future in as_completed([pool.submit(self.ask, user) for user in queue]):
                answers.append(future.result())
                on_answer()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return answers


def _hops(document: object) -> tuple[tuple[Hop, ...], str]:
    """Hops of an answer from the edge on, and the error that broke the chain."""
    hops: list[Hop] = []
    while document is not None:
        if not isinstance(document, Mapping) or not {"service", "version", "pid"} <= document.keys():
            told = document.get("error") if isinstance(document, Mapping) else None
            return tuple(hops), str(told or f"no answer of the chain: {document!r}")
        hops.append(Hop(str(document["service"]), str(document["version"]), int(document["pid"])))
        document = document.get("next")
    return tuple(hops), ""


def root_spans(answers: Iterable[Answer]) -> ExportTraceServiceRequest:
    """The requests as client spans, so that each trace has its root."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.append(_attribute("service.name", CLIENT_SERVICE))
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = "graymw.demo"
    for answer in answers:
        of_scope.spans.append(
            Span(
                trace_id=bytes.fromhex(answer.trace_id),
                span_id=bytes.fromhex(answer.span_id),
                name="GET /checkout",
                kind=Span.SPAN_KIND_CLIENT,
                start_time_unix_nano=answer.start,
                end_time_unix_nano=answer.end,
                attributes=[_attribute("user.id", answer.user.uid)],
                status=Status(code=Status.STATUS_CODE_ERROR if answer.error else Status.STATUS_CODE_UNSET),
            )
        )
    return request


def _attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
