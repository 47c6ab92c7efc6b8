"""Who is told of each request once it has been answered: the access log, metrics.

An engine without observers costs a request one look at an empty tuple. What an observer raises is contained.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from opentelemetry import trace

from graymw.runtime import counters
from graymw.runtime.admission import Admitted
from graymw.runtime.live_facts import LiveFacts

log = logging.getLogger("graymw.observing")


class Ending(NamedTuple):
    """How one request ended.

    Attributes:
        began: Seconds since the epoch at which it was admitted.
        seconds: From then until the last byte of its answer was handed to the server.
        status: HTTP status code, 101 for a WebSocket that was accepted; None where the answer never began.
        rpc_status: Name of the gRPC status; None for HTTP.
        error: Name of the exception that the application raised; None where it raised none.
        trace_id: Of the trace the request belongs to, lower-case hex; empty without one.
    """

    began: float
    seconds: float
    status: int | None
    rpc_status: str | None
    error: str | None
    trace_id: str


Finish: TypeAlias = Callable[[Ending], None]
Observer: TypeAlias = Callable[[Admitted, LiveFacts], Finish | None]
"""Called when a request is admitted, with facts as they came in; what it returns is called when the request ends."""


class Observation:
    """One request as it is being answered. Adapters tell; the first ``end`` counts."""

    __slots__ = ("_began", "_clock", "_error", "_finishes", "_rpc_status", "_span", "_status")

    def __init__(self, finishes: list[Finish], span: trace.Span) -> None:
        self._finishes = finishes
        self._began = time.time()
        self._clock = time.perf_counter()
        self._span = span
        self._status: int | None = None
        self._rpc_status: str | None = None
        self._error: str | None = None

    def answered(self, status: int) -> None:
        """The response has begun; called where the application's own span is current."""
        self._status = status
        if not self._span.get_span_context().is_valid:
            self._span = trace.get_current_span()

    def answered_rpc(self, status: str) -> None:
        """The gRPC call has its status."""
        self._rpc_status = status

    def failed(self, error: BaseException) -> None:
        """The application raised; where nothing was answered, the server answers 500."""
        self._error = type(error).__qualname__
        if self._status is None and self._rpc_status is None and isinstance(error, Exception):
            self._status = 500

    def end(self) -> None:
        """The request is over."""
        finishes, self._finishes = self._finishes, []
        if not finishes:
            return
        span = self._span.get_span_context()
        ending = Ending(
            began=self._began,
            seconds=time.perf_counter() - self._clock,
            status=self._status,
            rpc_status=self._rpc_status,
            error=self._error,
            trace_id=format(span.trace_id, "032x") if span.is_valid else "",
        )
        for finish in finishes:
            try:
                finish(ending)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the application
                _contained(error)


def observe(
    observers: tuple[Observer, ...], admitted: Admitted, facts: LiveFacts, span: trace.Span | None
) -> Observation | None:
    """Begin to observe a request; None where no observer wants to know of it.

    Args:
        span: Our own SERVER span; None where there is none.
    """
    finishes = []
    for observer in observers:
        try:
            finish = observer(admitted, facts)
        except Exception as error:  # noqa: BLE001 - as above
            _contained(error)
        else:
            if finish is not None:
                finishes.append(finish)
    return Observation(finishes, span or trace.get_current_span(admitted.context)) if finishes else None


def _contained(error: Exception) -> None:
    counters.count("observing.error")
    counters.once(log, f"observing:{type(error).__name__}", logging.ERROR, "a request was not told of: %r", error)
