"""Metrics for an application that set up none itself but whose environment asks for them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import _internal

from graymw.runtime import counters
from graymw.settings.schema import Settings
from graymw.telemetry.metrics import metering
from graymw.telemetry.rule_metrics import Fleet
from graymw.telemetry.setup import resource_of
from graymw.telemetry.signals import METRICS

log = logging.getLogger("graymw.telemetry")

NAMES: Final = "OTEL_METRICS_EXPORTER"
_TRUE: Final = "true"


def set_up_metrics(settings: Settings, fleet: Fleet) -> None:
    """Measure this process; hand its metrics out where the environment asks for it and nobody else does. Never raises.

    A meter provider that the application set is used as it is, and one that it sets later takes the place of ours.

    Args:
        settings: Give the resource its service and version where OpenTelemetry's variables do not.
        fleet: All engines of this process at the time of the call.
    """
    try:
        if _is_ours_to_do(os.environ):
            _set_provider(settings, os.environ)
    except Exception as error:  # noqa: BLE001 - an application without metrics is still an application
        counters.count("telemetry.error")
        counters.once(log, "metrics:setup", logging.ERROR, "no metrics are exported: %r", error, exc_info=error)
    metering.measure(fleet)


def wanted(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the ways asked for; none where nothing asks for metrics."""
    named = environ.get(NAMES, "").strip()
    if not named:
        return ("otlp",) if environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "").strip() else ()
    names = tuple(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))
    return () if "none" in names else names


def _is_ours_to_do(environ: Mapping[str, str]) -> bool:
    if not wanted(environ) or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == _TRUE:
        return False
    if "OTEL_PYTHON_METER_PROVIDER" in environ or getattr(_internal, "_METER_PROVIDER", None) is not None:
        return False
    # FastAPI then sets up the same export when it starts.
    return not ("fastapi" in sys.modules and environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() == _TRUE)


def _set_provider(settings: Settings, environ: Mapping[str, str]) -> None:
    from graymw.telemetry.meter_provider import exporting_meter_provider  # noqa: PLC0415 - loads the SDK
    from graymw.telemetry.metric_exporters import made  # noqa: PLC0415

    ways = made(wanted(environ), environ)
    if not ways:
        return
    provider = exporting_meter_provider(ways, resource_of(settings, environ))
    metering.own(provider)
    metrics.set_meter_provider(provider)
    _give_way()
    log.info("%s go to %s", METRICS.things, ", ".join(way.target for way in ways))


def _give_way() -> None:
    """Let the application still set a provider of its own: OpenTelemetry takes the first one only."""
    once = getattr(_internal, "_METER_PROVIDER_SET_ONCE", None)
    if once is not None and hasattr(once, "_done"):
        once._done = False  # noqa: SLF001 - there is no public way
