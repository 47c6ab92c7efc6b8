"""A Celery worker: tells which version of it ran a task, under which decision, and within which span."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider

import graymw
from graymw.messaging.celery import connect

graymw.instrument()
url = os.environ["BROKER"]
if os.environ.get("INSTRUMENTED"):
    trace.set_tracer_provider(TracerProvider())
if os.environ.get("INSTRUMENTED") == "before":
    CeleryInstrumentor().instrument()
app = connect(Celery("orders", broker=url, backend=url))
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
if os.environ.get("INSTRUMENTED") == "after":
    CeleryInstrumentor().instrument()


def told(task: Task) -> dict[str, Any]:
    span = trace.get_current_span()
    return {
        "ran": os.environ["GRAYMW_VERSION"],
        "decided": graymw.current().version("checkout"),
        "trace": f"{span.get_span_context().trace_id:032x}",
        "kind": str(getattr(span, "kind", "")),
        "gray": dict(getattr(span, "attributes", None) or {}).get("gray.version"),
        "id": task.request.id,
        "retries": task.request.retries,
    }


@app.task(bind=True, name="work")
def work(self: Task) -> dict[str, Any]:
    return told(self)


@app.task(bind=True, name="retried", max_retries=2)
def retried(self: Task) -> dict[str, Any]:
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return told(self)


@app.task(bind=True, name="sends")
def sends(self: Task) -> str:
    return str(work.apply_async().id)
