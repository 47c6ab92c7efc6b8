"""Runs of equality rules become table probes."""

from __future__ import annotations

import pytest

from graymw.core.compiling.conditions import condition_logic
from graymw.core.compiling.indexing import MAX_KEYS, MAX_MAP_PROBES, MIN_RULES, Equalities, equalities, probes, segments
from graymw.core.facts import RequestFacts
from graymw.core.logic import Logic
from graymw.core.model import AllOf, AnyOf, Condition, Fact, Not, Release, Rule, RuleDocument, Split, StickyKey
from graymw.core.model import Test as FactTest
from graymw.core.ruleset import RuleSet, compile_rules


def logic(condition: Condition) -> Logic:
    return condition_logic(condition, lambda error: None)


def equal(name: str, value: str) -> FactTest:
    return FactTest(Fact("header", name), "exact", value)


def run(*conditions: Condition) -> list[Equalities]:
    found = [equalities(logic(condition)) for condition in conditions]
    assert None not in found
    return [each for each in found if each is not None]


def compiled(*rules: Rule) -> RuleSet:
    release = Release("checkout", "v1", seed="checkout", sticky=(StickyKey(Fact("user")),), rules=rules)
    return compile_rules(RuleDocument((release,)), clock=lambda: 0.0, entropy=lambda: "fresh-random-key")


def decided(rules: RuleSet, **headers: str) -> str | None:
    context = rules.decide(RequestFacts(headers={name.replace("_", "-"): value for name, value in headers.items()}))
    return context.decisions["checkout"].rule


@pytest.mark.parametrize(
    "condition",
    [
        FactTest(Fact("user"), "prefix", "a"),
        Not(equal("a", "1")),
        AnyOf((equal("a", "1"), equal("b", "1"))),
        AllOf((equal("a", "1"), FactTest(Fact("user"), "exists", True))),
        AllOf((equal("a", "1"), equal("a", "2"))),
        AllOf(()),
        AllOf(tuple(FactTest(Fact("header", f"h{n}"), "in", tuple(map(str, range(20)))) for n in range(3))),
    ],
)
def test_other_conditions_are_no_equalities(condition: Condition) -> None:
    assert equalities(logic(condition)) is None


def test_the_first_rule_wins_within_and_between_tables() -> None:
    rules = compiled(
        Rule("one", equal("a", "1"), use="v2"),
        Rule("two", equal("b", "1"), use="v2"),
        Rule("three", equal("a", "1"), use="v3"),
        Rule("four", AllOf((equal("a", "2"), equal("b", "2"))), use="v2"),
        Rule("five", equal("b", "2"), use="v2"),
        *(Rule(f"more-{number}", equal("a", f"more-{number}"), use="v2") for number in range(20)),
    )

    assert decided(rules, a="1", b="1") == "one"
    assert decided(rules, b="1") == "two"
    assert decided(rules, a="2", b="2") == "four"
    assert decided(rules, a="9", b="2") == "five"
    assert decided(rules, a="more-7", b="nothing") == "more-7"
    assert decided(rules) is None


def test_lists_are_found_under_each_of_their_values() -> None:
    rules = compiled(
        *(Rule(f"r{n}", FactTest(Fact("header", "a"), "in", (f"{n}", f"{n}'")), use="v2") for n in range(20)),
        Rule("empty", FactTest(Fact("header", "a"), "in", ()), use="v2"),
    )

    assert [decided(rules, a="3"), decided(rules, a="3'"), decided(rules, a="")] == ["r3", "r3", None]


def test_rules_after_a_run_are_looked_at_and_may_split() -> None:
    rules = compiled(
        *(Rule(f"r{n}", equal("a", str(n)), use="v2") for n in range(10)),
        Rule("prefix", FactTest(Fact("header", "a"), "prefix", "x"), use="v2"),
        *(Rule(f"s{n}", equal("a", f"s{n}"), split=Split((("v2", 5_000),))) for n in range(10)),
        Rule("rest", None, split=Split((("v2", 1_000),))),
    )

    assert [decided(rules, a=value) for value in ("4", "xx", "s4", "else")] == ["r4", "prefix", "s4", "rest"]


def test_splits_and_uses_mix_within_a_run() -> None:
    rules = compiled(
        *(
            Rule(f"r{n}", equal("a", str(n)), split=Split((("v2", 5_000),)))
            if n % 2
            else Rule(f"r{n}", equal("a", str(n)), use="v2")
            for n in range(20)
        )
    )
    reasons = [rules.decide(RequestFacts(headers={"a": str(n)}, user="u")).decisions["checkout"] for n in range(20)]

    assert [(d.rule, d.reason) for d in reasons] == [(f"r{n}", "split" if n % 2 else "match") for n in range(20)]


def test_very_many_names_of_one_map_are_found_by_going_through_the_request() -> None:
    found = probes(run(*(equal(f"h{n}", "1") for n in range(100))))
    rules = compiled(*(Rule(f"r{n}", equal(f"h{n}", "1"), use="v2") for n in range(100)))

    assert found is not None
    assert not found.tables
    assert set(found.scans) == {"headers"}
    assert decided(rules, h70="1", h40="1", h99="2", other="1") == "r40"
    assert decided(rules, h99="2") is None


def test_the_cost_of_many_rules_is_a_few_probes() -> None:
    """A hundred rules over five headers and two other facts."""
    found = probes(
        run(
            *(equal(f"h{n % 5}", str(n)) for n in range(80)),
            *(FactTest(Fact("region"), "exact", str(n)) for n in range(10)),
            *(AllOf((FactTest(Fact("region"), "exact", str(n)), equal("h1", "x"))) for n in range(10)),
        )
    )

    assert found is not None
    assert found.count == 7


def test_short_runs_and_those_with_little_in_common_are_not_indexed() -> None:
    assert probes(run(*(equal("a", str(n)) for n in range(MIN_RULES - 1)))) is None
    assert probes(run(*(FactTest(Fact("cookie", f"c{n}"), "exact", "1") for n in range(MAX_MAP_PROBES)))) is None


def test_pieces_cover_all_rules_in_order() -> None:
    conditions = [equal("a", "1")] * 3 + [Not(equal("a", "1"))] * 2 + [equal("a", "1")] * 9
    pieces = list(segments([logic(condition) for condition in conditions]))

    assert [(first, last, found is not None) for first, last, found in pieces] == [
        (0, 3, False), (3, 5, False), (5, 14, True),
    ]  # fmt: skip
    assert MAX_KEYS >= 20
