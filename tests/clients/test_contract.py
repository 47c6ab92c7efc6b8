"""What holds for every HTTP client, with and without OpenTelemetry's instrumentation of it, in both orders."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from graymw.clients import instrumenting
from graymw.errors import GrayUnavailableError
from graymw.runtime import counters
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine

from .callers import Caller
from .conftest import APPLICATION, FOREIGN, GRAY, carrying, engine_of
from .servers import Echo, serving


@pytest.fixture(autouse=True)
def no_faults() -> object:
    """Faults of ours are contained, so a test that does not look would not see them."""
    yield
    assert not any(name.startswith(("client.", "outbound.error")) for name in counters.snapshot())


def test_a_call_inside_carries_the_decision_first_and_once(
    caller: Caller, covered: str, gray: Carried, v1: Echo
) -> None:
    caller.get(f"http://{v1.authority}/")
    assert v1.only().one("baggage") == f"{GRAY},{APPLICATION}"


def test_a_call_to_a_stranger_carries_the_applications_baggage_only(
    caller: Caller, covered: str, gray: Carried, foreign: Echo
) -> None:
    caller.get(f"http://{FOREIGN}:{foreign.port}/")
    assert foreign.only().one("baggage") == APPLICATION


def test_a_redirect_to_a_stranger_leaves_the_decision_behind(
    caller: Caller, covered: str, gray: Carried, v1: Echo, foreign: Echo
) -> None:
    answered = caller.get(f"http://{v1.authority}/redirect?to=http://{FOREIGN}:{foreign.port}/there")
    assert answered.server == "foreign"
    assert v1.only().one("baggage") == f"{GRAY},{APPLICATION}"
    assert foreign.only().one("baggage") == APPLICATION


def test_a_stranger_is_sent_no_empty_header(
    caller: Caller, covered: str, engine: Engine, v1: Echo, foreign: Echo
) -> None:
    with carrying(engine):
        caller.get(f"http://{v1.authority}/redirect?to=http://{FOREIGN}:{foreign.port}/")
    assert v1.only().one("baggage") == GRAY
    assert foreign.only().one("baggage") is None


def test_a_redirect_back_inside_carries_again(
    caller: Caller, covered: str, gray: Carried, v1: Echo, foreign: Echo
) -> None:
    caller.get(f"http://{FOREIGN}:{foreign.port}/redirect?to=http://{v1.authority}/")
    assert v1.only().one("baggage") == f"{GRAY},{APPLICATION}"


def test_a_service_name_goes_to_an_instance_of_the_decided_version(
    caller: Caller, covered: str, gray: Carried, v1: Echo, v2: Echo
) -> None:
    answered = caller.get("http://orders/items?a=1&b=%20x")
    assert answered.server == "v2"
    assert answered.url == "http://orders/items?a=1&b=%20x"
    assert v2.only().target == "/items?a=1&b=%20x"
    assert v2.only().one("host") == "orders"
    assert v2.only().one("baggage") == f"{GRAY},{APPLICATION}"
    assert not v1.arrived


def test_undecided_calls_go_to_a_stable_instance(caller: Caller, covered: str, engine: Engine, v1: Echo) -> None:
    assert caller.get("http://orders/").server == "v1"
    assert v1.only().one("baggage") is None


def test_the_port_of_a_logical_name_stays_in_host(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    assert caller.get("http://orders:8080/").url == "http://orders:8080/"
    assert v2.only().one("host") == "orders:8080"


def test_relative_redirects_keep_the_logical_name(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    answered = caller.get("http://orders/redirect?to=/next")
    assert answered.url in ("http://orders/next", "/next")
    assert [each.one("host") for each in v2.arrived] == ["orders", "orders"]
    assert [each.one("baggage") for each in v2.arrived] == [f"{GRAY},{APPLICATION}"] * 2


def test_redirects_by_the_logical_name_are_routed(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    assert caller.get("http://orders/redirect?to=http://orders/next").server == "v2"
    assert [each.one("host") for each in v2.arrived] == ["orders", "orders"]


def test_cookies_belong_to_the_logical_name(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    if caller.name == "urllib3":
        pytest.skip("urllib3 keeps no cookies")
    caller.calls("http://orders/cookie", "http://orders/again", f"http://{v2.authority}/other")
    assert [each.one("cookie") for each in v2.arrived] == [None, "visit=1", None]


def test_a_header_of_the_application_is_kept_and_stays_one(
    caller: Caller, covered: str, engine: Engine, v1: Echo, foreign: Echo
) -> None:
    with carrying(engine):
        caller.calls(
            f"http://{v1.authority}/redirect?to=http://{FOREIGN}:{foreign.port}/",
            headers={"Baggage": "tenant=acme", "X-Other": "kept"},
        )
    if covered == "alone" or caller.name != "aiohttp":
        assert foreign.only().one("x-other") == "kept"
    for echo, gray_members in ((v1, GRAY), (foreign, "")):
        baggage = echo.only().one("baggage") or ""
        assert baggage.startswith(gray_members)
        assert ("gray" in baggage) == bool(gray_members)
        if covered == "alone":
            assert baggage.endswith("tenant=acme")


def test_the_application_cannot_send_gray_members_to_strangers_by_hand(
    caller: Caller, plain: None, gray: Carried, foreign: Echo
) -> None:
    caller.get(f"http://{FOREIGN}:{foreign.port}/", headers={"baggage": f"{GRAY},tenant=acme"})
    assert "gray" not in (foreign.only().one("baggage") or "")


def test_connections_to_an_instance_are_reused(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    caller.calls("http://orders/1", "http://orders/2", "http://orders/3")
    assert v2.connections == 1


def test_bodies_are_streamed_both_ways(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    answered = caller.get("http://orders/upload", method="POST", body=iter([b"one", b"two"]))
    assert answered.status == 200
    assert v2.only().body == b"onetwo"
    assert caller.get("http://orders/chunks").body == b"one,two,three"


def test_a_redirect_with_its_body_is_sent_again(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    caller.get("http://orders/redirect?to=/next&status=307", method="POST", body=b"content")
    assert [(each.method, each.body) for each in v2.arrived] == [("POST", b"content")] * 2


def test_errors_of_the_library_are_its_own(caller: Caller, covered: str, gray: Carried) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = dict(otel_context.get_current())
    with pytest.raises(caller.refused):
        caller.get(f"http://127.0.0.1:{port}/")
    assert dict(otel_context.get_current()) == before


def test_a_server_that_hangs_up_is_the_librarys_error(caller: Caller, covered: str, gray: Carried, v2: Echo) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each library has its own
        caller.get("http://orders/drop", method="POST", body=b"x")
    assert not type(raised.value).__module__.startswith("graymw")


def test_a_refusing_release_raises_what_says_so(caller: Caller, covered: str, v1: Echo) -> None:
    engine = engine_of({"orders": [{"url": f"http://{v1.authority}", "version": "v1"}]}, fallback="refuse")
    with carrying(engine), pytest.raises(GrayUnavailableError, match="orders"):
        caller.get("http://orders/")
    assert not v1.arrived


def test_nothing_is_done_where_instrumentation_is_suppressed(
    caller: Caller, covered: str, gray: Carried, v1: Echo
) -> None:
    token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        caller.get(f"http://{v1.authority}/")
    finally:
        otel_context.detach(token)
    assert v1.only().one("baggage") is None
    assert v1.only().one("traceparent") is None


def test_a_process_without_an_engine_calls_as_ever(caller: Caller, covered: str, v1: Echo) -> None:
    assert caller.get(f"http://{v1.authority}/").server == "v1"
    assert v1.only().one("baggage") is None


def test_each_hop_has_one_client_span_that_the_server_sees_as_its_caller(
    caller: Caller, covered: str, spans: InMemorySpanExporter, gray: Carried, v1: Echo, v2: Echo
) -> None:
    caller.get("http://orders/redirect?to=/next")
    made = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert len(made) == (2 if covered == "alone" or caller.hops_are_spans else 1)
    ids = {f"{span.context.span_id:016x}" for span in made}
    parents = [(each.one("traceparent") or "").split("-")[2] for each in v2.arrived]
    assert set(parents) == ids


def test_client_spans_tell_the_version_they_went_to(
    caller: Caller, covered: str, spans: InMemorySpanExporter, gray: Carried, v2: Echo
) -> None:
    caller.get("http://orders/")
    (span,) = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert span.attributes is not None
    assert span.attributes["gray.target_version"] == "v2"


def test_a_failed_call_shows_on_its_span(
    caller: Caller, plain: None, spans: InMemorySpanExporter, gray: Carried, v2: Echo
) -> None:
    caller.get("http://orders/status/503")
    with pytest.raises(caller.refused):
        caller.get("http://127.0.0.1:1/")
    answered, refused = spans.get_finished_spans()
    assert answered.attributes is not None
    assert refused.attributes is not None
    assert answered.attributes["http.response.status_code"] == 503
    assert answered.attributes["error.type"] == "503"
    assert "error.type" in refused.attributes


def test_tls_asks_for_the_logical_name_and_verifies_it(
    caller: Caller, covered: str, tls_server: object, certificate: Path
) -> None:
    with serving("secure", tls_server) as echo:  # type: ignore[arg-type]
        engine = engine_of({"orders": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        with carrying(engine):
            answers = caller.calls("https://orders/1", "https://orders/2", ca=str(certificate))
        assert [each.url for each in answers] == ["https://orders/1", "https://orders/2"]
        assert echo.server_names == ["orders"]
        assert [each.one("host") for each in echo.arrived] == ["orders", "orders"]
        assert [each.one("baggage") for each in echo.arrived] == [GRAY, GRAY]


def test_a_wrong_certificate_is_refused(caller: Caller, covered: str, tls_server: object, certificate: Path) -> None:
    with serving("secure", tls_server) as echo:  # type: ignore[arg-type]
        engine = engine_of({"payments": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        with carrying(engine), pytest.raises(Exception, match=r"(?i)certificate"):
            caller.get("https://payments/", ca=str(certificate))
        assert not echo.arrived


def test_an_instance_over_tls_is_spoken_to_over_tls(
    caller: Caller, covered: str, tls_server: object, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if caller.name == "urllib3":
        pytest.skip("urllib3 gives pools for http no certificates, so only its defaults could be verified by")
    with serving("secure", tls_server) as echo:  # type: ignore[arg-type]
        engine = engine_of({"orders": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        with carrying(engine):
            answered = caller.get("http://orders/", ca=str(certificate))
        assert answered.server == "secure"
        assert answered.url == "http://orders/"
        assert echo.server_names == ["orders"]
        assert echo.only().one("host") == "orders"


def test_what_the_application_addresses_by_https_is_never_sent_in_the_clear(
    caller: Caller, plain: None, gray: Carried, v2: Echo
) -> None:
    with pytest.raises(Exception, match=r"(?i)ssl|tls|wrong version"):
        caller.get("https://orders/")
    assert not v2.arrived


def test_a_proxy_of_the_environment_is_passed_by_on_the_way_to_an_instance(
    caller: Caller, covered: str, gray: Carried, v2: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    if caller.name == "urllib3":
        pytest.skip("urllib3 does not read the environment")
    with serving("proxy") as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.authority}")
        assert caller.get("http://orders/", trust_env=True).server == "v2"
        assert not proxy.arrived
        assert caller.get("http://elsewhere.internal/", trust_env=True).server == "proxy"
        assert proxy.only().target == "http://elsewhere.internal/"


def test_a_proxy_of_the_application_is_asked_for_the_instance(
    caller: Caller, covered: str, gray: Carried, v2: Echo
) -> None:
    with serving("proxy") as proxy:
        assert caller.get("http://orders/items", proxy=f"http://{proxy.authority}").server == "proxy"
        assert proxy.only().target == f"http://{v2.authority}/items"
        assert proxy.only().one("host") == "orders"
        assert proxy.only().one("baggage") == f"{GRAY},{APPLICATION}"


def test_a_proxy_sees_no_decision_of_a_call_to_a_stranger(
    caller: Caller, covered: str, gray: Carried, foreign: Echo
) -> None:
    with serving("proxy") as proxy:
        caller.get(f"http://{FOREIGN}/", proxy=f"http://{proxy.authority}")
        assert proxy.only().one("baggage") == APPLICATION


def test_after_uninstrumenting_calls_are_as_before(caller: Caller, gray: Carried, v1: Echo) -> None:
    instrumenting.instrument()
    instrumenting.uninstrument()
    caller.get(f"http://{v1.authority}/")
    assert v1.only().one("baggage") is None
