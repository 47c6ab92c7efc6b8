from __future__ import annotations

import dataclasses
import math

import pytest

from graymw.demo.outcomes import Outcome, Share, is_complete, outcomes, share_of
from graymw.demo.people import User
from graymw.demo.spans import ExportedSpan, SpanStore
from graymw.demo.traffic import Answer, Hop

from .making import span

ALL = {"gray.version": "v2", "gray.release": "checkout"}


def answer(orders: str = "v2", payments: str = "v2", *, uid: str = "40", trace_id: str = "t") -> Answer:
    hops = (Hop("edge", "v1", 1), Hop("orders", orders, 2), Hop("payments", payments, 3))
    return Answer(User(uid), trace_id, "root", 0, 1, hops)


def trace(trace_id: str = "t") -> list[ExportedSpan]:
    """Spans as a request of a user on v2 leaves them."""
    why = {"gray.rule": "tens", "gray.reason": "match", "gray.revision": "9f3c2a11"}
    honoured = {**ALL, "gray.honoured": True}
    return [
        span(trace_id, "e", "root", service="edge", attributes=ALL | why),
        span(trace_id, "c", "e", service="edge", kind="client", attributes=ALL),
        span(trace_id, "o", "c", service="orders", attributes=honoured),
        span(trace_id, "p", "o", service="payments", attributes=honoured),
    ]


def outcome_of(answers: list[Answer], spans: list[ExportedSpan]) -> Outcome:
    store = SpanStore()
    store.add(spans)
    (found,) = outcomes(answers, store)
    return found


def test_a_good_request_is_agreed_and_traced_and_its_rule_known() -> None:
    found = outcome_of([answer()], trace())
    assert (found.rule, found.reason, found.revision) == ("tens", "match", "9f3c2a11")
    assert (found.version, found.is_gray, found.is_agreed, found.is_traced) == ("v2", True, True, True)
    assert found.served == {"edge": ("v1",), "orders": ("v2",), "payments": ("v2",)}


def test_hops_of_different_versions_are_apart() -> None:
    found = outcome_of([answer(orders="v2", payments="v1")], trace())
    assert not found.is_agreed
    assert not found.is_gray
    assert found.version == "v1/v2"


def test_a_user_who_was_served_differently_at_different_times_is_not_on_gray() -> None:
    found = outcome_of([answer(), answer("v1", "v1", trace_id="u")], [*trace(), *trace("u")])
    assert found.is_agreed
    assert found.version == "v1/v2"
    assert not found.is_gray


def test_a_chain_that_broke_agrees_on_nothing() -> None:
    broken = dataclasses.replace(answer(), hops=answer().hops[:2])
    assert not outcome_of([broken], trace()).is_agreed


FAULTS = {
    "a missing server span": lambda spans: spans[:3],
    "a doubled server span": lambda spans: [*spans, dataclasses.replace(spans[3], span_id="again")],
    "a client span without the version": lambda spans: [
        dataclasses.replace(entry, attributes={}) if entry.kind == "client" else entry for entry in spans
    ],
    "another version than the one that served": lambda spans: [
        dataclasses.replace(entry, attributes={**entry.attributes, "gray.version": "v1"}) for entry in spans
    ],
    "a decision that was not honoured": lambda spans: [
        dataclasses.replace(entry, attributes={**entry.attributes, "gray.honoured": False}) for entry in spans
    ],
    "no spans at all": lambda spans: [],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_trace_with_a_fault_is_not_called_traced(fault: str) -> None:
    assert not outcome_of([answer()], FAULTS[fault](trace())).is_traced


def test_a_trace_is_complete_with_the_last_server_span() -> None:
    assert is_complete(trace())
    assert not is_complete(trace()[:3])


def users(rule: str, gray: int, stable: int) -> list[Outcome]:
    def one(version: str) -> Outcome:
        served = {"orders": (version,), "payments": (version,)}
        return Outcome(User("1"), 1, rule, "split", "r", served, is_agreed=True, is_traced=True)

    return [one("v2")] * gray + [one("v1")] * stable


def test_the_share_is_of_those_whom_the_split_decides() -> None:
    share = share_of([*users("canary", 12, 88), *users("tens", 50, 0)], asked=1_000)
    assert (share.gray, share.users, share.reached, share.asked) == (12, 100, 0.12, 0.1)


@pytest.mark.parametrize(("gray", "is_within"), [(10, True), (22, True), (23, False), (0, True)])
def test_the_tolerance_is_four_standard_deviations(gray: int, is_within: bool) -> None:
    share = Share(0.1, 100, gray)
    assert share.tolerance == pytest.approx(4 * math.sqrt(0.1 * 0.9 / 100))
    assert share.is_within is is_within


def test_nobody_reached_nothing() -> None:
    assert not share_of([], asked=1_000).is_within
