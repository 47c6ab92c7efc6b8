"""What graymw sends for itself is nobody's request: instrumentations and its own client patches leave it alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.context.context import Context

_UNSEEN = Context(
    {
        _SUPPRESS_INSTRUMENTATION_KEY: True,
        _SUPPRESS_HTTP_INSTRUMENTATION_KEY: True,
        "suppress_instrumentation": True,
    }
)


@contextmanager
def unseen() -> Iterator[None]:
    """Send something without spans, baggage and routing. Not around a ``yield`` in a generator."""
    token = context.attach(_UNSEEN)
    try:
        yield
    finally:
        context.detach(token)


def is_unseen() -> bool:
    """Whether what is being done here is ``unseen``."""
    return context.get_current() is _UNSEEN
