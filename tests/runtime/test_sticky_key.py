"""What work is recognised by, for calls that are to meet the same instance."""

from __future__ import annotations

import pytest
from opentelemetry.context.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import graymw
from graymw.core.context import UNDECIDED
from graymw.core.document import parse
from graymw.core.facts import RequestFacts
from graymw.core.model import RuleDocument
from graymw.registries.static import StaticRegistry
from graymw.runtime import outbound
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine
from graymw.runtime.sticky_key import sticky_key
from graymw.settings.schema import Settings

TRACED = set_span_in_context(NonRecordingSpan(SpanContext(0xABC, 1, True, TraceFlags(1))), Context())


def key(facts: RequestFacts | None, sticky: list[str] | None = None, ambient: Context = TRACED) -> str | None:
    engine = Engine(Settings(), StaticRegistry({}))
    carried = Carried(engine, UNDECIDED)
    carried.facts = facts
    release: dict[str, object] = {"services": ["orders"], "stable": "v1"}
    if sticky is not None:
        release["sticky"] = sticky
    return sticky_key(parse({"schema": 1, "releases": {"checkout": release}}), "Orders", carried, ambient)


def test_it_is_what_the_release_calls_sticky() -> None:
    facts = RequestFacts(user="ada", headers={"x-account": "acme"}, cookies={"gray_id": "0123456789"}, ip="192.0.2.1")
    assert key(facts) == "ada"
    assert key(facts, ["header:X-Account", "user"]) == "acme"
    assert key(facts, ["cookie"]) == "0123456789"
    assert key(facts, ["ip"]) == "192.0.2.1"


def test_a_cookie_that_is_being_issued_counts() -> None:
    facts = RequestFacts()
    facts.issued = "0123456789"
    assert key(facts) == "0123456789"


def test_the_user_stands_in_for_a_key_that_is_not_there() -> None:
    assert key(RequestFacts(user="ada"), ["header:x-account"]) == "ada"


def test_then_the_trace_and_then_nothing() -> None:
    assert key(RequestFacts()) == f"{0xABC:032x}"
    assert key(None) == f"{0xABC:032x}"
    assert key(None, ambient=Context()) is None


def test_a_service_without_a_release_goes_by_the_user() -> None:
    carried = Carried(Engine(Settings(), StaticRegistry({})), UNDECIDED)
    carried.facts = RequestFacts(user="ada", ip="192.0.2.1")
    assert sticky_key(RuleDocument(), "orders", carried, TRACED) == "ada"


@pytest.mark.parametrize("balancer", ["sticky", "round-robin"])
def test_calls_of_one_user_meet_the_same_instance_whatever_the_rules_read(balancer: str) -> None:
    async def ask(_: Request) -> JSONResponse:
        planned = outbound.begin(method="GET", scheme="http", host="orders", port=None)
        assert planned is not None
        planned.finish()
        assert planned.instance is not None
        with graymw.use("checkout", "v1"):
            inner = outbound.begin(method="GET", scheme="http", host="orders", port=None)
        assert inner is not None
        assert inner.instance is not None
        return JSONResponse([planned.instance.port, inner.instance.port])

    table = [{"url": f"http://10.0.0.1:{port}", "version": "v1"} for port in range(1, 11)]
    app = graymw.install(
        Starlette(routes=[Route("/", ask)]),
        settings={"service": "edge", "services": {"orders": table}, "balancer": balancer},
    )
    with TestClient(app) as client:
        met = [
            {port for _ in range(4) for port in client.get("/", headers={"x-user-id": f"u{number}"}).json()}
            for number in range(12)
        ]
    if balancer == "sticky":
        assert all(len(ports) == 1 for ports in met)
        assert len(set.union(*met)) > 2
    else:
        assert all(len(ports) > 1 for ports in met)
