"""What metrics add to a request: nothing without a meter provider; with one, against OpenTelemetry's instrumentation.

    python -m bench.metrics

In process, no sockets, as ``bench.middleware``. No spans are recorded, so that only metrics differ.
"""

from __future__ import annotations

import contextvars
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NoOpTracerProvider
from rich.console import Console
from rich.table import Table

import graymw
from bench.harness import Timing, keep, measure
from bench.served import EDGE, HOP, asgi_call, bare_asgi, bare_wsgi, rule_file, wsgi_call


def main() -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as Contrib
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as ContribWSGI

    settings = {"service": "orders", "version": "v1", "rules": rule_file()}
    asgi, wsgi = graymw.install(bare_asgi, settings=settings), graymw.install(bare_wsgi, settings=settings)
    cases: dict[str, Any] = {
        "asgi bare": asgi_call(bare_asgi, EDGE),
        "asgi graymw edge": asgi_call(asgi, EDGE),
        "asgi graymw hop": asgi_call(asgi, HOP),
        "wsgi bare": wsgi_call(bare_wsgi, EDGE),
        "wsgi graymw edge": wsgi_call(wsgi, EDGE),
    }
    without = measure(cases)
    # What of us is installed from here on is measured by this provider, and so is what was before.
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    tracing = {"tracer_provider": NoOpTracerProvider(), "meter_provider": provider}
    record = provider.get_meter("bench").create_histogram("bench", "s").record
    attributes = {"gray.release": "checkout", "gray.version": "v2", "gray.active": True, "gray.status_class": "2xx"}
    cases["one histogram record of the SDK"] = lambda: record(0.004, attributes)
    cases["asgi contrib"] = asgi_call(Contrib(bare_asgi, exclude_spans=["receive", "send"], **tracing), EDGE)
    cases["wsgi contrib"] = wsgi_call(ContribWSGI(bare_wsgi, **tracing), EDGE)
    _report(without, measure(cases))


def _report(without: dict[str, Timing], with_metrics: dict[str, Timing]) -> None:
    def added(timings: dict[str, Timing], name: str) -> float:
        return timings[name].minimum - timings[f"{name.split(maxsplit=1)[0]} bare"].minimum

    record = with_metrics["one histogram record of the SDK"].minimum
    names = ("asgi graymw edge", "asgi graymw hop", "wsgi graymw edge")
    metered = {name: added(with_metrics, name) - added(without, name) for name in names}
    ratios = {
        **{f"{name}: metrics / one record of the SDK": cost / record for name, cost in metered.items()},
        "asgi edge with metrics / contrib with metrics": added(with_metrics, names[0])
        / added(with_metrics, "asgi contrib"),
        "wsgi edge with metrics / contrib with metrics": added(with_metrics, names[2])
        / added(with_metrics, "wsgi contrib"),
    }
    console = Console()
    for title, timings in (("no meter provider", without), ("metrics recorded", with_metrics)):
        table = Table("case", "minimum us", "median us", title=title)
        for name, timing in timings.items():
            table.add_row(name, f"{timing.minimum:.2f}", f"{timing.median:.2f}")
        console.print(table)
    table = Table("ratio", "reached")
    for name, ratio in ratios.items():
        table.add_row(name, f"{ratio:.3f}")
    console.print(table)
    keep("metrics", {"metered": metered, "ratios": ratios})


if __name__ == "__main__":
    contextvars.copy_context().run(main)
