"""Metrics of this process through OpenTelemetry (contract, §8), from the moment there is a meter provider.

Whether there is one is found out once: when it is set, OpenTelemetry tells those who asked for a meter before. Until
then requests are not observed at all.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import Histogram, Meter, MeterProvider, NoOpMeter, NoOpMeterProvider, _internal

from graymw.runtime import counters
from graymw.runtime.tracing import SCOPE, graymw_version
from graymw.telemetry import flushing
from graymw.telemetry.event_metrics import create_event_metrics
from graymw.telemetry.flushing import Flushable
from graymw.telemetry.request_metrics import RequestMetrics
from graymw.telemetry.rule_metrics import Fleet, RuleMetrics, Running

log = logging.getLogger("graymw.telemetry")

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds; semantic conventions, ``http.server.request.duration``."""


class Metering:
    """Measures all engines of this process, by the meter provider it has now.

    Attributes:
        provider: The one in use; None where none is set that could record.
    """

    def __init__(self) -> None:
        self.provider: MeterProvider | None = None
        self._fleet: Fleet = tuple
        self._own: Flushable | None = None
        self._requests: RequestMetrics | None = None
        self._lock = threading.Lock()
        self._subscribed = False

    def measure(self, fleet: Fleet) -> None:
        """Measure these engines, now and whenever a provider appears. Never raises.

        Args:
            fleet: All engines of this process at the time of the call.
        """
        self._fleet = fleet
        try:
            provider = metrics.get_meter_provider()
            if not self._subscribed:
                self._subscribed = _subscribe(self)
            self._take(provider)
        except Exception as error:  # noqa: BLE001 - an application without metrics is still an application
            _contained(error)

    def own(self, provider: Flushable) -> None:
        """Remember a provider that we set up ourselves: it ends when the application sets another one."""
        self._own = provider

    def on_set_meter_provider(self, provider: MeterProvider) -> None:
        """The application has set a provider, or another one. Called by OpenTelemetry, as for its own meters."""
        try:
            self._take(provider)
        except Exception as error:  # noqa: BLE001 - as above
            _contained(error)

    def _take(self, provider: MeterProvider) -> None:
        if type(provider).__name__ == "_ProxyMeterProvider" or isinstance(provider, NoOpMeterProvider):
            return
        with self._lock:
            if provider is not self.provider:
                meter = provider.get_meter(SCOPE, graymw_version())
                if isinstance(meter, NoOpMeter):
                    return
                self._create(meter)
                self._retire(self.provider)
                self.provider = provider
            self._observe()

    def _create(self, meter: Meter) -> None:
        before, self._requests = self._requests, RequestMetrics(_duration(meter))
        meter.create_observable_counter(
            "graymw.decisions", [self._requests.decisions], "{decision}", "Decisions that requests were served by"
        )
        create_event_metrics(meter)
        RuleMetrics(self._engines).create(meter)
        for running in self._engines():
            running.engine.observers = tuple(each for each in running.engine.observers if each is not before)

    def _retire(self, before: MeterProvider | None) -> None:
        own = self._own
        if own is not None and id(own) == id(before):
            self._own = None
            flushing.forget(own)
            threading.Thread(target=own.shutdown, name="graymw-retire", daemon=True).start()

    def _engines(self) -> Iterable[Running]:
        return self._fleet()

    def _observe(self) -> None:
        for running in self._engines():
            if self._requests is not None and self._requests not in running.engine.observers:
                running.engine.observers = (*running.engine.observers, self._requests)


def _duration(meter: Meter) -> Histogram:
    arguments: dict[str, Any] = {
        "unit": "s",
        "description": "Duration of requests, by the decision they were served by",
    }
    with contextlib.suppress(TypeError):  # meters of others may not know the advisory
        return meter.create_histogram(
            "graymw.server.request.duration", explicit_bucket_boundaries_advisory=BUCKETS, **arguments
        )
    return meter.create_histogram("graymw.server.request.duration", **arguments)


def _subscribe(metering: Metering) -> bool:
    """Have OpenTelemetry tell when a provider is set; it offers no public way."""
    proxy = getattr(_internal, "_PROXY_METER_PROVIDER", None)
    meters = getattr(proxy, "_meters", None)
    add: Callable[[object], None] | None = getattr(meters, "append", None) or getattr(meters, "add", None)
    if add is None or not hasattr(proxy, "on_set_meter_provider"):
        counters.once(log, "metrics:subscribe", logging.WARNING, "a meter provider set after install is not noticed")
        return True
    add(metering)
    return True


def _contained(error: Exception) -> None:
    counters.count("telemetry.error")
    counters.once(log, f"metrics:{type(error).__name__}", logging.ERROR, "no metrics: %r", error, exc_info=error)


metering: Final = Metering()
"""Of this process: its meter provider is one, too."""
