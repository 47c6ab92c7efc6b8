"""Puts the gray context on every span that the process makes within a request (contract, §8)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import SpanKind

from graymw.runtime import counters
from graymw.runtime.client_span import CALL_KEY
from graymw.runtime.current import judged_in
from graymw.runtime.tracing import SCOPE

log = logging.getLogger("graymw.telemetry")


class GraySpanProcessor(SpanProcessor):
    """Tags spans as they start, by the context they start in."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Tag one span. Never raises.

        Args:
            span: The span that starts.
            parent_context: Context that it starts in; None: the current one.
        """
        try:
            attributes = _attributes(span, otel_context.get_current() if parent_context is None else parent_context)
            if attributes:
                _put(span, attributes)
        except Exception as error:  # noqa: BLE001 - an untagged span is still a span
            counters.count("telemetry.error")
            counters.once(log, f"processor:{type(error).__name__}", logging.ERROR, "a span is not tagged: %r", error)


def _put(span: Any, attributes: Mapping[str, Any]) -> None:
    """As ``span.set_attributes``, which takes five times as long to make sure that these are strings and booleans."""
    held = getattr(span, "_attributes", None)
    if (
        type(held) is not BoundedAttributes
        or held.max_value_len is not None
        or (held.maxlen is not None and len(held) + len(attributes) > held.maxlen)
    ):
        span.set_attributes(attributes)
        return
    with held._lock:  # noqa: SLF001 - guarded by the exact type, and by a test that compares with set_attributes
        held._dict.update(attributes)  # noqa: SLF001


def _attributes(span: Span, context: Context) -> Mapping[str, Any] | None:
    carried = judged_in(context)
    if carried is None:
        return None
    scope = span.instrumentation_scope
    if scope is not None and scope.name == SCOPE:
        return None  # made by us, with all it needs
    if span.kind is SpanKind.SERVER:
        return carried.snapshot.server_attributes(carried.gray, carried.engine.settings.version)
    attributes = carried.gray.attributes
    if span.kind is SpanKind.CLIENT:
        call = context.get(CALL_KEY)
        if isinstance(call, Mapping):
            return {**attributes, **call}
    return attributes
