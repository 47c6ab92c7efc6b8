"""set_up_metrics: a meter provider where the environment asks for one and nobody else sets it."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
from calling import ask_wsgi
from metering import DURATION, Metered
from opentelemetry import metrics
from opentelemetry.metrics import _internal
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, InMemoryMetricReader
from serving import free_port, serving
from waiting import eventually

import graymw
from graymw.telemetry import flushing, signals

NOWHERE = "http://127.0.0.1:9"
SERVICES = Path(__file__).parent / "services"
GRAY = {"x-gray-version": "true"}
fetch = build_opener(ProxyHandler({})).open


@pytest.fixture(autouse=True)
def nothing_at_exit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process of the tests ends as it always does; providers end with their test."""
    monkeypatch.setattr(flushing, "_last", {})
    monkeypatch.setattr(flushing, "_watch_sigterm", lambda: None)
    monkeypatch.setattr(flushing.atexit, "register", lambda function: function)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")  # of the attempts that go nowhere
    monkeypatch.setitem(sys.modules, "fastapi", None)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "fastapi")
    yield
    provider: Any = _internal._METER_PROVIDER
    if isinstance(provider, MeterProvider) and not provider._shutdown:
        provider.shutdown()


def install(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], **environ: str) -> Any:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return graymw.install(_app, settings=settings)


