"""Tracing for an application that set up none itself but whose environment asks for export."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace

from graymw.runtime import counters, tracing
from graymw.settings.identity import UNKNOWN_SERVICE, resource_identity
from graymw.settings.schema import Settings
from graymw.telemetry import exporters
from graymw.telemetry.attaching import attach

log = logging.getLogger("graymw.telemetry")

_TRUE: Final = "true"


def set_up_tracing(settings: Settings) -> None:
    """Tag the spans of this process; export them where the environment asks for it and nobody else does. Never raises.

    A tracer provider that the application set is used as it is, and one that it sets later takes the place of ours.

    Args:
        settings: Give the resource its service and version where OpenTelemetry's variables do not.
    """
    tracing.when_provider_appears(attach)
    try:
        if _is_ours_to_do(os.environ):
            _set_provider(settings, os.environ)
    except Exception as error:  # noqa: BLE001 - an application without traces is still an application
        counters.count("telemetry.error")
        counters.once(log, "setup", logging.ERROR, "no traces are exported: %r", error, exc_info=error)
    tracing.recording_tracer()


def _is_ours_to_do(environ: Mapping[str, str]) -> bool:
    if not exporters.wanted(environ) or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == _TRUE:
        return False
    if "OTEL_PYTHON_TRACER_PROVIDER" in environ or getattr(trace, "_TRACER_PROVIDER", None) is not None:
        return False
    # FastAPI then sets up the same export when it starts.
    return not ("fastapi" in sys.modules and environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() == _TRUE)


def _set_provider(settings: Settings, environ: Mapping[str, str]) -> None:
    exports = exporters.made(environ)
    if not exports:
        return
    from graymw.telemetry.provider import exporting_provider  # noqa: PLC0415 - loads the SDK

    asked = settings.sample_gray is not None or settings.sample_stable is not None
    trace.set_tracer_provider(exporting_provider(exports, resource_of(settings, environ), ratios_asked=asked))
    _give_way()
    log.info("spans go to %s", ", ".join(export.target for export in exports))


def resource_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Attributes of this process that OpenTelemetry's own variables leave open."""
    service, version = resource_identity(environ)
    attributes = {}
    if not service and settings.service != UNKNOWN_SERVICE:
        attributes["service.name"] = settings.service
    if not version and settings.version:
        attributes["service.version"] = settings.version
    return attributes


def _give_way() -> None:
    """Let the application still set a provider of its own: OpenTelemetry takes the first one only."""
    once = getattr(trace, "_TRACER_PROVIDER_SET_ONCE", None)
    if once is not None and hasattr(once, "_done"):
        once._done = False  # noqa: SLF001 - there is no public way
