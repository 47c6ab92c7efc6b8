"""OpenTelemetry's tracing as this process has it: whether spans can be recorded at all, and our tracer.

The application may set its tracer provider before or after ``install``, so every request looks; the look is one
attribute and an identity test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from weakref import WeakSet

from opentelemetry import propagate, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.context.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Tracer,
    TracerProvider,
)

SCOPE: Final = "graymw"
"""Instrumentation scope of the spans that graymw makes itself."""

_SERVER_SCOPES: Final = frozenset(
    f"opentelemetry.instrumentation.{name}" for name in ("asgi", "fastapi", "starlette", "wsgi", "flask", "django")
)
_SUPPRESSING: Final = (_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")
_NAMED_BY_ENVIRONMENT: Final = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ
_known_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_callbacks: Final[list[Callable[[object], None]]] = []
_noticed: Final[WeakSet[object]] = WeakSet()


def graymw_version() -> str:
    """Version of the installed distribution; empty where it is not installed."""
    try:
        return version("graymw")
    except PackageNotFoundError:
        return ""


def when_provider_appears(callback: Callable[[object], None]) -> None:
    """Call back with whatever makes spans in this process, as requests find it.

    Args:
        callback: Takes a tracer provider, or what takes span processors in one that an instrumentation was given for
            itself. It must not raise, and may be called again for what it knows.
    """
    if callback not in _callbacks:
        _callbacks.append(callback)
        if _known_provider is not None:
            callback(_known_provider)


def recording_tracer() -> Tracer | None:
    """Our tracer of the application's provider; None where no provider that could record is set."""
    global _known_provider, _tracer  # noqa: PLW0603 - OpenTelemetry's provider is one per process
    provider = getattr(trace, "_TRACER_PROVIDER", None)
    if provider is _known_provider and provider is not None:
        return _tracer
    if provider is None and _NAMED_BY_ENVIRONMENT:
        provider = trace.get_tracer_provider()
    if provider is None or isinstance(provider, (ProxyTracerProvider, NoOpTracerProvider)):
        return None
    _tracer = provider.get_tracer(SCOPE, graymw_version())
    _known_provider = provider
    for callback in _callbacks:
        callback(provider)
    return _tracer


def notice(span: Span) -> None:
    """A live span of an instrumentation around us; it may have a tracer provider of its own."""
    home = getattr(span, "_span_processor", None)
    if home is not None and home not in _noticed:
        _noticed.add(home)
        for callback in _callbacks:
            callback(home)


def is_suppressed(context: Context) -> bool:
    """Whether OpenTelemetry asks instrumentations to leave calls of this context alone, as its exporters do."""
    return any(map(context.get, _SUPPRESSING))


def is_http_span_suppressed(context: Context) -> bool:
    """Whether no further CLIENT span is wanted for HTTP calls of this context.

    The instrumentations of requests and urllib3 say so around the send of every call they have made a span for, so it
    is no reason to leave a call alone: what they injected must still be filtered.
    """
    return bool(context.get(_SUPPRESS_HTTP_INSTRUMENTATION_KEY))


@dataclass(frozen=True, slots=True, eq=False)
class Propagation:
    """How this process's global propagator has trace context and baggage travel.

    Attributes:
        w3c_only: Trace context travels as W3C Trace Context alone, OpenTelemetry's default.
        w3c_baggage: Baggage travels as W3C Baggage, so instrumentations inside of us read the header we wrote.
        fields: Lower-case names of the headers that it reads.
    """

    w3c_only: bool
    w3c_baggage: bool
    fields: frozenset[str]


def propagation() -> Propagation:
    """How context travels now: the application may set its propagator whenever it likes."""
    global _propagation  # noqa: PLW0603 - OpenTelemetry's propagator is one per process
    propagator = propagate.get_global_textmap()
    if propagator is not _propagation[0]:
        _propagation = (propagator, _propagation_of(propagator))
    return _propagation[1]


def _propagation_of(propagator: TextMapPropagator) -> Propagation:
    parts = getattr(propagator, "_propagators", None) if isinstance(propagator, CompositePropagator) else [propagator]
    names = {type(part).__name__ for part in parts or ()}
    w3c_baggage = "W3CBaggagePropagator" in names
    names.discard("W3CBaggagePropagator")
    return Propagation(
        w3c_only=names == {"TraceContextTextMapPropagator"},
        w3c_baggage=w3c_baggage,
        fields=frozenset(name.lower() for name in propagator.fields),
    )


_propagation: tuple[TextMapPropagator | None, Propagation] = (
    None,
    Propagation(w3c_only=False, w3c_baggage=False, fields=frozenset()),
)


def speaks_w3c_only() -> bool:
    """Whether trace context travels as W3C Trace Context alone, OpenTelemetry's default."""
    return propagation().w3c_only


def is_inner_server_span(span: Span) -> bool:
    """Whether a live span is what an instrumentation for servers makes of a request where a span is current already."""
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name in _SERVER_SCOPES and is_live(span, SpanKind.INTERNAL)


def is_dropped(span: Span) -> bool:
    """Whether a span of this process is one that a sampler dropped."""
    if type(span) is not NonRecordingSpan:
        return False
    context = span.get_span_context()
    return context.is_valid and not context.is_remote


def is_live(span: Span, kind: SpanKind) -> bool:
    """Whether a span is of this kind and still being recorded."""
    return span.is_recording() and getattr(span, "kind", None) is kind