def _app(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return [b""]


def provider() -> Any:
    return _internal._METER_PROVIDER


class TestNoProviderIsSet:
    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"OTEL_METRICS_EXPORTER": "none"},
            {"OTEL_METRICS_EXPORTER": "none,console"},
            {"OTEL_METRICS_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_TRACES_EXPORTER": "none"},
        ],
    )
    def test_where_nobody_asks_for_metrics(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], environ: dict[str, str]
    ) -> None:
        install(monkeypatch, settings, **environ)
        assert provider() is None

    def test_where_the_application_has_one(self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
        theirs = MeterProvider(shutdown_on_exit=False)
        metrics.set_meter_provider(theirs)
        install(monkeypatch, settings, OTEL_METRICS_EXPORTER="console")
        assert provider() is theirs

    def test_where_fastapi_is_told_to_do_the_same(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
    ) -> None:
        monkeypatch.setitem(sys.modules, "fastapi", sys)
        install(monkeypatch, settings, OTEL_METRICS_EXPORTER="otlp", FASTAPI_OTEL_AUTO_CONFIGURE="true")
        assert provider() is None

    def test_where_nothing_asked_for_can_be_had(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        install(monkeypatch, settings, OTEL_METRICS_EXPORTER="carrier-pigeon")
        assert provider() is None
        (told,) = [message for message in caplog.messages if "pigeon" in message]
        assert re.match(
            r"there is no metrics exporter 'carrier-pigeon': OTEL_METRICS_EXPORTER may name .*prometheus", told
        )


class TestAProviderOfOurs:
    @pytest.mark.parametrize(
        "environ",
        [
            {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE},
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{NOWHERE}/v1/metrics"},
            {"OTEL_METRICS_EXPORTER": "console"},
        ],
    )
    def test_is_set_where_the_environment_asks(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], environ: dict[str, str]
    ) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        install(monkeypatch, settings, **environ)
        attributes = provider()._sdk_config.resource.attributes
        assert (attributes["service.name"], attributes["service.version"]) == ("orders", "v1")

    def test_gives_way_to_one_that_the_application_sets_later(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        installed = install(monkeypatch, settings, OTEL_METRICS_EXPORTER="console")
        ours = provider()
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
        ask_wsgi(installed, "/", GRAY)
        assert provider() is not ours
        assert Metered(reader).values(DURATION, "gray.version") == {"v2": 1}
        eventually(lambda: ours._shutdown)
        assert "Overriding" not in caplog.text
        assert not flushing._last


class Collector:
    """Takes OTLP/HTTP metrics, or answers with an error."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append(ExportMetricsServiceRequest.FromString(body))
                assert self.path == "/v1/metrics"
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def latest(self, name: str) -> list[dict[str, str]]:
        """Attributes of the points of a metric in what came last."""
        for request in reversed(self.requests):
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        if metric.name == name:
                            points = metric.histogram.data_points or metric.sum.data_points
                            return [{a.key: a.value.string_value for a in point.attributes} for point in points]
        return []


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


class TestOtlp:
    def test_goes_to_a_collector_and_what_is_last_goes_at_the_end(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], collector: Collector
    ) -> None:
        environ = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/v1/metrics",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "10",
        }
        ask_wsgi(install(monkeypatch, settings, **environ), "/", GRAY)
        flushing.flush()
        provider().shutdown()
        assert [point["gray.version"] for point in collector.latest(DURATION)] == ["v2"]

    def test_of_a_process_that_ends_right_after_its_request(
        self, collector: Collector, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        port = free_port()
        environ = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "HOME": str(tmp_path),
            **{f"GRAYMW_{name.upper()}": value for name, value in settings.items()},
        }
        command = ["python", "-m", "uvicorn", "asgi_service:app", "--port", str(port)]
        with serving(command, environ, tmp_path, port, cwd=SERVICES) as service:
            service.ask("/hello", GRAY)
            service.terminate()
        assert [point["gray.version"] for point in collector.latest(DURATION)] == ["v2"]

    def test_by_grpc_without_its_package_goes_by_http(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(signals, "entry_points", lambda **_: EntryPoints([]))
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        install(monkeypatch, settings, OTEL_METRICS_EXPORTER="otlp", OTEL_TRACES_EXPORTER="none", **environ)
        assert "metrics go by OTLP/HTTP to http://127.0.0.1:4318/v1/metrics instead" in caplog.text

    def test_to_a_collector_that_is_down_is_told_once(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        endpoint = f"http://127.0.0.1:{free_port()}/v1/metrics"
        # Long enough for a second attempt: the exporter gives its reason when it makes one.
        environ = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
        install(monkeypatch, settings, **environ)
        for _ in range(2):
            provider().force_flush(200)
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert told == [f"metrics cannot be sent to {endpoint}: [Errno 111] Connection refused"]


class TestOthers:
    def registered(self, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
        entry = EntryPoint("vendors", target, "opentelemetry_metrics_exporter")
        monkeypatch.setattr(signals, "entry_points", lambda **wanted: EntryPoints([entry]).select(**wanted))

    @pytest.mark.parametrize(
        "target",
        ["opentelemetry.sdk.metrics.export:InMemoryMetricReader", f"{__name__}:QuietExporter"],
        ids=["reader", "exporter"],
    )
    def test_are_found_where_a_distribution_registers_them(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], target: str
    ) -> None:
        self.registered(monkeypatch, target)
        install(monkeypatch, settings, OTEL_METRICS_EXPORTER="vendors")
        assert provider() is not None

    def test_that_fail_are_told_and_left_out(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        self.registered(monkeypatch, "math:sqrt")
        install(monkeypatch, settings, OTEL_METRICS_EXPORTER="vendors")
        assert provider() is None
        assert "the metrics exporter 'vendors' cannot be used: TypeError" in caplog.text


class QuietExporter(ConsoleMetricExporter):
    def export(self, *_: Any, **__: Any) -> Any:
        return None


class TestPrometheus:
    def test_fetches_them_where_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
    ) -> None:
        port = free_port()
        environ = {"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
        ask_wsgi(install(monkeypatch, settings, OTEL_METRICS_EXPORTER="prometheus", **environ), "/", GRAY)
        with fetch(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        (count,) = [line for line in lines if line.startswith("graymw_server_request_duration_seconds_count")]
        assert re.search(r'gray_release="checkout",gray_status_class="2xx",gray_version="v2".* 1\.0$', count)
        assert any(re.match(r'target_info{.*service_name="orders",service_version="v1"', line) for line in lines)
        provider().shutdown()
        eventually(lambda: not _accepts(port))

    def test_finds_a_taken_port_told_and_the_application_unharmed(
        self,
        monkeypatch: pytest.MonkeyPatch,
        settings: dict[str, Any],
        caplog: pytest.LogCaptureFixture,
        collector: Collector,
    ) -> None:
        port = str(collector.server.server_port)
        environ = {"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": port}
        installed = install(monkeypatch, settings, OTEL_METRICS_EXPORTER="prometheus", **environ)
        assert ask_wsgi(installed, "/", GRAY).status == 200
        assert provider() is None
        assert (
            f"no metrics at http://127.0.0.1:{port}/metrics: Address already in use; name a port for each process in "
            "OTEL_EXPORTER_PROMETHEUS_PORT, or have them sent by OTEL_METRICS_EXPORTER=otlp"
        ) in caplog.messages

    def test_without_its_package_is_told_how_to_get_it(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.prometheus", None)
        install(monkeypatch, settings, OTEL_METRICS_EXPORTER="prometheus")
        assert provider() is None
        assert "metrics for Prometheus need `pip install 'graymw[prometheus]'`" in caplog.messages

    @pytest.mark.parametrize("port", ["often", "70000", "-1"])
    def test_takes_its_usual_port_for_one_that_is_none(self, port: str, caplog: pytest.LogCaptureFixture) -> None:
        from graymw.telemetry.prometheus import _port

        assert _port({"OTEL_EXPORTER_PROMETHEUS_PORT": port}) == 9464
        assert f"OTEL_EXPORTER_PROMETHEUS_PORT={port} is no port: metrics are at port 9464" in caplog.messages


def _accepts(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_the_provider_of_opentelemetry_instrument_is_used(
    server: str, collector: Collector, settings: dict[str, Any], tmp_path: Path
) -> None:
    port = free_port()
    environ = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "HOME": str(tmp_path),
        **{f"GRAYMW_{name.upper()}": value for name, value in settings.items()},
    }
    command = {
        "uvicorn": ["opentelemetry-instrument", "uvicorn", "asgi_service:app", "--port", str(port)],
        "gunicorn": [
            "opentelemetry-instrument",
            "gunicorn",
            "wsgi_service:app",
            "--bind",
            f"127.0.0.1:{port}",
            "--no-control-socket",
        ],
    }
    with serving(command[server], environ, tmp_path, port, cwd=SERVICES) as service:
        assert json.loads(service.ask("/hello", GRAY))["version"] == "v2"
        eventually(lambda: [point["gray.version"] for point in collector.latest(DURATION)] == ["v2"], 20)
