"""For ``opentelemetry-instrument``: spans are tagged from the first one on, whatever serves it."""

from __future__ import annotations

from graymw.runtime import tracing
from graymw.telemetry.attaching import attach


def post_instrument() -> None:
    """Entry point ``opentelemetry_post_instrument``: the SDK's provider is there, the application is not yet."""
    tracing.when_provider_appears(attach)
    tracing.recording_tracer()
