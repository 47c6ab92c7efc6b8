"""Traces whose first span starts before its request is decided: kept or dropped as soon as it is.

Server instrumentations around our middleware start their span first, so a sampler cannot know the decision then.
Nothing hangs on that span yet when the middleware decides: no child, no call, so its trace can still be settled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, NamedTuple

from opentelemetry.trace import Span

from graymw.core.context import GrayContext


class Unsettled(NamedTuple):
    """A trace that waits for the decision of its first request.

    Attributes:
        settle: Takes the first span, and whether the request is gray.
    """

    trace_id: int
    settle: Callable[[Span, bool], None]


_waiting: Final[ContextVar[Unsettled | None]] = ContextVar("graymw_unsettled", default=None)


def postpone(trace_id: int, settle: Callable[[Span, bool], None]) -> None:
    """Let the request whose SERVER span starts here and now settle its trace. ``settle`` must not raise."""
    _waiting.set(Unsettled(trace_id, settle))


def decided(span: Span, gray: GrayContext) -> None:
    """The request of a live SERVER span of an instrumentation around us is decided."""
    waiting = _waiting.get()
    if waiting is not None and waiting.trace_id == span.get_span_context().trace_id:
        _waiting.set(None)
        waiting.settle(span, is_gray(gray))


def is_gray(gray: GrayContext) -> bool:
    """Whether any release of a request is gray, whichever governs this service: all hops of a trace agree on that."""
    return any(decision.is_gray for decision in gray.decisions.values())
