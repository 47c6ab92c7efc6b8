"""set_up_tracing: a provider where the environment asks for export and nobody else sets one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from graymw.settings.schema import Settings
from graymw.telemetry import flushing, setup
from graymw.telemetry.processor import GraySpanProcessor

NOWHERE = "http://127.0.0.1:9"
SETTINGS = Settings(service="orders", version="v1")


@pytest.fixture(autouse=True)
def nothing_at_exit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process of the tests ends as it always does; providers end with their test."""
    monkeypatch.setattr(flushing, "_last", {})
    monkeypatch.setattr(flushing, "_watch_sigterm", lambda: None)
    monkeypatch.setattr(flushing.atexit, "register", lambda function: function)
    monkeypatch.setitem(sys.modules, "fastapi", None)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "fastapi")
    yield
    provider: Any = trace._TRACER_PROVIDER
    if isinstance(provider, TracerProvider):
        provider.shutdown()


def set_up(monkeypatch: pytest.MonkeyPatch, settings: Settings = SETTINGS, **environ: str) -> Any:
    """The provider that stands afterwards; None for none."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    setup.set_up_tracing(settings)
    return trace._TRACER_PROVIDER


def resource(provider: TracerProvider) -> tuple[object, object]:
    attributes = provider.resource.attributes
    return attributes.get("service.name"), attributes.get("service.version")


class TestWhenNobodyAsks:
    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"OTEL_TRACES_EXPORTER": "none"},
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_SDK_DISABLED": "true"},
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": NOWHERE},
        ],
    )
    def test_no_provider_is_set(self, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
        assert set_up(monkeypatch, **environ) is None

    def test_nor_where_fastapi_is_told_to_export_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "fastapi", sys)
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "FASTAPI_OTEL_AUTO_CONFIGURE": "true"}
        assert set_up(monkeypatch, **environ) is None


class TestWhenTheEnvironmentAsks:
    @pytest.mark.parametrize(
        "environ",
        [
            {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE},
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE + "/v1/traces"},
            {"OTEL_TRACES_EXPORTER": "otlp"},
            {"OTEL_TRACES_EXPORTER": "console"},
        ],
    )
    def test_a_provider_is_set(self, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
        assert isinstance(set_up(monkeypatch, **environ), TracerProvider)

    def test_spans_are_tagged_from_the_first_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        provider = set_up(monkeypatch, OTEL_TRACES_EXPORTER="otlp")
        held = provider._active_span_processor._span_processors
        assert [type(processor) for processor in held].count(GraySpanProcessor) == 1

    def test_a_second_application_of_the_process_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = set_up(monkeypatch, OTEL_TRACES_EXPORTER="otlp")
        assert set_up(monkeypatch, settings=Settings(service="edge", version="v2")) is first

    def test_the_samplers_of_the_sdk_are_chosen_by_its_own_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        provider = set_up(monkeypatch, OTEL_TRACES_EXPORTER="otlp", OTEL_TRACES_SAMPLER="always_off")
        assert provider.sampler is ALWAYS_OFF


class TestTheResource:
    def test_has_service_and_version_of_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert resource(set_up(monkeypatch, OTEL_TRACES_EXPORTER="otlp")) == ("orders", "v1")

    def test_has_opentelemetrys_own_where_they_are_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        environ = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_SERVICE_NAME": "orders-api",
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=2026.11,team=shop",
        }
        provider = set_up(monkeypatch, **environ)
        assert resource(provider) == ("orders-api", "2026.11")
        assert provider.resource.attributes["team"] == "shop"

    def test_claims_no_service_that_nobody_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings.from_mapping({}, environ={})
        service, version = resource(set_up(monkeypatch, settings, OTEL_TRACES_EXPORTER="otlp"))
        assert str(service).startswith("unknown_service")
        assert version is None


class TestTheApplicationsOwnProvider:
    def test_is_used_as_it_is(self, monkeypatch: pytest.MonkeyPatch, provider: TracerProvider) -> None:
        trace.set_tracer_provider(provider)
        before = provider._active_span_processor._span_processors
        assert set_up(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE) is provider
        added = provider._active_span_processor._span_processors[len(before) :]
        assert [type(processor) for processor in added] == [GraySpanProcessor]

    def test_takes_the_place_of_ours_where_it_is_set_later(
        self, monkeypatch: pytest.MonkeyPatch, provider: TracerProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        ours = set_up(monkeypatch, OTEL_TRACES_EXPORTER="otlp")
        trace.set_tracer_provider(provider)
        assert trace.get_tracer_provider() is provider is not ours
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        assert trace.get_tracer_provider() is provider, "only ours gives way"
        assert caplog.messages == ["Overriding of current TracerProvider is not allowed"]
        ours.shutdown()

    def test_named_by_the_environment_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        environ = {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider", "OTEL_TRACES_EXPORTER": "otlp"}
        assert set_up(monkeypatch, **environ) is None


class TestFaults:
    def test_unknown_names_leave_one_line_each(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert set_up(monkeypatch, OTEL_TRACES_EXPORTER="zipkon") is None
        setup.set_up_tracing(SETTINGS)
        (told,) = caplog.messages
        assert told.startswith("there is no span exporter 'zipkon': OTEL_TRACES_EXPORTER may name console, jaeger, ")

    def test_known_ones_beside_them_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert set_up(monkeypatch, OTEL_TRACES_EXPORTER="zipkon,console") is not None

    def test_whatever_fails_is_told_and_the_application_starts(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(setup, "_set_provider", lambda *_: 1 / 0)
        with caplog.at_level(logging.ERROR):
            assert set_up(monkeypatch, OTEL_TRACES_EXPORTER="otlp") is None
        assert caplog.messages == ["no traces are exported: ZeroDivisionError('division by zero')"]
