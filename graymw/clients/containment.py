"""A fault of ours must not become a fault of the application's call."""

from __future__ import annotations

import logging

from graymw.runtime import counters

log = logging.getLogger("graymw.clients")


def contained(library: str, error: Exception) -> None:
    """Count a fault of an adapter, and log its kind once: the call goes out as without graymw."""
    counters.count("client.error")
    key = f"client:{library}:{type(error).__name__}"
    counters.once(log, key, logging.ERROR, "%s call left as it was: %r", library, error)


def not_covered(library: str, error: Exception) -> None:
    """Count and log a library that is there in a version that cannot be patched."""
    counters.count("client.uncovered")
    message = "calls of %s carry nothing, this version of it is not known: %r"
    counters.once(log, f"uncovered:{library}", logging.ERROR, message, library, error)
