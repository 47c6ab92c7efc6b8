"""W3C Trace Context of a request, read without OpenTelemetry's extraction of everything (which costs ten times this).

Source: W3C Trace Context, Level 2, §3.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState

from graymw.runtime import tracing

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


def caller_span(fields: Mapping[str, str]) -> Span | None:
    """Span of the caller as a request's headers name it; None where they name none.

    Args:
        fields: Header values by lower-case name.
    """
    if tracing.speaks_w3c_only():
        traceparent = fields.get("traceparent")
        return remote_parent(traceparent, fields.get("tracestate")) if traceparent else None
    span = trace.get_current_span(propagate.extract(fields, context=Context()))
    return span if span.get_span_context().is_valid else None


def remote_parent(traceparent: str, tracestate: str | None = None) -> NonRecordingSpan | None:
    """Span of the caller; None for a header that is not a valid ``traceparent``."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest):
        return None
    context = SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([tracestate]) if tracestate else None,
    )
    return NonRecordingSpan(context) if context.is_valid else None


def carrier_headers(context: SpanContext) -> tuple[tuple[str, str], ...]:
    """``traceparent`` and ``tracestate`` for a call made under a span; none for an invalid one."""
    if not context.is_valid:
        return ()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if not context.trace_state:
        return (("traceparent", parent),)
    return (("traceparent", parent), ("tracestate", context.trace_state.to_header()))
