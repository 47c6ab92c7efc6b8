"""What a Python service of the chain knows about the request that it serves."""

from __future__ import annotations

from typing import Any

from opentelemetry import baggage, trace

import graymw


def known(received: str) -> dict[str, Any]:
    """Decision, baggage and trace of the current request.

    Args:
        received: The baggage header as it came.
    """
    context = graymw.current()
    decision = context.decisions["checkout"]
    return {
        "version": context.version("checkout"),
        "reason": decision.reason,
        "revision": context.revision,
        "received": received,
        "baggage": {key: str(value) for key, value in baggage.get_all().items()},
        "trace": f"{trace.get_current_span().get_span_context().trace_id:032x}",
    }
