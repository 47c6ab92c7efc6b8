"""Samplers that ``OTEL_TRACES_SAMPLER`` names, in a provider of ours and under ``opentelemetry-instrument``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk import _configuration
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from serving import free_port, serving
from waiting import eventually

import graymw
from graymw.demo.receiver import Receiver
from graymw.demo.spans import SpanStore
from graymw.runtime import counters
from graymw.telemetry import sampler_environment
from graymw.telemetry.sampler_environment import EXAMPLE, from_environment, parent_based_sampler, ratios, sampler

SERVICES = Path(__file__).parent / "services"
GRAY = {"x-gray-version": "true"}

ratio = st.floats(0, 1)


class TestAnArgument:
    @given(gray=ratio, stable=ratio)
    def test_names_a_ratio_for_each(self, gray: float, stable: float) -> None:
        assert ratios(f"gray={gray!r},stable={stable!r}") == {"gray": gray, "stable": stable}

    @pytest.mark.parametrize(
        ("argument", "read"),
        [
            ("", {}),
            ("0.05", {"stable": 0.05}),
            ("stable=5%", {"stable": 0.05}),
            (" stable = 0.25 , gray = 1 ", {"stable": 0.25, "gray": 1.0}),
        ],
    )
    def test_may_be_shorter(self, argument: str, read: dict[str, float]) -> None:
        assert ratios(argument) == read

    @pytest.mark.parametrize(
        ("argument", "why"),
        [
            ("gray=2", "'2' is no number from 0 to 1"),
            ("stable=often", "'often' is no number from 0 to 1"),
            ("stable=nan", "'nan' is no number from 0 to 1"),
            ("stable=0,05", "the ratio 'stable' is given twice"),
            ("grey=1", "there is no ratio 'grey'"),
        ],
    )
    def test_that_cannot_be_used_keeps_every_trace_and_says_so_in_one_sentence(
        self, argument: str, why: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = parent_based_sampler(argument)
        assert made.get_description() == "GraySampler{gray:1.0,stable:1.0}"
        parent_based_sampler(argument)
        assert [record.getMessage() for record in caplog.records] == [
            f"every trace is kept, as OTEL_TRACES_SAMPLER_ARG={argument} cannot be used: {why}; write it like {EXAMPLE}"
        ]
        assert counters.snapshot() == {"telemetry.sampler": 2}

    @given(st.text())
    def test_never_raises_whatever_it_is(self, argument: str) -> None:
        assert isinstance(sampler(argument), graymw.GraySampler)


class TestAProviderOfOurs:
    @pytest.mark.parametrize(
        ("name", "described"),
        [
            ("parentbased_graymw", "GraySampler{gray:1.0,stable:0.05}"),
            ("graymw", "GraySampler{gray:1.0,stable:0.05,parentBased:false}"),
            (" GrayMW ", "GraySampler{gray:1.0,stable:0.05,parentBased:false}"),
        ],
    )
    def test_takes_the_sampler_that_is_named(
        self, name: str, described: str, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
    ) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "gray=1.0,stable=0.05")
        graymw.install(lambda environ, start: [], settings=settings)
        provider: Any = trace.get_tracer_provider()
        assert provider.sampler.get_description() == described

    @pytest.mark.parametrize("name", ["", "always_off", "parentbased_traceidratio", "nobodys"])
    def test_leaves_every_other_name_to_the_sdk(self, name: str) -> None:
        assert from_environment({"OTEL_TRACES_SAMPLER": name}) is None

    @pytest.mark.parametrize(
        ("named", "described"),
        [("", "GraySampler{gray:1.0,stable:0.05}"), ("always_off", "AlwaysOffSampler")],
    )
    def test_takes_ours_where_settings_ask_for_ratios_and_none_is_named(
        self, named: str, described: str, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
    ) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", named)
        graymw.install(lambda environ, start: [], settings={**settings, "sample_stable": "5%"})
        provider: Any = trace.get_tracer_provider()
        assert provider.sampler.get_description() == described

    def test_takes_those_of_other_distributions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        registered(monkeypatch, "opentelemetry.sdk.trace.sampling:_AlwaysOff")
        made = from_environment({"OTEL_TRACES_SAMPLER": "vendors"})
        assert made is not None
        assert made.get_description() == ALWAYS_OFF.get_description()

    def test_does_without_one_that_fails(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        registered(monkeypatch, "math:sqrt")
        with caplog.at_level(logging.WARNING):
            assert from_environment({"OTEL_TRACES_SAMPLER": "vendors", "OTEL_TRACES_SAMPLER_ARG": "x"}) is None
        assert "the sampler 'vendors' cannot be used" in caplog.text


def registered(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    entry = EntryPoint("vendors", target, "opentelemetry_traces_sampler")
    monkeypatch.setattr(sampler_environment, "entry_points", lambda group, name: [entry] if name == "vendors" else [])


@pytest.mark.parametrize("name", ["graymw", "parentbased_graymw"])
def test_opentelemetrys_own_set_up_finds_it_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "stable=0.05")
    found: Any = _configuration._import_sampler(name)
    assert found.get_description().startswith("GraySampler{gray:1.0,stable:0.05")


class TestAProcess:
    """Real servers that export to a real receiver: every gray trace arrives whole, no stable one does."""

    @pytest.fixture
    def store(self) -> SpanStore:
        return SpanStore()

    @pytest.fixture
    def environ(self, store: SpanStore, settings: dict[str, Any]) -> Iterator[dict[str, str]]:
        with Receiver(store) as receiver:
            yield {
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_BSP_SCHEDULE_DELAY": "50",
                "OTEL_TRACES_SAMPLER": "parentbased_graymw",
                "OTEL_TRACES_SAMPLER_ARG": "gray=1.0,stable=0",
                **{f"GRAYMW_{name.upper()}": value for name, value in settings.items()},
            }

    @pytest.mark.parametrize("start", [("python", "-m", "uvicorn"), ("opentelemetry-instrument", "uvicorn")])
    def test_keeps_gray_traces_through_the_chain(
        self, start: tuple[str, ...], environ: dict[str, str], store: SpanStore, tmp_path: Path
    ) -> None:
        first, last = free_port(), free_port()
        command = [*start, "asgi_service:app", "--port"]
        calling = {**environ, "NEXT": f"http://127.0.0.1:{last}/hello"}
        with (
            serving([*command, str(last)], environ, tmp_path, last, cwd=SERVICES),
            serving([*command, str(first)], calling, tmp_path, first, cwd=SERVICES) as service,
        ):
            for _ in range(3):
                service.ask("/call")
                service.ask("/call", GRAY)
            eventually(lambda: len(kinds(store, "server")) >= 6, 20)
            service.terminate()
        assert len(store._traces) == 3
        assert all(sum(span.kind == "server" for span in spans) == 2 for spans in store._traces.values())
        assert {span.attributes["gray.version"] for spans in store._traces.values() for span in spans} == {"v2"}


def kinds(store: SpanStore, kind: str) -> list[Any]:
    return [span for spans in store._traces.values() for span in spans if span.kind == kind]
