"""Metrics: from the moment there is a meter provider, bounded by releases, versions and services."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import OUTSIDE, ask_asgi, ask_wsgi, open_websocket
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from metering import DECISIONS, DURATION, Metered
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from waiting import eventually

import graymw
from graymw.bootstrap import running
from graymw.runtime import counters
from graymw.telemetry.event_metrics import EVENTS, METRICS, values
from graymw.telemetry.metrics import BUCKETS

GRAY = {"x-gray-version": "true"}
STATUS = "gray.status_class"
DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "releases": {
        "checkout": {
            "services": ["orders"],
            "stable": "v1",
            "rules": [
                {"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"},
                {"name": "canary", "split": {"v3": "20%", "v4": "0.5%"}},
            ],
        },
        "search": {"services": ["finder"], "stable": "v1", "rules": [{"name": "all", "use": "v2"}]},
    },
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


@pytest.fixture
def settings(rules: Path) -> dict[str, Any]:
    return {"service": "orders", "version": "v1", "rules": str(rules)}


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


@pytest.fixture
def metered(reader: InMemoryMetricReader, provider: MeterProvider) -> Metered:
    """The application has set a meter provider; here is what it collects."""
    metrics.set_meter_provider(provider)
    return Metered(reader)


class Failure(Exception):
    """Of the application."""


def app(environ: Any, start_response: Any) -> Any:
    """Answers as its path says."""
    path = environ["PATH_INFO"].strip("/")
    if path == "raise":
        raise Failure
    start_response(f"{path or 200} Told", [])
    return [b""]


def observers() -> list[Any]:
    return [observer for each in running() for observer in each.engine.observers]


class TestWithoutAProvider:
    def test_requests_are_not_observed(self, settings: dict[str, Any]) -> None:
        installed = graymw.install(app, settings=settings)
        ask_wsgi(installed, "/", GRAY)
        assert observers() == []

    @pytest.mark.parametrize("provider", [metrics.NoOpMeterProvider(), metrics.get_meter_provider()])
    def test_nor_with_one_that_does_nothing(self, settings: dict[str, Any], provider: Any) -> None:
        graymw.install(app, settings=settings)
        metrics.set_meter_provider(provider)
        assert observers() == []

    def test_nor_with_an_sdk_that_is_switched_off(
        self, settings: dict[str, Any], provider: MeterProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
        graymw.install(app, settings=settings)
        assert observers() == []


class TestAProvider:
    def test_that_is_set_before_is_used(self, metered: Metered, settings: dict[str, Any]) -> None:
        ask_wsgi(graymw.install(app, settings=settings), "/", GRAY)
        assert metered.values(DECISIONS, "gray.version") == {"v2": 2.0}

    def test_that_is_set_afterwards_is_used_from_then_on(
        self, reader: InMemoryMetricReader, provider: MeterProvider, settings: dict[str, Any]
    ) -> None:
        installed = graymw.install(app, settings=settings)
        ask_wsgi(installed, "/", GRAY)
        metrics.set_meter_provider(provider)
        ask_wsgi(installed, "/", GRAY)
        assert Metered(reader).values(DURATION, "gray.version") == {"v2": 1.0}

    def test_measures_every_application_of_the_process_once(self, metered: Metered, settings: dict[str, Any]) -> None:
        one = graymw.install(app, settings=settings)
        graymw.install(one, settings=settings)
        other = graymw.install(app, settings={**settings, "service": "finder"})
        ask_wsgi(one, "/", GRAY)
        ask_wsgi(other, "/", {})
        assert metered.values(DURATION, "gray.release", "gray.version") == {("checkout", "v2"): 1, ("search", "v2"): 1}

    def test_that_fails_costs_no_request(
        self, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(MeterProvider):
            def get_meter(self, *_: Any, **__: Any) -> Any:
                raise RuntimeError("no meters today")

        installed = graymw.install(app, settings=settings)
        metrics.set_meter_provider(Broken(shutdown_on_exit=False))
        assert ask_wsgi(installed, "/", GRAY).status == 200
        assert "no metrics: RuntimeError('no meters today')" in caplog.text

    def test_times_in_the_buckets_of_the_conventions(
        self, metered: Metered, reader: InMemoryMetricReader, settings: dict[str, Any]
    ) -> None:
        ask_wsgi(graymw.install(app, settings=settings), "/", {})
        data: Any = reader.get_metrics_data()
        (duration,) = [m for m in data.resource_metrics[0].scope_metrics[0].metrics if m.name == DURATION]
        assert duration.unit == "s"
        assert tuple(duration.data.data_points[0].explicit_bounds) == BUCKETS


class TestDecisions:
    def test_are_counted_by_release_version_and_reason(self, metered: Metered, settings: dict[str, Any]) -> None:
        installed = graymw.install(app, settings=settings)
        for headers in (GRAY, GRAY, {"baggage": "gray.checkout=v2,gray.search=v1,gray-rev=0123abcd"}):
            ask_wsgi(installed, "/", headers)
        assert metered.values(DECISIONS, "gray.release", "gray.version", "gray.reason") == {
            ("checkout", "v2", "match"): 2,
            ("search", "v2", "match"): 2,
            ("checkout", "v2", "inherited"): 1,
            ("search", "v1", "inherited"): 1,
        }

    def test_of_many_users_are_few_series(self, metered: Metered, settings: dict[str, Any]) -> None:
        installed = graymw.install(app, settings=settings)
        for user in range(300):
            ask_wsgi(installed, "/", {"x-user-id": str(user)})
        counted = metered.values(DECISIONS, "gray.release", "gray.version")
        assert set(counted) == {("checkout", "v1"), ("checkout", "v3"), ("checkout", "v4"), ("search", "v2")}
        assert sum(counted.values()) == 600
        assert not any("123" in str(held) for _, held, _ in metered.points())

    def test_are_not_there_where_nothing_is_decided(self, metered: Metered) -> None:
        installed = graymw.install(app, settings={"service": "orders"})
        ask_wsgi(installed, "/", {})
        assert not {DECISIONS, DURATION} & metered.names()


class TestRequests:
    @pytest.mark.parametrize(
        ("path", "told"),
        [("/", "2xx"), ("/204", "2xx"), ("/302", "3xx"), ("/404", "4xx"), ("/503", "5xx"), ("/raise", "5xx")],
    )
    def test_are_timed_by_the_class_of_their_status(
        self, metered: Metered, settings: dict[str, Any], path: str, told: str
    ) -> None:
        installed = graymw.install(app, settings=settings)
        try:
            ask_wsgi(installed, path, GRAY)
        except Failure:
            assert path == "/raise"
        shown = ("gray.release", "gray.version", "gray.active", STATUS)
        assert metered.values(DURATION, *shown) == {("checkout", "v2", True, told): 1}

    def test_are_timed_by_each_release_where_none_governs_the_service(
        self, metered: Metered, settings: dict[str, Any]
    ) -> None:
        ask_wsgi(graymw.install(app, settings={**settings, "service": "edge"}), "/", GRAY)
        assert metered.values(DURATION, "gray.release", "gray.version") == {("checkout", "v2"): 1, ("search", "v2"): 1}

    def test_of_every_middleware_are_timed_and_websockets_only_counted(
        self, metered: Metered, settings: dict[str, Any]
    ) -> None:
        async def answer(_request: Any) -> PlainTextResponse:
            return PlainTextResponse("")

        async def talk(socket: Any) -> None:
            await socket.accept()
            await socket.send_text("hello")
            await socket.close()

        routes = [Route("/", answer), WebSocketRoute("/ws", talk)]
        installed = graymw.install(Starlette(routes=routes), settings=settings)
        asyncio.run(ask_asgi(installed, "/", GRAY))
        asyncio.run(open_websocket(installed, "/ws", GRAY))
        assert metered.values(DECISIONS, "gray.release") == {"checkout": 2, "search": 2}
        assert metered.values(DURATION, STATUS) == {"2xx": 1}

    def test_that_were_misrouted_are_counted(self, metered: Metered, settings: dict[str, Any]) -> None:
        installed = graymw.install(app, settings=settings)
        assert metered.total("graymw.misroutes") == 0
        ask_wsgi(installed, "/", {"baggage": "gray.checkout=v2,gray-rev=0123abcd"})
        assert metered.total("graymw.misroutes") == 1

    def test_from_outside_that_claim_a_decision_are_counted_as_faults_and_as_what_was_decided_here(
        self, metered: Metered, settings: dict[str, Any]
    ) -> None:
        ask_wsgi(graymw.install(app, settings=settings), "/", {"baggage": "gray.checkout=evil", **GRAY}, OUTSIDE)
        assert metered.values("graymw.baggage.faults", "gray.fault") == {"untrusted.outside": 1}
        assert metered.values(DURATION, "gray.version") == {"v2": 1}


word = st.from_regex(r"[a-z0-9][a-z0-9-]{0,12}", fullmatch=True)
members = st.dictionaries(
    st.one_of(word, st.sampled_from(["checkout", "search"])),
    st.one_of(word, st.sampled_from(["v1", "v2", "v3", "v4"])),
    max_size=6,
)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(members, max_size=8))
def test_what_callers_name_makes_no_series_of_its_own(
    metered: Metered, settings: dict[str, Any], requests: list[dict[str, str]]
) -> None:
    installed = graymw.install(app, settings=settings)
    for inherited in requests:
        baggage = ",".join([f"gray.{release}={version}" for release, version in inherited.items()])
        ask_wsgi(installed, "/", {"baggage": f"{baggage},gray-rev=0123abcd"} if baggage else {})
    known = {
        *(("checkout", version) for version in ("v1", "v2", "v3", "v4", "other")),
        *(("search", version) for version in ("v1", "v2", "other")),
        *(("other", version) for version in ("v1", "other")),
    }
    for name in (DECISIONS, DURATION):
        assert set(metered.values(name, "gray.release", "gray.version")) <= known


class TestAServiceWithoutRules:
    def test_knows_its_own_version_and_those_of_the_instances_it_was_told_of(self, metered: Metered) -> None:
        services = {"payments": [{"url": "http://127.0.0.1:8001", "version": "v2"}]}
        installed = graymw.install(app, settings={"service": "orders", "version": "v1", "services": services})
        for version in ("v1", "v2", "v3"):
            ask_wsgi(installed, "/", {"baggage": f"gray.checkout={version},gray-rev=0123abcd"})
        assert metered.values(DURATION, "gray.release", "gray.version") == {
            ("other", "v1"): 1,
            ("other", "v2"): 1,
            ("other", "other"): 1,
        }


counted = st.dictionaries(
    st.one_of(
        st.sampled_from(
            ["misrouted", "fallback.stable", "baggage.malformed", "rules.error", "rules.loaded", "ejected", "fallback"]
        ),
        st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,2}", fullmatch=True),
    ),
    st.integers(1, 1000),
)


class TestEvents:
    @given(counts=counted)
    def test_each_counter_feeds_one_metric(self, counts: dict[str, int]) -> None:
        told = [values(metric, counts) for metric in (*METRICS, EVENTS)]
        assert sum(sum(each.values()) for each in told) == sum(counts.values())

    def test_that_have_no_metric_of_their_own_are_told_by_name(
        self, metered: Metered, settings: dict[str, Any]
    ) -> None:
        graymw.install(app, settings=settings)
        counters.count("state.error", 3)
        assert metered.values("graymw.events", "gray.event") == {"rules.loaded": 1, "state.error": 3}

    def test_that_may_happen_are_there_before_they_do(self, metered: Metered, settings: dict[str, Any]) -> None:
        """A rate over a counter that appears with its first event misses that event."""
        graymw.install(app, settings=settings)
        assert metered.names() >= {metric.name for metric in METRICS if metric.always}

    def test_tell_which_fallback_was_taken(self, metered: Metered, settings: dict[str, Any]) -> None:
        graymw.install(app, settings=settings)
        counters.count("fallback.any")
        assert metered.values("graymw.fallbacks", "gray.fallback") == {"any": 1}


class TestRules:
    def test_tell_their_revision_which_changes_with_them(
        self, metered: Metered, settings: dict[str, Any], rules: Path
    ) -> None:
        graymw.install(app, settings=settings)
        (before,) = metered.values("graymw.rules.revision", "gray.revision")
        assert before == running()[0].keeper.current.revision
        rules.write_text(json.dumps({**DOCUMENT, "releases": {"checkout": DOCUMENT["releases"]["checkout"]}}))
        eventually(lambda: set(metered.values("graymw.rules.revision", "gray.revision")) not in ({before}, set()))
        assert len(metered.values("graymw.rules.revision", "gray.revision")) == 1

    def test_tell_the_shares_of_their_splits(self, metered: Metered, settings: dict[str, Any]) -> None:
        graymw.install(app, settings=settings)
        shares = metered.values("graymw.rules.share", "gray.release", "gray.rule", "gray.version")
        assert shares == pytest.approx(
            {
                ("checkout", "canary", "v3"): 0.2,
                ("checkout", "canary", "v4"): 0.005,
                ("checkout", "canary", "v1"): 0.795,
            }
        )

    def test_tell_their_age(self, metered: Metered, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        from graymw.telemetry import rule_metrics

        graymw.install(app, settings=settings)
        loaded = running()[0].keeper.current.loaded_at
        assert loaded is not None
        monkeypatch.setattr(rule_metrics.time, "time", lambda: loaded + 90)
        assert metered.total("graymw.rules.age") == 90

    def test_are_stale_while_their_source_has_others_that_were_refused(
        self, metered: Metered, settings: dict[str, Any], rules: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL)
        graymw.install(app, settings=settings)
        assert "graymw.rules.stale" in metered.names()
        assert metered.total("graymw.rules.stale") == 0
        rules.write_text('{"schema": 1, "releases": {"checkout": {}}}')
        eventually(lambda: metered.total("graymw.rules.stale") == 1)
        assert metered.total("graymw.rules.refused") >= 1
        rules.write_text(json.dumps(DOCUMENT))
        eventually(lambda: metered.total("graymw.rules.stale") == 0)

    def test_that_fail_for_a_request_are_counted(self, metered: Metered, tmp_path: Path) -> None:
        path = tmp_path / "failing.json"
        rule = {"name": "modulo", "when": "1 % int(request.headers['x-n']) == 0", "use": "v2"}
        path.write_text(json.dumps({"schema": 1, "releases": {"checkout": {"stable": "v1", "rules": [rule]}}}))
        installed = graymw.install(app, settings={"service": "orders", "rules": str(path)})
        ask_wsgi(installed, "/", {"x-n": "0"})
        assert metered.total("graymw.rules.errors") == 1
