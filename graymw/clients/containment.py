"""A fault of ours must not become a fault of the application's call."""

from __future__ import annotations

import logging

from graymw.runtime import counters

log = logging.getLogger("graymw.clients")


def contained(library: str, error: Exception) -> None:
    """Count a fault of an adapter, and log its kind once: the call goes out as without graymw."""
    counters.count("client.error")
    counters.once(log, f"{library}:{type(error).__name__}", logging.ERROR, "%s call left as it was: %r", library, error)
