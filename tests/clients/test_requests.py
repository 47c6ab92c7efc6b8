"""requests: adapters of any make, and what only requests has."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests
import urllib3
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth

import graymw
from graymw.clients import requests as adapter_module
from graymw.runtime import counters
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine

from .conftest import APPLICATION, FOREIGN, GRAY, MODES, carrying, covering, engine_of
from .servers import Echo, serving

BOTH = f"{GRAY},{APPLICATION}"


class Own(HTTPAdapter):
    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().send(request, *args, **kwargs)


class Around(BaseAdapter):
    """An adapter of the application's around the library's own."""

    def __init__(self, inner: BaseAdapter | None = None) -> None:
        super().__init__()
        self.inner = inner or HTTPAdapter()

    def send(self, request: Any, **kwargs: Any) -> Any:
        return self.inner.send(request, **kwargs)

    def close(self) -> None:
        self.inner.close()


class InProcess(BaseAdapter):
    """Answers by itself, as test doubles do."""

    def __init__(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.seen: list[requests.PreparedRequest] = []
        self.status, self.headers = status, headers or {}

    def send(self, request: Any, **_: Any) -> requests.Response:
        self.seen.append(request)
        response = requests.Response()
        response.status_code = self.status if "Authorization" not in request.headers else 200
        response.headers.update(self.headers)
        response.url, response.request, response._content = request.url, request, b""
        response.raw = urllib3.HTTPResponse()
        response.connection = self  # type: ignore[attr-defined]
        return response

    def close(self) -> None:
        pass


def session_with(adapter: BaseAdapter) -> requests.Session:
    session = requests.Session()
    session.mount("http://", adapter)
    return session


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [HTTPAdapter, Own, Around, graymw.GrayAdapter, lambda: Around(graymw.GrayAdapter())])
def test_adapters_of_the_application_carry_and_are_routed_once(
    make: Any, mode: str, gray: Carried, v2: Echo, spans: InMemorySpanExporter, planned: list[str]
) -> None:
    with covering(mode, RequestsInstrumentor()), session_with(make()) as session:
        response = session.get("http://orders/items")
    assert response.url == "http://orders/items"
    assert v2.only().one("baggage") == BOTH
    assert v2.only().one("host") == "orders"
    assert planned == ["orders"]
    assert len(spans.get_finished_spans()) == 1


def test_an_explicit_adapter_needs_no_instrumenting(gray: Carried, v2: Echo) -> None:
    with session_with(graymw.GrayAdapter()) as session:
        response = session.get("http://orders/redirect?to=/items")
    assert response.json()["server"] == "v2"
    assert response.url == "http://orders/items"
    assert [each.one("baggage") for each in v2.arrived] == [BOTH, BOTH]
    assert [each.one("host") for each in v2.arrived] == ["orders", "orders"]
    assert v2.connections == 1


def test_an_explicit_adapter_keeps_what_the_session_verifies_by(tls_server: Any, certificate: Any) -> None:
    with serving("secure", tls_server) as echo:
        engine = engine_of({"orders": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        with carrying(engine), requests.Session() as session:
            session.mount("https://", graymw.GrayAdapter())
            assert session.get("https://orders/", verify=str(certificate)).json()["server"] == "secure"
            with pytest.raises(requests.exceptions.SSLError):
                session.get("https://orders/")
        assert set(echo.server_names) == {"orders"}


def test_what_a_session_verifies_by_may_change_from_call_to_call(
    plain: None, tls_server: Any, certificate: Any
) -> None:
    with serving("secure", tls_server) as echo:
        engine = engine_of({"orders": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        with carrying(engine), requests.Session() as session:
            with pytest.raises(requests.exceptions.SSLError):
                session.get("https://orders/")
            assert session.get("https://orders/", verify=str(certificate)).ok
            with pytest.raises(requests.exceptions.SSLError):
                session.get("https://orders/")


def test_adapters_inside_the_process_keep_the_logical_name(plain: None, gray: Carried) -> None:
    adapter = InProcess()
    with session_with(adapter) as session:
        session.get("http://orders/items")
        session.get(f"http://{FOREIGN}/")
    assert [each.url for each in adapter.seen] == ["http://orders/items", f"http://{FOREIGN}/"]
    assert [each.headers["baggage"] for each in adapter.seen] == [BOTH, APPLICATION]


def test_urls_that_are_no_calls_are_left_alone(plain: None, gray: Carried) -> None:
    adapter = InProcess()
    with requests.Session() as session:
        session.mount("file://", adapter)
        session.get("file:///etc/hosts")
    assert "baggage" not in adapter.seen[0].headers


def test_sessions_give_out_the_adapters_that_were_mounted(plain: None) -> None:
    adapter = Own(max_retries=3)
    with session_with(adapter) as session:
        assert session.get_adapter("http://orders/") is adapter


def test_the_applications_request_is_not_changed(plain: None, gray: Carried, v2: Echo) -> None:
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", "http://orders/"))
        before = dict(prepared.headers)
        response = session.send(prepared)
        assert response.request is prepared
        assert dict(prepared.headers) == before
        refused = session.prepare_request(requests.Request("GET", "http://127.0.0.1:1/"))
        with pytest.raises(requests.ConnectionError) as raised:
            session.send(refused)
    assert raised.value.request is refused


def test_one_request_sent_from_many_threads_carries_what_each_of_them_decided(
    plain: None, engine: Engine, v1: Echo, v2: Echo
) -> None:
    prepared = requests.Request("GET", "http://orders/").prepare()
    answers: list[tuple[str, str]] = []

    def work(number: int) -> None:
        version = "v2" if number % 3 == 0 else "v1"
        with requests.Session() as session, carrying(engine, version, f"n={number}"):
            answers.append((version, session.send(prepared).json()["server"]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 24
    assert all(wanted == served for wanted, served in answers)
    seen = {each.one("baggage") for each in (*v1.arrived, *v2.arrived)}
    assert seen == {f"gray.checkout={'v2' if n % 3 == 0 else 'v1'},gray-rev=9f3c2a11,n={n}" for n in range(24)}


def test_digest_authentication_carries_on_both_legs(plain: None, gray: Carried) -> None:
    adapter = InProcess(401, {"www-authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
    with session_with(adapter) as session:
        assert session.get("http://orders/", auth=HTTPDigestAuth("u", "p")).status_code == 200
    assert [each.headers["baggage"] for each in adapter.seen] == [BOTH, BOTH]


def test_retries_of_an_adapter_stay_one_call(
    plain: None, gray: Carried, v2: Echo, spans: InMemorySpanExporter, planned: list[str]
) -> None:
    retry = urllib3.Retry(total=2, status_forcelist=[503], backoff_factor=0)
    with session_with(HTTPAdapter(max_retries=retry)) as session, pytest.raises(requests.exceptions.RetryError):
        session.get("http://orders/status/503")
    assert [each.one("baggage") for each in v2.arrived] == [BOTH] * 3
    assert planned == ["orders"]
    assert len(spans.get_finished_spans()) == 1


def test_calls_made_by_an_adapter_on_the_way_are_calls_of_their_own(
    plain: None, gray: Carried, v1: Echo, v2: Echo
) -> None:
    class Fetching(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            urllib3.request("GET", f"http://{v1.authority}/token")
            return super().send(request, *args, **kwargs)

    with session_with(Fetching()) as session:
        session.get("http://orders/")
    assert v1.only().one("baggage") == BOTH
    assert v2.only().one("baggage") == BOTH


def test_headers_given_as_a_plain_mapping_or_in_bytes_are_fine(plain: None, gray: Carried, v1: Echo) -> None:
    prepared = requests.Request("GET", f"http://{v1.authority}/").prepare()
    prepared.headers = {"Baggage": "k=v"}  # type: ignore[assignment]
    with requests.Session() as session:
        session.send(prepared)
        session.get(f"http://{v1.authority}/", headers={"baggage": b"k=v"})
    assert [each.one("baggage") for each in v1.arrived] == [f"{GRAY},k=v,{APPLICATION}"] * 2


def test_a_proxy_of_the_application_is_asked_by_an_explicit_adapter_too(plain: None, gray: Carried, v2: Echo) -> None:
    with serving("proxy") as proxy, session_with(graymw.GrayAdapter()) as session:
        session.trust_env = False
        session.get("http://orders/items", proxies={"http": f"http://{proxy.authority}"})
        assert proxy.only().target == f"http://{v2.authority}/items"
        assert proxy.only().one("host") == "orders"


def test_a_fault_of_ours_lets_the_call_out_as_it_was(
    plain: None, gray: Carried, v1: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_module, "_baggage", lambda *_: 1 / 0)
    assert requests.get(f"http://{v1.authority}/", timeout=5).json()["server"] == "v1"
    monkeypatch.undo()
    monkeypatch.setattr(adapter_module, "_carrying", lambda *_: 1 / 0)
    assert requests.get(f"http://{v1.authority}/", timeout=5).json()["server"] == "v1"
    assert [each.one("baggage") for each in v1.arrived] == [BOTH, None]
    assert counters.snapshot()["client.error"] == 2
