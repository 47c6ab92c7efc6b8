"""Spans that really leave a process: real servers, a real OTLP receiver, and servers that are told to end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from serving import Service, free_port, serving
from waiting import eventually

from graymw.demo.receiver import Receiver
from graymw.demo.spans import ExportedSpan, SpanStore

SERVICES = Path(__file__).parent / "services"
GRAY = {"x-gray-version": "true"}
UVICORN = ("python", "-m", "uvicorn", "asgi_service:app")
GUNICORN = ("python", "-m", "gunicorn", "wsgi_service:app")
INSTRUMENT = ("python", "-m", "opentelemetry.instrumentation.auto_instrumentation")


class Exported:
    """What a receiver got."""

    def __init__(self) -> None:
        self.store = SpanStore()

    @property
    def spans(self) -> list[ExportedSpan]:
        return [span for trace in self.store._traces.values() for span in trace]

    def of_kind(self, kind: str) -> list[ExportedSpan]:
        return [span for span in self.spans if span.kind == kind]


@pytest.fixture
def exported() -> Exported:
    return Exported()


@pytest.fixture
def environ(exported: Exported, settings: dict[str, Any]) -> Iterator[dict[str, str]]:
    """A gray service that exports to a receiver."""
    with Receiver(exported.store) as receiver:
        yield {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            **{f"GRAYMW_{name.upper()}": value for name, value in settings.items()},
        }


def run(command: Sequence[str], environ: dict[str, str], folder: Path, *more: str) -> Any:
    port = free_port()
    address = (str(port),) if command[-1].endswith(".py") else ("--port", str(port))
    if "gunicorn" in command:
        address = ("--bind", f"127.0.0.1:{port}")
    return serving([*command, *address, *more], {"HOME": str(folder), **environ}, folder, port, cwd=SERVICES)


def check(exported: Exported) -> None:
    """At least one request, all of them gray, each with one SERVER span of this service."""
    servers = exported.of_kind("server")
    assert servers
    assert len({span.trace_id for span in servers}) == len(servers)
    for span in exported.spans:
        assert span.attributes["gray.context"] == "checkout=v2", span.name
        assert (span.resource["service.name"], span.resource["service.version"]) == ("orders", "v1")
    for span in servers:
        assert span.attributes["gray.rule"] == "testers"
        assert span.attributes["gray.served_version"] == "v1"
        assert span.attributes["gray.honoured"] is False


class TestTheLastSpans:
    """Nothing waits for a batch to fill: the process ends right after its requests."""

    def test_of_uvicorn(self, environ: dict[str, str], exported: Exported, tmp_path: Path) -> None:
        with run(UVICORN, environ, tmp_path) as service:
            service.ask("/hello", GRAY)
            service.terminate()
        check(exported)

    @pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
    def test_of_gunicorn(
        self, environ: dict[str, str], exported: Exported, tmp_path: Path, preload: tuple[str, ...]
    ) -> None:
        with run(GUNICORN, environ, tmp_path, "--no-control-socket", *preload) as service:
            for _ in range(4):
                service.ask("/hello", GRAY)
            assert service.terminate() == 0
        check(exported)
        assert len(exported.of_kind("server")) == 4

    def test_of_a_process_that_handles_no_signals(
        self, environ: dict[str, str], exported: Exported, tmp_path: Path
    ) -> None:
        with run(("python", "wsgi_service.py"), environ, tmp_path) as service:
            service.ask("/hello", GRAY)
            service.ask("/hello", GRAY)  # its server takes one request after the other: the first has ended
            assert service.terminate() == -signal.SIGTERM
        check(exported)


def test_workers_of_a_preloaded_application_send_while_they_serve(
    environ: dict[str, str], exported: Exported, tmp_path: Path
) -> None:
    """The thread that sends does not survive the fork; the SDK starts it again in each worker."""
    fast = {**environ, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with run(GUNICORN, fast, tmp_path, "--workers", "2", "--preload", "--no-control-socket") as service:
        pids = {json.loads(service.ask("/hello", GRAY))["pid"] for _ in range(4)}
        eventually(lambda: len(exported.of_kind("server")) == 4, 20)
    assert service.process.pid not in pids
    check(exported)


class TestACollectorThatIsDown:
    @pytest.mark.parametrize("command", [UVICORN, ("python", "wsgi_service.py")], ids=["uvicorn", "plain"])
    def test_costs_one_line_and_no_request(
        self, environ: dict[str, str], tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        endpoint = f"http://127.0.0.1:{free_port()}"
        down = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with run(command, down, tmp_path) as service:
            for _ in range(3):
                assert json.loads(service.ask("/hello", GRAY))["version"] == "v2"
            eventually(lambda: "spans cannot be sent" in service.output)
            service.terminate()
        told = [line for line in service.output.splitlines() if "span" in line.lower() or "Traceback" in line]
        reason = "[Errno 111] Connection refused"
        assert told == [f"spans cannot be sent to {endpoint}, and may be lost until they can: {reason}"]


def test_the_console_shows_each_span_at_once(environ: dict[str, str], tmp_path: Path) -> None:
    with run(("python", "wsgi_service.py"), {**environ, "OTEL_TRACES_EXPORTER": "console"}, tmp_path) as service:
        service.ask("/hello", GRAY)
        eventually(lambda: '"gray.rule": "testers"' in service.output)
    assert service.output.count('"kind": "SpanKind.SERVER"') == 1


class TestOpentelemetryInstrument:
    """``opentelemetry-instrument uvicorn …`` with every instrumentation that is installed."""

    @pytest.fixture
    def traced(self, environ: dict[str, str]) -> dict[str, str]:
        return {
            **environ,
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_SERVICE_NAME": "orders",
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=v1",
        }

    def commands(self, server: str) -> tuple[str, ...]:
        return ("opentelemetry-instrument", *(UVICORN if server == "uvicorn" else GUNICORN)[2:])

    @pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
    def test_every_request_has_one_server_span(
        self, server: str, traced: dict[str, str], exported: Exported, tmp_path: Path
    ) -> None:
        more = ("--no-control-socket",) if server == "gunicorn" else ()
        with run(self.commands(server), traced, tmp_path, *more) as service:
            service.ask("/hello", GRAY)
            service.ask("/hello", GRAY)
            eventually(lambda: len(exported.of_kind("server")) >= 2, 20)
        check(exported)
        assert len(exported.of_kind("server")) == 2

    def test_calls_carry_the_context_and_are_tagged(
        self, traced: dict[str, str], exported: Exported, tmp_path: Path
    ) -> None:
        port = free_port()
        calling = {**traced, "NEXT": f"http://127.0.0.1:{port}/hello"}
        with (
            serving([*self.commands("uvicorn"), "--port", str(port)], traced, tmp_path, port, cwd=SERVICES),
            run(self.commands("uvicorn"), calling, tmp_path) as first,
        ):
            first.ask("/call", GRAY)
            eventually(lambda: len(exported.of_kind("server")) >= 2, 20)
        servers, clients = exported.of_kind("server"), exported.of_kind("client")
        assert len({span.trace_id for span in exported.spans}) == 1
        assert sorted(str(span.attributes["gray.reason"]) for span in servers) == ["inherited", "match"]
        assert len(clients) == 1
        assert {span.attributes["gray.context"] for span in exported.spans} == {"checkout=v2"}


@pytest.mark.parametrize("instrumented", [False, True], ids=["fastapi's own telemetry", "opentelemetry-instrument"])
def test_a_large_body_leaves_nothing_for_the_next_request_of_its_connection(
    environ: dict[str, str], exported: Exported, tmp_path: Path, instrumented: bool
) -> None:
    """With asyncio's loop the next request begins in the context of the one before (python/cpython#140947)."""
    more = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    command = ("opentelemetry-instrument", *UVICORN[2:]) if instrumented else UVICORN
    with run(command, {**environ, **more}, tmp_path, "--loop", "asyncio") as service:
        versions = _upload_then_ask(service)
        eventually(lambda: len(exported.of_kind("server")) >= 2, 20)
    assert versions == ["v2", "v1"]
    assert [span.attributes["gray.version"] for span in exported.of_kind("server")] == ["v2", "v1"]
    _, unmarked = exported.of_kind("server")
    later = [span for span in exported.spans if "/hello" in span.name or span.trace_id == unmarked.trace_id]
    assert {span.attributes["gray.context"] for span in later} == {"checkout=v1"}


def _upload_then_ask(service: Service) -> list[str]:
    """A large upload that is gray, then an unmarked request on the same connection; the versions they got."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    versions = []
    for method, path, body, headers in (("POST", "/upload", b"x" * 4_000_000, GRAY), ("GET", "/hello", None, {})):
        connection.request(method, path, body, headers)
        versions.append(json.loads(connection.getresponse().read())["version"])
    connection.close()
    return versions
