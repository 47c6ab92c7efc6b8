"""urllib3: pools of any make, and what only urllib3 has."""

from __future__ import annotations

import contextvars
import gc
import threading
from typing import Any

import pytest
import urllib3
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool

from graymw.clients import urllib3 as adapter_module
from graymw.clients import urllib3_pools
from graymw.runtime import counters
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine

from .conftest import APPLICATION, GRAY, MODES, carrying, covering, engine_of
from .servers import Echo, serving

BOTH = f"{GRAY},{APPLICATION}"


@pytest.mark.parametrize("mode", MODES)
def test_pools_made_by_hand_carry_and_are_routed(mode: str, gray: Carried, v2: Echo, planned: list[str]) -> None:
    with covering(mode, URLLib3Instrumentor()), HTTPConnectionPool("orders") as pool:
        assert pool.request("GET", "/items").json()["server"] == "v2"
    assert v2.only().one("baggage") == BOTH
    assert v2.only().one("host") == "orders"
    assert planned == ["orders"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("location", ["/next", "http://orders/next"])
def test_redirects_within_a_pool_stay_with_its_instance(
    location: str, mode: str, gray: Carried, v2: Echo, planned: list[str]
) -> None:
    with covering(mode, URLLib3Instrumentor()), HTTPConnectionPool("orders") as pool:
        assert pool.request("GET", f"/redirect?to={location}").json()["server"] == "v2"
    assert [each.one("host") for each in v2.arrived] == ["orders", "orders"]
    assert [each.one("baggage") for each in v2.arrived] == [BOTH, BOTH]
    assert planned == ["orders"]


def test_retries_stay_one_call(plain: None, gray: Carried, v2: Echo, spans: InMemorySpanExporter) -> None:
    retries = urllib3.Retry(total=2, status_forcelist=[503], backoff_factor=0, raise_on_status=False)
    with urllib3.PoolManager() as pools:
        assert pools.request("GET", "http://orders/status/503", retries=retries).status == 503
    assert [each.one("baggage") for each in v2.arrived] == [BOTH] * 3
    assert len(spans.get_finished_spans()) == 1


@pytest.mark.parametrize(
    "headers", [{"Baggage": "k=v"}, HTTPHeaderDict({"Baggage": "k=v"}), {"BAGGAGE": "k=v", "Host": "named.example"}]
)
def test_headers_of_the_application_are_not_changed(headers: Any, plain: None, gray: Carried, v2: Echo) -> None:
    before = dict(headers)
    with urllib3.PoolManager() as pools:
        pools.request("GET", "http://orders/", headers=headers)
    assert dict(headers) == before
    assert v2.only().one("baggage") == f"{GRAY},k=v,{APPLICATION}"
    assert v2.only().one("host") == before.get("Host", "orders")


def test_a_header_dictionary_keeps_its_doubled_fields(plain: None, gray: Carried, v1: Echo) -> None:
    headers = HTTPHeaderDict()
    for value in ("1", "2"):
        headers.add("X-Two", value)
    headers.add("baggage", "a=1")
    headers.add("baggage", "b=2")
    with urllib3.PoolManager(headers=headers) as pools:
        pools.request("GET", f"http://{v1.authority}/")
    assert v1.only().all("x-two") == ["1", "2"]
    assert (v1.only().one("baggage") or "").replace(" ", "") == f"{GRAY},a=1,b=2,{APPLICATION}"


def test_closing_a_pool_closes_those_of_its_instances(plain: None, gray: Carried, v2: Echo) -> None:
    pool = HTTPConnectionPool("orders", maxsize=2)
    pool.request("GET", "/")
    (made,) = pool.__dict__["_graymw_instances"].values()
    pool.close()
    assert made.pool is None
    with pytest.raises(urllib3.exceptions.ClosedPoolError):
        pool.request("GET", "/")


def test_a_forgotten_pool_leaves_no_connection_open(plain: None, gray: Carried, v2: Echo) -> None:
    pool = HTTPConnectionPool("orders")
    pool.request("GET", "/")
    (made,) = pool.__dict__["_graymw_instances"].values()
    connection = made.pool.queue[-1]
    assert connection.sock is not None
    del pool, made
    gc.collect()
    assert connection.sock is None


def test_pools_to_instances_that_are_long_gone_are_given_up(
    plain: None, v1: Echo, v2: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib3_pools, "MAX_INSTANCES", 1)
    table = {
        "orders": [
            {"url": f"http://{v1.authority}", "version": "v1"},
            {"url": f"http://{v2.authority}", "version": "v2"},
        ]
    }
    engine = engine_of(table)
    with HTTPConnectionPool("orders") as pool:
        for version in ("v1", "v2", "v1"):
            with carrying(engine, version):
                assert pool.request("GET", "/").json()["server"] == version
            assert len(pool.__dict__["_graymw_instances"]) == 1


def test_a_pool_is_as_large_to_an_instance_as_it_was_made(plain: None, gray: Carried, v2: Echo) -> None:
    class Counted(HTTPConnectionPool):
        made = 0

        def _new_conn(self) -> Any:
            Counted.made += 1
            return super()._new_conn()

    with Counted("orders", maxsize=3, block=True) as pool:
        contexts = [contextvars.copy_context() for _ in range(12)]
        threads = [threading.Thread(target=each.run, args=(pool.request, "GET", "/")) for each in contexts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(v2.arrived) == 12
    assert 1 <= Counted.made <= 3


def test_timeouts_of_the_pool_hold(plain: None, gray: Carried) -> None:
    engine = engine_of({"orders": [{"url": "http://127.0.0.1:1", "version": "v2"}]})
    with carrying(engine), HTTPConnectionPool("orders", timeout=0.5, retries=False) as pool:
        with pytest.raises(urllib3.exceptions.NewConnectionError):
            pool.request("GET", "/")
        (made,) = pool.__dict__["_graymw_instances"].values()
        assert made.timeout.connect_timeout == 0.5


def test_an_instance_over_ipv6_is_reached(plain: None) -> None:
    engine = engine_of({"orders": [{"url": "http://[::1]:9", "version": "v2"}]})
    with carrying(engine), HTTPConnectionPool("orders", retries=False) as pool:
        with pytest.raises(urllib3.exceptions.NewConnectionError):
            pool.request("GET", "/")
        (made,) = pool.__dict__["_graymw_instances"].values()
        assert (made.host, made._tunnel_host) == ("::1", "[::1]")


def test_a_pool_over_tls_asks_for_the_logical_name(plain: None, tls_server: Any, certificate: Any) -> None:
    with serving("secure", tls_server) as echo:
        engine = engine_of({"orders": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        with carrying(engine), HTTPSConnectionPool("orders", ca_certs=str(certificate)) as pool:
            assert pool.request("GET", "/").json()["server"] == "secure"
        assert echo.server_names == ["orders"]


def test_what_a_pool_verifies_by_may_be_set_later(plain: None, tls_server: Any, certificate: Any) -> None:
    """As requests does before every call."""
    with serving("secure", tls_server) as echo:
        engine = engine_of({"orders": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        with carrying(engine), HTTPSConnectionPool("orders", retries=False) as pool:
            with pytest.raises(urllib3.exceptions.SSLError):
                pool.request("GET", "/")
            pool.ca_certs = str(certificate)
            assert pool.request("GET", "/").json()["server"] == "secure"


def test_a_plain_pool_speaks_tls_to_an_instance_that_wants_it(plain: None, tls_server: Any) -> None:
    with serving("secure", tls_server) as echo:
        engine = engine_of({"orders": [{"url": f"https://{echo.authority}", "version": "v2"}]})
        refused = pytest.raises(urllib3.exceptions.SSLError, match="certificate")
        with carrying(engine), HTTPConnectionPool("orders", retries=False) as pool, refused:
            pool.request("GET", "/")
        assert echo.server_names == ["orders"]
        assert not echo.arrived


def test_a_tunnel_is_asked_for_the_instance(plain: None, gray: Carried, v2: Echo) -> None:
    with serving("proxy") as proxy, urllib3.ProxyManager(f"http://{proxy.authority}", retries=False) as pools:
        with pytest.raises(urllib3.exceptions.ProxyError):
            pools.request("GET", "https://orders/")
        assert proxy.only().method == "CONNECT"
        assert proxy.only().target == v2.authority


def test_fault_of_ours_lets_the_call_out_as_it_was(
    plain: None, gray: Carried, v1: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with urllib3.PoolManager() as pools:
        for name in ("carried_headers", "baggage_of"):
            with monkeypatch.context() as broken:
                broken.setattr(adapter_module, name, lambda *_: 1 / 0)
                assert pools.request("GET", f"http://{v1.authority}/").json()["server"] == "v1"
    assert [each.one("baggage") for each in v1.arrived] == [None, None]
    assert counters.snapshot()["client.error"] == 2


def test_a_fault_while_routing_lets_the_call_out_as_addressed(
    plain: None, gray: Carried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib3_pools, "_instance_pool", lambda *_: 1 / 0)
    engine = engine_of({"orders.invalid": [{"url": "http://127.0.0.1:1", "version": "v1"}]})
    unresolved = pytest.raises(urllib3.exceptions.NameResolutionError)
    with HTTPConnectionPool("orders.invalid", retries=False) as pool, carrying(engine), unresolved:
        pool.request("GET", "/")
    assert counters.snapshot()["client.error"] == 1


def test_many_threads_on_one_manager_mix_up_nothing(plain: None, engine: Engine, v1: Echo, v2: Echo) -> None:
    answers: list[tuple[str, str]] = []
    with urllib3.PoolManager(maxsize=4) as pools:

        def work(number: int) -> None:
            version = "v2" if number % 2 else "v1"
            with carrying(engine, version, f"n={number}"):
                answers.append((version, pools.request("GET", "http://orders/").json()["server"]))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 40
    assert all(wanted == served for wanted, served in answers)


def test_headers_that_need_no_change_are_sent_as_they_are(plain: None, engine: Engine, v1: Echo) -> None:
    seen: list[Any] = []

    class Noting(HTTPConnectionPool):
        def _make_request(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(kwargs["headers"])
            return super()._make_request(*args, **kwargs)

    class Message(dict[str, str]):
        """A mapping of the application's own, as boto's is."""

        def copy(self) -> Message:
            return Message(self)

    headers = Message(a="1")
    with Noting("127.0.0.1", v1.port) as pool:
        pool.urlopen("GET", "/", headers=headers)
    assert type(seen[0]) is Message
