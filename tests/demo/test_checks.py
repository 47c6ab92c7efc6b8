from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from graymw.demo.checks import verdict
from graymw.demo.outcomes import Outcome
from graymw.demo.report import Change, Check, Refusal, Report, Round
from graymw.demo.upstream import Endpoint, Forwarder

from .making import good_report, outcome


def held(report: Report) -> dict[str, bool]:
    return {check.name: check.held for check in verdict(report)}


def failing(report: Report) -> list[Check]:
    return [check for check in verdict(report) if not check.held]


def in_round(report: Report, **changes: Any) -> Report:
    return dataclasses.replace(report, after=dataclasses.replace(report.after, **changes))


def with_outcome(report: Report, uid: str, **changes: Any) -> Report:
    found = [
        dataclasses.replace(entry, **changes) if entry.user.uid == uid else entry for entry in report.after.outcomes
    ]
    return in_round(report, outcomes=found)


def test_everything_holds_when_all_is_well() -> None:
    assert failing(good_report()) == []
    assert len(verdict(good_report())) == 10


FAULTS: dict[str, tuple[Callable[[Report], Report], str]] = {
    "every hop of every request": (
        lambda report: in_round(
            report, answers=[*report.after.answers, dataclasses.replace(report.after.answers[0], hops=(), error="503")]
        ),
        "the first that failed: 503",
    ),
    "no request at all": (lambda report: in_round(report, answers=[]), ""),
    "all hops of a request": (lambda report: with_outcome(report, "a", is_agreed=False), "user a (v2)"),
    "rule and version": (lambda report: with_outcome(report, "a", rule="testers"), "user a (v2)"),
    "a split of 50%": (
        lambda report: in_round(report, share=dataclasses.replace(report.after.share, gray=1)),
        "± ",
    ),
    "a broken document": (
        lambda report: dataclasses.replace(report, refusal=Refusal(["bad"], True, frozenset({"rev-x"}))),
        "rev-x",
    ),
    "a new document": (
        lambda report: dataclasses.replace(report, change=Change("rev-2", None)),
        "no request followed it",
    ),
    "no process was restarted": (
        lambda report: in_round(
            report,
            answers=[
                dataclasses.replace(
                    entry, hops=tuple(dataclasses.replace(hop, pid=hop.pid + 100) for hop in entry.hops)
                )
                for entry in report.after.answers
            ],
        ),
        "only in one round",
    ),
    "raising the share": (
        lambda report: with_outcome(report, "a", served=outcome("a", "v1").served),
        "1 left",
    ),
    "every span": (lambda report: with_outcome(report, "a", is_traced=False), "user a (v2)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(name: str) -> None:
    spoil, detail = FAULTS[name]
    found = failing(spoil(good_report()))
    assert found
    if name != "no request at all":
        assert any(check.name.startswith(name) and detail in check.detail for check in found)


def test_a_refusal_that_nobody_logged_does_not_count() -> None:
    report = dataclasses.replace(good_report(), refusal=Refusal(["bad"], False, frozenset({"rev-1"})))
    (check,) = failing(report)
    assert "log" in check.detail


def test_spans_that_did_not_come_in_time_are_a_fault() -> None:
    (check,) = failing(in_round(good_report(), is_exported=False))
    assert check.name.startswith("every span")


def test_many_faults_are_told_in_one_line() -> None:
    report = good_report()
    many: list[Outcome] = [dataclasses.replace(outcome(str(uid), "v2"), is_agreed=False) for uid in range(50)]
    found = {check.name: check for check in verdict(in_round(report, outcomes=many))}
    detail = found["all hops of a request served one version"].detail
    assert detail.endswith("and 45 more")
    assert "\n" not in detail


def test_an_endpoint_of_the_users_own_is_judged_too() -> None:
    forwarder = Forwarder(Endpoint("http://jaeger:4318/v1/traces"))
    report = dataclasses.replace(good_report(), forwarder=forwarder)
    assert not held(report)["spans reached your own endpoint too"]
    forwarder.sent = 3
    assert held(report)["spans reached your own endpoint too"]
    forwarder.failures, forwarder.last_failure = 1, "connection refused"
    assert "connection refused" in failing(report)[0].detail


def test_a_round_knows_who_was_gray_and_which_processes_served() -> None:
    before: Round = good_report().before
    assert before.gray_users == {"a"}
    assert ("edge", "v1", 1) in before.processes
