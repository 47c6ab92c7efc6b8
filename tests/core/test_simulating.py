"""Shares reached against shares asked for."""

from __future__ import annotations

import math

import pytest

from graymw.core.facts import RequestFacts
from graymw.core.model import Expression, Fact, Release, Rule, RuleDocument, Split, StickyKey
from graymw.core.model import Test as FactTest
from graymw.core.ruleset import RuleSet, compile_rules
from graymw.core.simulating import VersionShare, simulate, synthetic

SPLIT = Split((("v2", 1_000), ("v3", 25)))


def compiled(*releases: Release) -> RuleSet:
    return compile_rules(
        RuleDocument(releases, revision="9f3c2a11"), clock=lambda: 0.0, entropy=lambda: "fresh-random-key"
    )


def release(*rules: Rule, sticky: tuple[StickyKey, ...] = (StickyKey(Fact("user")),), **rest: object) -> Release:
    return Release("checkout", "v1", seed="checkout", sticky=sticky, rules=rules, **rest)  # type: ignore[arg-type]


def test_rules_split_as_they_ask() -> None:
    rules = compiled(release(Rule("even", Expression("uid % 10 == 0"), use="v4"), Rule("canary", None, split=SPLIT)))
    report = simulate(rules, 20_000)
    (told,) = report.releases
    even, canary = told.rules

    assert (report.requests, report.revision) == (20_000, "9f3c2a11")
    assert (even.rule, even.count, even.share) == ("even", 2_000, 0.1)
    assert even.versions == (VersionShare("v4", 2_000, 1.0, 1.0, 0.0),)
    assert (canary.rule, canary.reason, canary.count) == ("canary", "split", 18_000)
    assert [(share.version, share.asked) for share in canary.versions] == [("v2", 0.1), ("v3", 0.0025), ("v1", 0.8975)]
    assert all(share.deviation <= 4 for share in canary.versions)
    assert canary.versions[0].error == pytest.approx(math.sqrt(0.1 * 0.9 / 18_000))
    assert sum(share.count for share in told.versions) == 20_000
    assert [share.version for share in told.versions] == ["v2", "v3", "v4", "v1"]


def test_requests_that_no_rule_decided_are_told_too() -> None:
    (told,) = simulate(compiled(release(Rule("even", Expression("uid % 2 == 0"), use="v2"))), 100).releases

    assert [(rule.rule, rule.reason, rule.count) for rule in told.rules] == [
        ("even", "match", 50),
        (None, "default", 50),
    ]


def test_a_rule_that_decides_nothing_stands_there_with_nothing() -> None:
    (told,) = simulate(
        compiled(release(Rule("never", FactTest(Fact("region"), "exact", "eu"), split=SPLIT))), 10
    ).releases
    never = told.rules[0]

    assert (never.count, never.share) == (0, 0.0)
    assert [share.deviation for share in never.versions] == [0.0, 0.0, 0.0]


def test_given_facts_hold_for_all_requests() -> None:
    rules = compiled(release(Rule("eu", FactTest(Fact("region"), "exact", "eu"), use="v2")))
    (told,) = simulate(rules, 10, given=RequestFacts(region="eu", headers={"x": "1"})).releases

    assert told.rules[0].count == 10


@pytest.mark.parametrize(
    "sticky",
    [
        (StickyKey(Fact("cookie", "gray_id"), issue=True),),
        (StickyKey(Fact("header", "x-device-id")),),
        (StickyKey(Fact("query", "k")),),
        (StickyKey(Fact("ip")),),
    ],
)
def test_every_kind_of_key_is_varied(sticky: tuple[StickyKey, ...]) -> None:
    rules = compiled(release(Rule("half", None, split=Split((("v2", 5_000),))), sticky=sticky))
    (told,) = simulate(rules, 2_000).releases

    assert told.rules[0].versions[0].deviation <= 4


def test_a_given_key_makes_all_requests_alike() -> None:
    rules = compiled(release(Rule("half", None, split=Split((("v2", 5_000),)))))
    (told,) = simulate(rules, 50, given=RequestFacts(user="alice")).releases

    assert sorted(share.count for share in told.rules[0].versions) == [0, 50]


def test_requests_may_be_made_by_the_caller() -> None:
    rules = compiled(release(Rule("odd", Expression("uid % 2 == 1"), use="v2")))
    (told,) = simulate(rules, 9, make=lambda number: RequestFacts(user=str(number))).releases

    assert told.rules[0].count == 5


def test_a_disabled_release_is_all_stable() -> None:
    (told,) = simulate(compiled(release(Rule("all", None, use="v2"), enabled=False)), 5).releases

    assert [(rule.rule, rule.reason, rule.count) for rule in told.rules] == [(None, "disabled", 5)]


def test_progress_is_told_to_the_end() -> None:
    done: list[int] = []
    simulate(compiled(release()), 250, progress=done.append)

    assert done[-1] == 250
    assert done == sorted(set(done))
    assert 100 <= len(done) <= 126


def test_no_requests_are_no_fault() -> None:
    assert simulate(compiled(release(Rule("half", None, split=SPLIT))), 0).releases[0].rules[0].share == 0.0


def test_a_certain_share_that_is_missed_is_infinitely_far() -> None:
    assert VersionShare("v2", 1, 0.5, 1.0, 0.0).deviation == math.inf


def test_synthetic_users_are_numbers_and_addresses_private() -> None:
    make = synthetic(compiled(release(sticky=(StickyKey(Fact("ip")),))), RequestFacts(host="h"))

    assert (make(40).user, make(259).ip, make(1).host) == ("40", "10.0.1.3", "h")
