"""Workers of two versions, in processes of their own, with a real Redis between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import real_brokers
from celery import Celery
from celery.result import AsyncResult
from celery.signals import before_task_publish
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from waiting import eventually

import graymw
from graymw.bootstrap import engine_for
from graymw.messaging.celery import connect
from graymw.settings.schema import Settings

SERVICES = Path(__file__).parents[1] / "messaging" / "services"
PATIENCE = 30


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_brokers.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.json"
    path.write_text(json.dumps({"schema": 1, "releases": {"checkout": {"stable": "v1", "rules": []}}}))
    return path


@contextmanager
def worker(
    broker: str, rules: Path, folder: Path, version: str, *, instrumented: str = "", **settings: str
) -> Iterator[None]:
    """A worker of a version, from the moment that it answers.

    Args:
        instrumented: When OpenTelemetry instruments it: ``before`` or ``after`` graymw; empty: never.
    """
    queue = "celery" if version == "v1" else f"celery.{version}"
    name = f"{version}-{uuid.uuid4().hex[:8]}@localhost"
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SERVICES),
        "HOME": str(folder),
        "GRAYMW_STATE_DIR": str(folder),
        "GRAYMW_SERVICE": "orders",
        "GRAYMW_VERSION": version,
        "GRAYMW_RULES": str(rules),
        "BROKER": broker,
        "INSTRUMENTED": instrumented,
        **{f"GRAYMW_{name.upper()}": value for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "celery", "-A", "celery_service", "worker", "-c", "1", "-Q", queue, "-n", name]
    output = folder / f"{name}.txt"
    with output.open("w") as sink:
        process = subprocess.Popen(
            [*command, "--loglevel", "INFO", "--without-mingle", "--without-gossip"],
            env=environ,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: process.poll() is not None or " ready." in output.read_text(), PATIENCE)
        assert process.poll() is None, output.read_text()
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def both(broker: str, rules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("workers")
    with worker(broker, rules, folder, "v1"), worker(broker, rules, folder, "v2"):
        yield


@pytest.fixture
def client(broker: str, rules: Path) -> Iterator[Celery]:
    """Who sends: an instance of ``orders`` that is asked by people."""
    engine_for(Settings.from_mapping({"service": "shop", "version": "v1", "rules": str(rules)}))
    with Celery("client", broker=broker, backend=broker, set_as_current=False) as app:
        yield connect(app)


def outcome(result: AsyncResult) -> Any:
    return result.get(timeout=PATIENCE, interval=0.02)


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_task_is_run_by_its_version_under_its_decision(client: Celery, version: str) -> None:
    with graymw.use("checkout", version):
        results = [client.send_task("work") for _ in range(3)]
    for result in results:
        told = outcome(result)
        assert (told["ran"], told["decided"], told["id"]) == (version, version, result.id)


@pytest.mark.usefixtures("both")
def test_an_undecided_task_is_stable_s(client: Celery) -> None:
    told = outcome(client.send_task("work"))
    assert (told["ran"], told["decided"]) == ("v1", None)


@pytest.mark.usefixtures("both")
def test_a_retried_task_stays_with_its_version(client: Celery) -> None:
    with graymw.use("checkout", "v2"):
        told = outcome(client.send_task("retried"))
    assert (told["ran"], told["decided"], told["retries"]) == ("v2", "v2", 1)


@pytest.mark.usefixtures("both")
def test_tasks_that_a_task_sends_inherit_its_decision(client: Celery) -> None:
    with graymw.use("checkout", "v2"):
        sent = outcome(client.send_task("sends"))
    told = outcome(AsyncResult(sent, app=client))
    assert (told["ran"], told["decided"]) == ("v2", "v2")


def test_stable_takes_over_where_no_gray_worker_lives(broker: str, rules: Path, client: Celery, tmp_path: Path) -> None:
    elsewhere = broker.removesuffix("/0") + "/1"
    with (
        Celery("other", broker=elsewhere, backend=elsewhere, set_as_current=False) as app,
        worker(elsewhere, rules, tmp_path, "v1"),
        graymw.use("checkout", "v2"),
    ):
        told = outcome(app.send_task("work"))
    assert (told["ran"], told["decided"]) == ("v1", "v2")


def test_with_the_instrumentation_of_opentelemetry_there_is_one_span_and_it_tells_the_decision(
    broker: str, rules: Path, client: Celery, tmp_path: Path
) -> None:
    elsewhere = broker.removesuffix("/0") + "/2"
    tracer = TracerProvider()
    CeleryInstrumentor().instrument(tracer_provider=tracer)
    try:
        with (
            Celery("other", broker=elsewhere, backend=elsewhere, set_as_current=False) as app,
            worker(elsewhere, rules, tmp_path, "v1", instrumented="after"),
            tracer.get_tracer("test").start_as_current_span("caller") as span,
            graymw.use("checkout", "v1"),
        ):
            told = outcome(app.send_task("work"))
    finally:
        CeleryInstrumentor().uninstrument()
    assert (told["decided"], told["gray"], told["kind"]) == ("v1", "v1", "SpanKind.CONSUMER")
    assert told["trace"] == f"{span.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("order", ["before", "after"])
def test_signatures_hold_whichever_is_there_first(broker: str, rules: Path, tmp_path: Path, order: str) -> None:
    """OpenTelemetry's instrumentation or ours, at whoever sends and at the workers, which send in their turn."""
    database = broker.removesuffix("/0") + {"before": "/3", "after": "/4"}[order]
    signed = {"trust": "signed", "secret": "a secret of at least thirty-two characters"}
    engine_for(Settings.from_mapping({"service": "shop", "version": "v1", "rules": str(rules), **signed}))
    before_task_publish.disconnect(dispatch_uid="graymw")
    tracer = TracerProvider()
    with Celery("signing", broker=database, backend=database, set_as_current=False) as app:
        if order == "after":
            connect(app)
        CeleryInstrumentor().instrument(tracer_provider=tracer)
        try:
            if order == "before":
                connect(app)
            with (
                worker(database, rules, tmp_path, "v1", instrumented=order, **signed),
                worker(database, rules, tmp_path, "v2", instrumented=order, **signed),
                tracer.get_tracer("test").start_as_current_span("caller") as span,
                graymw.use("checkout", "v2"),
            ):
                sent = outcome(app.send_task("sends"))
                told = outcome(AsyncResult(sent, app=app))
        finally:
            CeleryInstrumentor().uninstrument()
    assert (told["ran"], told["decided"], told["gray"]) == ("v2", "v2", "v2")
    assert told["trace"] == f"{span.get_span_context().trace_id:032x}"
