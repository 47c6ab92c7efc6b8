"""Puts the span processor where spans are made, without loading OpenTelemetry's SDK where it is not in use."""

from __future__ import annotations

import logging
from typing import Final
from weakref import WeakSet

from graymw.runtime import counters

log = logging.getLogger("graymw.telemetry")

_attached: Final[WeakSet[object]] = WeakSet()


def attach(home: object) -> None:
    """Let the spans made somewhere carry the gray context, from now on; once is enough. Never raises.

    Args:
        home: A tracer provider. Or a tracer of the SDK that an instrumentation was given. Anything that takes no span
            processors is left alone: spans of ours, and those of servers around us, are tagged all the same.
    """
    try:
        _attach(home)
    except Exception as error:  # noqa: BLE001 - untagged spans are no reason to fail a request
        counters.count("telemetry.error")
        counters.once(log, f"attach:{type(error).__name__}", logging.ERROR, "spans are not tagged: %r", error)


def _attach(home: object) -> None:
    # The SDK's provider and its tracers share one object that holds the processors.
    holder = getattr(home, "_active_span_processor", None) or getattr(home, "span_processor", None) or home
    add = getattr(holder, "add_span_processor", None)
    if add is None or holder in _attached:
        return
    from graymw.telemetry.processor import GraySpanProcessor  # noqa: PLC0415 - loads the SDK

    _attached.add(holder)
    add(GraySpanProcessor())
