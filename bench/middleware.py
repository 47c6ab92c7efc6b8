"""What graymw adds to a request, against the bare app, a no-op middleware, a floor by hand and OpenTelemetry's own.

    python -m bench.middleware

In process, no sockets: an ASGI coroutine that never waits is driven by hand. Thirteen headers as a browser and a proxy
send them; five rules that all miss but the last, a bucket. ``hop`` has the decision in its baggage already.
"""

from __future__ import annotations

import contextvars
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from rich.console import Console
from rich.table import Table

import graymw
from bench.harness import Timing, keep, measure
from bench.served import (
    EDGE,
    HOP,
    Floor,
    NoOp,
    Nothing,
    asgi_call,
    bare_asgi,
    bare_wsgi,
    fastapi_app,
    flask_app,
    noop_wsgi,
    rule_file,
    starlette_app,
    with_middleware,
    wsgi_call,
)
from graymw.runtime import tracing


def main() -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as Contrib
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as ContribWSGI

    settings = {"service": "orders", "version": "v1", "rules": rule_file()}
    cases: dict[str, Any] = {}

    def both(name: str, call: Any, app: Any) -> None:
        cases[f"{name} edge"] = call(app, EDGE)
        cases[f"{name} hop"] = call(app, HOP)

    both("asgi bare", asgi_call, bare_asgi)
    both("asgi no-op", asgi_call, NoOp(bare_asgi))
    both("asgi floor", asgi_call, Floor(bare_asgi))
    both("asgi graymw", asgi_call, graymw.install(bare_asgi, settings=settings))
    both(
        "asgi contrib, no SDK",
        asgi_call,
        Contrib(bare_asgi, tracer_provider=trace.NoOpTracerProvider()),
    )
    for framework, make in (("starlette", starlette_app), ("fastapi", fastapi_app)):
        both(f"{framework} bare", asgi_call, make())
        both(f"{framework} no-op", asgi_call, with_middleware(make(), NoOp))
        both(f"{framework} floor", asgi_call, with_middleware(make(), Floor))
        both(f"{framework} graymw", asgi_call, graymw.install(make(), settings=settings))
    both("wsgi bare", wsgi_call, bare_wsgi)
    both("wsgi no-op", wsgi_call, noop_wsgi(bare_wsgi))
    both("wsgi graymw", wsgi_call, graymw.install(bare_wsgi, settings=settings))
    both("flask bare", wsgi_call, flask_app())
    wrapped = flask_app()
    wrapped.wsgi_app = noop_wsgi(wrapped.wsgi_app)
    both("flask no-op", wsgi_call, wrapped)
    both("flask graymw", wsgi_call, graymw.install(flask_app(), settings=settings))
    plain = measure(cases)

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nothing(), max_queue_size=2048, schedule_delay_millis=200))
    trace.set_tracer_provider(provider)
    tracing.recording_tracer()
    recorded: dict[str, Any] = {}
    recorded["asgi bare"] = asgi_call(bare_asgi, EDGE)
    recorded["asgi graymw"] = asgi_call(graymw.install(bare_asgi, settings=settings), EDGE)
    recorded["asgi graymw hop"] = asgi_call(graymw.install(bare_asgi, settings=settings), HOP)
    recorded["asgi contrib"] = asgi_call(Contrib(bare_asgi, tracer_provider=provider), EDGE)
    recorded["asgi contrib, server span only"] = asgi_call(
        Contrib(bare_asgi, tracer_provider=provider, exclude_spans=["receive", "send"]), EDGE
    )
    recorded["asgi contrib + graymw"] = asgi_call(
        Contrib(graymw.install(bare_asgi, settings=settings), tracer_provider=provider), EDGE
    )
    recorded["wsgi bare"] = wsgi_call(bare_wsgi, EDGE)
    recorded["wsgi graymw"] = wsgi_call(graymw.install(bare_wsgi, settings=settings), EDGE)
    recorded["wsgi contrib"] = wsgi_call(ContribWSGI(bare_wsgi, tracer_provider=provider), EDGE)
    with_spans = measure(recorded)
    _report(plain, with_spans)


def _report(plain: dict[str, Timing], spans: dict[str, Timing]) -> None:
    added = {
        name: timing.minimum - plain[f"{name.split()[0]} bare {name.split()[-1]}"].minimum
        for name, timing in plain.items()
    }
    added_spans = {name: timing.minimum - spans[f"{name.split()[0]} bare"].minimum for name, timing in spans.items()}
    contrib = added_spans["asgi contrib"]
    goals = {
        "edge, times the floor (asgi; goal 1.5)": added["asgi graymw edge"] / added["asgi floor edge"],
        "edge, times the floor (starlette; goal 1.5)": added["starlette graymw edge"] / added["starlette floor edge"],
        "hop, times the floor (asgi)": added["asgi graymw hop"] / added["asgi floor hop"],
        "edge / contrib (goal 0.10)": added["asgi graymw edge"] / contrib,
        "hop / contrib (goal 0.06)": added["asgi graymw hop"] / contrib,
        "own span recorded / contrib (goal 0.35)": added_spans["asgi graymw"] / contrib,
        "own span recorded / contrib's server span alone": added_spans["asgi graymw"]
        / added_spans["asgi contrib, server span only"],
        "contrib + graymw / contrib": spans["asgi contrib + graymw"].minimum / spans["asgi contrib"].minimum,
        "wsgi own span / contrib wsgi": added_spans["wsgi graymw"] / added_spans["wsgi contrib"],
        "flask edge / no-op": plain["flask graymw edge"].minimum / plain["flask no-op edge"].minimum,
        "fastapi edge / no-op": plain["fastapi graymw edge"].minimum / plain["fastapi no-op edge"].minimum,
    }
    console = Console()
    for title, timings, extra in (("no tracing", plain, added), ("spans recorded", spans, added_spans)):
        table = Table("case", "minimum us", "median us", "added us", title=title)
        for name, timing in timings.items():
            table.add_row(name, f"{timing.minimum:.2f}", f"{timing.median:.2f}", f"{extra[name]:.2f}")
        console.print(table)
    table = Table("goal", "reached")
    for name, ratio in goals.items():
        table.add_row(name, f"{ratio:.3f}")
    console.print(table)
    keep("middleware", {"added": added, "added_spans": added_spans, "ratios": goals})


if __name__ == "__main__":
    contextvars.copy_context().run(main)
