"""When a call that failed is planned anew; here without any client."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from graymw.core.context import Decision, GrayContext
from graymw.core.document import parse
from graymw.registries.static import StaticRegistry
from graymw.runtime import counters, current, outbound
from graymw.runtime.engine import Engine
from graymw.runtime.health import Failure
from graymw.runtime.outbound import Outgoing
from graymw.runtime.retrying import IDEMPOTENT, MOST_REFUSALS
from graymw.settings.schema import Settings

ERROR = OSError("it failed")


def engine_of(versions: dict[str, int], **settings: object) -> Engine:
    """So many instances of each version."""
    table = [
        {"url": f"http://10.0.{place}.{number}:8000", "version": version}
        for place, (version, count) in enumerate(versions.items())
        for number in range(1, count + 1)
    ]
    resolved = Settings.from_mapping({"service": "edge", "services": {"orders": table}, **settings}, environ={})
    engine = Engine(resolved, StaticRegistry(resolved.services))
    engine.adopt(parse({"schema": 1, "releases": {"checkout": {"services": ["orders"], "stable": "v1"}}}))
    return engine


@pytest.fixture(autouse=True)
def gray(request: pytest.FixtureRequest) -> Iterator[Engine]:
    versions = getattr(request, "param", {"v1": 2, "v2": 2})
    engine = engine_of(versions, balancer="least-request")
    gray = GrayContext([Decision("checkout", "v2", "inherited", None, "00000001", "v1")], revision="00000001")
    carried = current.Carried(engine, gray)
    tokens = current.attach(carried.context, carried)
    yield engine
    current.detach(tokens)


def begin(method: str = "GET", **more: Any) -> Outgoing:
    planned = outbound.begin(method=method, scheme="http", host="orders", port=None, **more)
    assert planned is not None
    return planned


def tries(failure: Failure, method: str = "GET", *, replayable: bool = True) -> list[str]:
    """Versions that a call is tried at that always fails in one way."""
    planned: Outgoing | None = begin(method)
    versions = []
    while planned is not None:
        assert planned.instance is not None
        versions.append(planned.instance.version)
        planned = planned.failed(ERROR, failure, replayable=replayable)
    return versions


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_a_call_that_was_refused_is_tried_whatever_its_method(method: str) -> None:
    assert tries("refused", method) == ["v2", "v2", "v1", "v1"]


@pytest.mark.parametrize("gray", [{"v1": 2, "v2": 9}], indirect=True)
def test_however_many_refuse_the_fallback_has_its_turn(gray: Engine) -> None:
    assert tries("refused") == ["v2"] * MOST_REFUSALS + ["v1"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_does_not_come_about_is_waited_for_once_more(method: str) -> None:
    assert tries("unanswered", method) == ["v2", "v2"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH", "CONNECT"])
def test_what_was_sent_is_sent_again_once_where_the_method_allows(method: str) -> None:
    assert len(tries("broken", method)) == (2 if method in IDEMPOTENT else 1)


@pytest.mark.parametrize("failure", ["refused", "unanswered", "broken"])
def test_what_cannot_be_sent_again_is_not(failure: Failure) -> None:
    assert tries(failure, replayable=False) == ["v2"]
    assert "retry.sent" not in counters.snapshot()


def test_refusals_after_something_was_sent_do_not_go_on() -> None:
    planned = begin()
    again = planned.failed(ERROR, "broken", replayable=True)
    assert again is not None
    assert again.failed(ERROR, "broken", replayable=True) is None


def test_an_error_that_says_nothing_of_the_instance_ends_the_call(gray: Engine) -> None:
    assert begin().failed(ERROR, None, replayable=True) is None
    assert not gray.directory.health.records


@pytest.mark.parametrize("gray", [{"v1": 1, "v2": 0}], indirect=True)
def test_the_last_instance_there_is_leaves_the_budget_as_it_was(gray: Engine) -> None:
    for _ in range(300):
        assert begin().failed(ERROR, "refused", replayable=True) is None
    assert not {"retry.sent", "retry.refused"} & set(counters.snapshot())


def test_where_the_budget_is_spent_the_caller_is_told(gray: Engine, caplog: pytest.LogCaptureFixture) -> None:
    while gray.directory.budget.take():
        pass
    with caplog.at_level(logging.WARNING, "graymw.outbound"):
        assert tries("refused") == ["v2"]
    assert counters.snapshot()["retry.refused"] == 1
    assert "budget is spent" in caplog.text


def test_a_retry_is_logged_once_for_each_instance(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "graymw.outbound"):
        for _ in range(4):
            tries("broken")
    told = [record.getMessage() for record in caplog.records if "is tried at" in record.getMessage()]
    assert 1 <= len(told) <= 2
    assert counters.snapshot()["retry.sent"] == 4


def test_each_try_carries_what_the_call_carries() -> None:
    planned = begin(baggage="tenant=acme")
    again = planned.failed(ERROR, "refused", replayable=True)
    assert again is not None
    assert again.headers == planned.headers
    assert dict(again.headers)["baggage"] == "gray.checkout=v2,gray-rev=00000001,tenant=acme"


def test_a_fault_of_ours_leaves_the_error_to_the_caller(gray: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = begin()
    monkeypatch.setattr(gray.directory, "choose_again", lambda *_, **__: 1 / 0)
    assert planned.failed(ERROR, "refused", replayable=True) is None
    assert counters.snapshot()["outbound.error"] == 1


class TestUnderWay:
    """Calls under way at each instance are told right, however a call ends."""

    def under_way(self, engine: Engine) -> int:
        loads = engine.directory._loads
        assert loads is not None
        return sum(map(len, loads._active.values()))

    def test_a_call_is_under_way_until_it_is_finished(self, gray: Engine) -> None:
        one, other = begin(), begin()
        assert self.under_way(gray) == 2
        one.finish(status=200)
        one.finish(status=200)
        assert self.under_way(gray) == 1
        other.finish(error=ERROR)
        assert self.under_way(gray) == 0

    def test_a_try_that_failed_is_not_under_way_but_the_next_is(self, gray: Engine) -> None:
        again = begin().failed(ERROR, "refused", replayable=True)
        assert self.under_way(gray) == 1
        assert again is not None
        again.finish(status=200)
        assert self.under_way(gray) == 0

    def test_a_call_that_is_forgotten_is_not(self, gray: Engine) -> None:
        begin()
        assert self.under_way(gray) == 0

    def test_a_grpc_call_is_under_way_until_it_has_its_status(self, gray: Engine) -> None:
        planned = begin(rpc=True)
        assert self.under_way(gray) == 1
        planned.finish_rpc(0, "OK")
        assert self.under_way(gray) == 0


def test_a_grpc_status_of_unavailable_counts_against_an_instance(gray: Engine) -> None:
    for _ in range(20):
        begin(rpc=True).finish_rpc(14, "UNAVAILABLE")
    assert counters.snapshot()["ejected"] == 2
    passed, _ = gray.directory.health.out(frozenset({"10.0.1.1:8000", "10.0.1.2:8000"}))
    assert len(passed) == 1
