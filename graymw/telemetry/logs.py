"""The decision of the request at hand on each log record: for ``logging`` and for structlog.

Fields: ``gray_release``, ``gray_version``, ``trace_id`` and ``span_id`` (lower-case hex, as in ``traceparent``).
Outside any request they are empty, so that a format string may name them. A record that has such a field keeps it.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace

from graymw.runtime import counters
from graymw.runtime.current import carried_in

FIELDS: Final = ("gray_release", "gray_version", "trace_id", "span_id")


_NOTHING: Final = dict.fromkeys(FIELDS, "")


def log_fields() -> dict[str, str]:
    """Fields for a record made here and now. Never raises: a record without them is better than none."""
    try:
        return _fields()
    except Exception:  # noqa: BLE001 - it cannot be logged either, as that would come by here again
        counters.count("telemetry.error")
        return dict(_NOTHING)


def _fields() -> dict[str, str]:
    context = otel_context.get_current()
    carried = carried_in(context)
    shown = carried.gray.attributes if carried is not None else {}
    span = trace.get_current_span(context).get_span_context()
    return {
        "gray_release": str(shown.get("gray.release", "")),
        "gray_version": str(shown.get("gray.version", "")),
        "trace_id": format(span.trace_id, "032x") if span.is_valid else "",
        "span_id": format(span.span_id, "016x") if span.is_valid else "",
    }


class GrayLogFilter(logging.Filter):
    """Puts the fields on each record that passes; drops none. Add it to handlers: those see every logger's records.

    >>> handler.addFilter(GrayLogFilter())
    >>> handler.setFormatter(logging.Formatter("%(message)s version=%(gray_version)s trace=%(trace_id)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete a record."""
        record.__dict__.update(_lacking(record.__dict__))
        return True


def add_gray_context(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor for structlog: ``structlog.configure(processors=[add_gray_context, …])``. Empty fields are left out."""
    event.update({name: value for name, value in _lacking(event).items() if value})
    return event


def _lacking(present: MutableMapping[str, Any]) -> dict[str, str]:
    if present.keys() >= _NOTHING.keys():  # another handler's filter has been here
        return {}
    return {name: value for name, value in log_fields().items() if name not in present}
