"""W3C Trace Context of a request, read without OpenTelemetry's extraction of everything (which costs ten times this).

Source: W3C Trace Context, Level 2, §3.2.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState

from graymw.runtime import counters, tracing

log = logging.getLogger("graymw.telemetry")

_IDS: Final = r"-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
_TRACEPARENT: Final = re.compile(r"\s*00" + _IDS + r"\s*")
_LATER_TRACEPARENT: Final = re.compile(r"\s*(?!00|ff)[0-9a-f]{2}" + _IDS + r"(?:-.*)?\s*", re.DOTALL)
"""Later versions may append something after a dash; version ``ff`` is not valid."""

_MAX_MEMBERS: Final = 32
_LONGEST_MEMBER: Final = 513  # key and value of 256 characters each, §3.3.1.3
_OWS: Final = " \t"


def caller_span(fields: Mapping[str, str]) -> Span | None:
    """Span of the caller as a request's headers name it; None where they name none.

    Args:
        fields: Header values by lower-case name.
    """
    if tracing.speaks_w3c_only():
        traceparent = fields.get("traceparent")
        return remote_parent(traceparent, fields.get("tracestate")) if traceparent else None
    try:
        return _extracted(fields)
    except Exception as error:  # noqa: BLE001 - a propagator that stumbles over a header costs the trace, no decision
        counters.count("telemetry.error")
        counters.once(log, f"extract:{type(error).__name__}", logging.WARNING, "a caller is unknown: %r", error)
        return None


def _extracted(fields: Mapping[str, str]) -> Span | None:
    """Span of the caller by OpenTelemetry's own extraction.

    What is said of baggage is known already; parsed again it would be logged where it breaks a limit.
    """
    carriers = {name: value for name, value in fields.items() if name != "baggage"}
    if "tracestate" in carriers:
        carriers["tracestate"] = _within_limits(carriers["tracestate"])
    span = trace.get_current_span(propagate.extract(carriers, context=Context()))
    return span if span.get_span_context().is_valid else None


def remote_parent(traceparent: str, tracestate: str | None = None) -> CallerSpan | None:
    """Span of the caller; None for a header that is not a valid ``traceparent``."""
    found = _TRACEPARENT.fullmatch(traceparent) or _LATER_TRACEPARENT.fullmatch(traceparent)
    return CallerSpan(found, tracestate) if found is not None else None


class CallerSpan(NonRecordingSpan):
    """Span of another process. Its context is read from the header when somebody asks; most requests never do."""

    def __init__(self, traceparent: re.Match[str], tracestate: str | None) -> None:
        self._traceparent = traceparent
        self._tracestate = tracestate

    def __getattr__(self, name: str) -> SpanContext:
        if name != "_context":  # what NonRecordingSpan keeps its context under
            raise AttributeError(name)
        trace_id, span_id, flags = self._traceparent.groups()
        self._context = SpanContext(
            trace_id=int(trace_id, 16),
            span_id=int(span_id, 16),
            is_remote=True,
            trace_flags=TraceFlags(int(flags, 16)),
            trace_state=TraceState.from_header([_within_limits(self._tracestate)]) if self._tracestate else None,
        )
        return self._context


def _within_limits(tracestate: str) -> str:
    """Members of ``tracestate``; empty where they break the limits, which OpenTelemetry's parser shall not see.

    It would log the whole of it, and older releases take seconds for a long run of blanks.
    """
    members = [member.strip(_OWS) for member in tracestate.split(",", _MAX_MEMBERS)]
    if len(members) > _MAX_MEMBERS or any(len(member) > _LONGEST_MEMBER for member in members):
        return ""
    return ",".join(members)


def carrier_headers(context: SpanContext) -> tuple[tuple[str, str], ...]:
    """``traceparent`` and ``tracestate`` for a call made under a span; none for an invalid one."""
    if not context.is_valid:
        return ()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if not context.trace_state:
        return (("traceparent", parent),)
    return (("traceparent", parent), ("tracestate", context.trace_state.to_header()))
