"""The plan of one client call: what it carries, where it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation

import graymw
from graymw.bootstrap import engine_for
from graymw.core.context import Decision, GrayContext
from graymw.runtime import counters, current, outbound
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings

TABLE = {
    "orders": [
        {"url": "http://127.0.0.1:8001", "version": "v1"},
        {"url": "http://127.0.0.1:8002", "version": "v2"},
    ],
    "stock": [{"url": "http://127.0.0.1:8003", "version": "v1"}],
}
RULES = "schema: 1\nreleases:\n  checkout: {services: [orders, stock], stable: v1, fallback: FALLBACK, rules: []}\n"


@pytest.fixture
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Engine:
    return engine_with(tmp_path, getattr(request, "param", "stable"))


def engine_with(folder: Path, fallback: str, **more: object) -> Engine:
    rules = folder / f"{fallback}.yaml"
    rules.write_text(RULES.replace("FALLBACK", fallback))
    return engine_for(Settings.from_mapping({"service": "edge", "rules": str(rules), "services": TABLE, **more}))


@contextmanager
def work(engine: Engine, version: str | None, application: str = "") -> Iterator[None]:
    """Work of a request with that decision, and that baggage of the application."""
    decisions = [Decision("checkout", version, "inherited", None, "00000001", "v1")] if version else []
    carried = current.Carried(engine, GrayContext(decisions, revision="00000001"), application)
    tokens = current.attach(carried.context, carried)
    try:
        yield
    finally:
        current.detach(tokens)


def call(host: str, *, present: str | None = None, scheme: str = "http") -> outbound.Outgoing:
    planned = outbound.begin(method="GET", scheme=scheme, host=host, port=None, path="/x?secret=1", baggage=present)
    assert planned is not None
    planned.finish()
    return planned


def headers(planned: outbound.Outgoing) -> Mapping[str, str]:
    return dict(planned.headers)


class TestWhatLeaves:
    def test_a_known_service_gets_the_decision_before_the_applications_members(self, engine: Engine) -> None:
        with work(engine, "v2", "user=a%20b;p=1"):
            assert headers(call("orders"))["baggage"] == "gray.checkout=v2,gray-rev=00000001,user=a%20b;p=1"

    @pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.7", "localhost", "billing", "db.internal", "[::1]", "a.svc"])
    def test_inside_hosts_get_it(self, engine: Engine, host: str) -> None:
        with work(engine, "v2"):
            assert headers(call(host))["baggage"].startswith("gray.checkout=v2")

    @pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "orders.example.com", "internal.example.com", ""])
    def test_foreign_hosts_get_the_applications_members_alone(self, engine: Engine, host: str) -> None:
        with work(engine, "v2", "k=v"):
            assert headers(call(host)) == {"baggage": "k=v"}
        with work(engine, "v2"):
            planned = call(host, present="gray.checkout=v2")
            assert planned.headers == ()
            assert planned.remove == ("baggage",)

    def test_an_instrumentation_below_finds_what_may_leave_in_its_context(self, engine: Engine) -> None:
        with work(engine, "v2", "k=v"):
            for host, expected in (("orders", ["gray.checkout", "gray-rev", "k"]), ("example.com", ["k"])):
                planned = call(host)
                token = planned.attach()
                assert list(baggage.get_all()) == expected
                planned.detach(token)
            assert graymw.current().version() == "v2"

    def test_what_the_application_added_to_its_baggage_goes_along(self, engine: Engine) -> None:
        with work(engine, "v2", "k=v;p"):
            token = otel_context.attach(baggage.set_baggage("new", "é ,"))
            value = headers(call("orders"))["baggage"]
            otel_context.detach(token)
        assert value == "gray.checkout=v2,gray-rev=00000001,k=v;p,new=%C3%A9%20%2C"

    def test_members_in_the_requests_own_header_win_over_the_contexts(self, engine: Engine) -> None:
        with work(engine, "v2", "k=v"):
            assert headers(call("orders", present="k=mine,gray.checkout=v9"))["baggage"].endswith(",k=mine")

    def test_a_header_written_by_hand_stays_where_nothing_was_decided(self, engine: Engine) -> None:
        assert headers(call("orders", present="gray.checkout=v2,k=1"))["baggage"] == "gray.checkout=v2,k=1"

    def test_a_key_signs_what_leaves(self, tmp_path: Path) -> None:
        engine = engine_with(tmp_path, "stable", secret="a-long-random-string-of-the-fleet")
        with work(engine, "v2"):
            value = headers(call("orders"))["baggage"]
        assert value.startswith("gray.checkout=v2,gray-rev=00000001,gray-sig=")

    def test_over_the_limit_ours_stay(self, engine: Engine) -> None:
        with work(engine, "v2", ",".join(f"k{n}={'x' * 100}" for n in range(100))):
            value = headers(call("orders"))["baggage"]
        assert value.startswith("gray.checkout=v2,gray-rev=00000001,k0=")
        assert len(value.split(",")) <= 64
        assert len(value) <= 8192

    def test_over_grpc_there_is_room_left_for_the_other_metadata(self, engine: Engine) -> None:
        with work(engine, "v2", ",".join(f"k{n}={'x' * 300}" for n in range(30))):
            planned = outbound.begin(method="/a.B/C", scheme="grpc", host="orders", port=None, rpc=True)
        assert planned is not None
        value = headers(planned)["baggage"]
        assert value.startswith("gray.checkout=v2,gray-rev=00000001,k0=")
        assert 3_500 < len(value) <= 4_096


class TestWhereItGoes:
    @pytest.mark.parametrize(("version", "port"), [("v1", 8001), ("v2", 8002), (None, 8001)])
    def test_to_an_instance_of_the_decided_version(self, engine: Engine, version: str | None, port: int) -> None:
        with work(engine, version):
            for host in ("orders", "ORDERS"):
                instance = call(host).instance
                assert instance is not None
                assert instance.port == port

    def test_as_addressed_where_the_host_is_no_service(self, engine: Engine) -> None:
        with work(engine, "v2"):
            assert call("billing").instance is None

    def test_a_version_without_instances_falls_back_to_stable_and_that_shows(self, engine: Engine) -> None:
        with work(engine, "v2"):
            planned = call("stock")
        assert planned.instance is not None
        assert (planned.target_version, planned.fallback) == ("v1", "stable")
        assert counters.snapshot()["fallback.stable"] == 1

    @pytest.mark.parametrize("engine", ["refuse"], indirect=True)
    def test_refuse_raises_and_stable_traffic_goes_on(self, engine: Engine) -> None:
        with work(engine, "v2"), pytest.raises(graymw.GrayUnavailableError, match="'stock' with version v2"):
            call("stock")
        with work(engine, "v1"):
            assert call("stock").target_version == "v1"

    def test_work_outside_any_request_stays_on_stable(self, engine: Engine) -> None:
        assert call("orders").target_version == "v1"

    def test_use_sends_a_job_to_a_version(self, engine: Engine) -> None:
        with graymw.use("checkout", "v2") as context:
            assert context.decisions["checkout"].reason == "override"
            assert call("orders").target_version == "v2"
        assert call("orders").target_version == "v1"

    @pytest.mark.parametrize(("release", "version"), [("Checkout", "v2"), ("checkout", "v 2"), ("a=v1,gray.b", "v2")])
    def test_use_refuses_what_may_not_travel(self, engine: Engine, release: str, version: str) -> None:
        with pytest.raises(ValueError, match="not a release and version"), graymw.use(release, version):
            pass


class TestStandingAside:
    def test_without_an_engine_a_call_is_left_alone(self) -> None:
        assert outbound.begin(method="GET", scheme="http", host="orders", port=None) is None

    def test_calls_of_opentelemetrys_exporters_are_left_alone(self, engine: Engine) -> None:
        with suppress_instrumentation():
            assert outbound.begin(method="POST", scheme="http", host="localhost", port=4318) is None
        assert outbound.begin(method="POST", scheme="http", host="localhost", port=4318) is not None

    def test_instrumentations_that_want_no_second_span_below_them_are_filtered_all_the_same(
        self, engine: Engine
    ) -> None:
        with work(engine, "v2", "k=v"), suppress_http_instrumentation():
            assert headers(call("example.com", present="gray.checkout=v2,k=v")) == {"baggage": "k=v"}

    def test_where_we_fail_the_call_goes_out_as_addressed_and_without_our_members(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbound, "_plan", lambda *_, **__: 1 / 0)
        with work(engine, "v2", "k=v"):
            planned = call("orders", present="gray.checkout=v2,mine=1")
            token = planned.attach()
            assert dict(baggage.get_all()) == {"k": "v"}
            planned.detach(token)
        assert planned.headers == (("baggage", "mine=1"),)
        assert planned.instance is None
        assert counters.snapshot()["outbound.error"] == 1
