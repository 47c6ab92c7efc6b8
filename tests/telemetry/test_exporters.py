"""Which exporters the environment names, and what is said of those that cannot be had."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from graymw.telemetry import signals
from graymw.telemetry.exporters import Export, made, wanted
from graymw.telemetry.signals import TRACES


class BrokenExporter(SpanExporter):
    def __init__(self) -> None:
        raise OSError("no such device")


class OldThriftExporter(SpanExporter):
    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments


def register(monkeypatch: pytest.MonkeyPatch, **classes: str) -> None:
    """Exporters that installed distributions register, besides the real ones."""
    real = signals.entry_points
    more = [EntryPoint(name, f"{__name__}:{kind}", TRACES.group) for name, kind in classes.items()]

    def entry_points(**wanted: Any) -> EntryPoints:
        mine = EntryPoints(more).select(**wanted)
        return EntryPoints([*mine, *real(**wanted)])

    monkeypatch.setattr(signals, "entry_points", entry_points)


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, ()),
        ({"OTEL_TRACES_EXPORTER": ""}, ()),
        ({"OTEL_TRACES_EXPORTER": "none"}, ()),
        ({"OTEL_TRACES_EXPORTER": "console, otlp,,console"}, ("console", "otlp")),
        ({"OTEL_TRACES_EXPORTER": "none,otlp"}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "console"}, ("console",)),
    ],
)
def test_the_names_asked_for(environ: dict[str, str], names: tuple[str, ...]) -> None:
    assert wanted(environ) == names


def one(monkeypatch: pytest.MonkeyPatch, **environ: str) -> Export:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (export,) = made({"OTEL_TRACES_EXPORTER": "otlp", **environ})
    return export


class TestOtlp:
    def test_goes_by_http_to_the_local_collector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        export = one(monkeypatch)
        assert isinstance(export.exporter, OTLPSpanExporter)
        assert export.target == "http://localhost:4318"
        assert not export.at_once

    def test_goes_where_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        export: Any = one(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="http://user:secret@collector:4318")
        assert export.exporter._endpoint == "http://user:secret@collector:4318/v1/traces"
        assert export.target == "http://***@collector:4318"
        assert not caplog.messages

    def test_to_the_port_of_grpc_is_told(self, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
        one(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="http://jaeger:4317")
        (told,) = caplog.messages
        assert told == (
            "http://jaeger:4317 is the port of OTLP/gRPC, but spans go by OTLP/HTTP: name port 4318, "
            "or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
        )

    @pytest.mark.parametrize(
        ("endpoint", "instead"),
        [
            ("http://jaeger:4317", "http://jaeger:4318/v1/traces"),
            ("jaeger:4317", "http://jaeger:4318/v1/traces"),
            ("https://otlp.example.com", "https://otlp.example.com/v1/traces"),
            ("", "http://localhost:4318/v1/traces"),
        ],
    )
    def test_by_grpc_without_its_package_goes_by_http_and_says_how_to_get_it(
        self, monkeypatch: pytest.MonkeyPatch, caplog: Any, endpoint: str, instead: str
    ) -> None:
        export: Any = one(monkeypatch, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        assert export.exporter._endpoint == instead
        (told,) = caplog.messages
        assert told == (
            "OTLP/gRPC needs `pip install opentelemetry-exporter-otlp-proto-grpc`: "
            f"spans go by OTLP/HTTP to {instead} instead"
        )

    def test_by_grpc_with_its_package_goes_by_grpc(self, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
        register(monkeypatch, otlp_proto_grpc="InMemorySpanExporter")
        export = one(monkeypatch, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="grpc", OTEL_EXPORTER_OTLP_PROTOCOL="http/json")
        assert isinstance(export.exporter, InMemorySpanExporter)
        assert export.target == "http://localhost:4317"
        assert not caplog.messages

    def test_by_a_protocol_nobody_speaks_goes_by_http(self, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
        assert isinstance(one(monkeypatch, OTEL_EXPORTER_OTLP_PROTOCOL="http/json").exporter, OTLPSpanExporter)
        assert caplog.messages == ["no OTLP exporter speaks 'http/json': spans go by http/protobuf"]


def test_the_console_gets_each_span_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    export = one(monkeypatch, OTEL_TRACES_EXPORTER="console")
    assert isinstance(export.exporter, ConsoleSpanExporter)
    assert export.at_once


class TestJaeger:
    @pytest.mark.parametrize("name", ["jaeger", "jaeger_thrift"])
    def test_without_its_package_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, caplog: Any, name: str) -> None:
        monkeypatch.setattr(signals, "entry_points", lambda **_: EntryPoints())
        assert made({"OTEL_TRACES_EXPORTER": name}) == []
        (told,) = caplog.messages
        assert told == (
            "no Jaeger thrift exporter (it is not installed): set OTEL_TRACES_EXPORTER=otlp, which Jaeger takes on "
            "port 4318, or `pip install 'graymw[jaeger-legacy]'` into an environment of its own"
        )

    @pytest.mark.parametrize("name", ["jaeger", "jaeger_thrift"])
    def test_with_its_package_splits_what_one_datagram_does_not_take(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        register(monkeypatch, jaeger_thrift="OldThriftExporter")
        export: Any = one(monkeypatch, OTEL_TRACES_EXPORTER=name)
        assert export.exporter.arguments == {"udp_split_oversized_batches": True}
        assert export.target == "udp://localhost:6831"

    def test_names_its_collector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        register(monkeypatch, jaeger_thrift="OldThriftExporter")
        collector = "http://jaeger:14268/api/traces"
        export = one(monkeypatch, OTEL_TRACES_EXPORTER="jaeger", OTEL_EXPORTER_JAEGER_ENDPOINT=collector)
        assert export.target == collector


class TestOthers:
    def test_are_found_where_a_distribution_registers_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        register(monkeypatch, memory="InMemorySpanExporter")
        assert isinstance(one(monkeypatch, OTEL_TRACES_EXPORTER="memory").exporter, InMemorySpanExporter)

    def test_that_fail_are_told_and_left_out(self, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
        register(monkeypatch, broken="BrokenExporter")
        assert one(monkeypatch, OTEL_TRACES_EXPORTER="broken,console").name == "console"
        assert caplog.messages == ["the span exporter 'broken' cannot be used: OSError: no such device"]
