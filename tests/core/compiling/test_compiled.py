"""Large and deep documents compile and decide; no text of a user becomes source."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from graymw.core.compiling.compiled import CompiledRelease
from graymw.core.facts import RequestFacts
from graymw.core.model import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Fact,
    Not,
    Release,
    Rule,
    RuleDocument,
    Split,
    StickyKey,
)
from graymw.core.model import Test as FactTest
from graymw.core.ruleset import RuleSet, compile_rules


def compiled(*rules: Rule, **rest: object) -> RuleSet:
    release = Release("checkout", "v1", seed="checkout", rules=rules, **rest)  # type: ignore[arg-type]
    return compile_rules(RuleDocument((release,)), clock=lambda: 0.0, entropy=lambda: "fresh-random-key")


def prefix(name: str, value: str) -> FactTest:
    return FactTest(Fact("header", name), "prefix", value)


def test_a_document_of_thousands_of_rules() -> None:
    rules = compiled(*(Rule(f"r{n}", prefix(f"h{n % 50}", f"{n}."), use="v2") for n in range(3_000)))

    assert rules.decide(RequestFacts(headers={"h49": "2999.x"})).decisions["checkout"].rule == "r2999"
    assert rules.decide(RequestFacts(headers={"h49": "x"})).decisions["checkout"].reason == "default"


def test_thousands_of_splits_share_one_bucket() -> None:
    rules = compiled(
        *(Rule(f"r{n}", prefix("h", f"{n}."), split=Split((("v2", 5_000),))) for n in range(1_000)),
        sticky=(StickyKey(Fact("user")),),
    )
    versions = {rules.decide(RequestFacts(user="u", headers={"h": f"{n}."})).version() for n in range(0, 1_000, 99)}

    assert len(versions) == 1


@pytest.mark.parametrize("depth", [30, 1_000, 5_000])
def test_a_condition_of_any_depth(depth: int) -> None:
    """Alternating, so that nothing can be flattened."""
    condition: Condition = prefix("a", "1")
    for level in range(depth):
        condition = (AnyOf if level % 2 else AllOf)(
            (condition, prefix("a" if level % 2 else "b", "x" if level % 2 else "1"))
        )
    rules = compiled(Rule("deep", condition, use="v2"))

    assert rules.decide(RequestFacts(headers={"a": "1", "b": "1"})).version() == "v2"
    assert rules.decide(RequestFacts(headers={"a": "1"})).version() == "v1"


def test_a_condition_deeper_than_the_stack_still_decides() -> None:
    condition: Condition = prefix("a", "1")
    for _ in range(30_000):
        condition = Not(AllOf((condition, prefix("b", "1"))))
    rules = compiled(Rule("deep", condition, use="v2"))

    assert rules.decide(RequestFacts(headers={"a": "1", "b": "1"})).version() == "v2"
    assert rules.decide(RequestFacts(headers={"b": "1"})).version() == "v1"


def test_a_condition_of_thousands_of_parts() -> None:
    rules = compiled(Rule("wide", AnyOf(tuple(prefix("a", f"{n}.") for n in range(5_000))), use="v2"))

    assert rules.decide(RequestFacts(headers={"a": "4999."})).version() == "v2"
    assert rules.decide(RequestFacts(headers={"a": "x"})).version() == "v1"


def test_a_large_expression_is_decided_all_the_same() -> None:
    source = " || ".join(f"user == 'u{n}' && uid != {n}" for n in range(100))
    rules = compiled(Rule("cel", Expression(source), use="v2"))

    assert rules.decide(RequestFacts(user="u99")).version() == "v2"
    assert rules.decide(RequestFacts(user="v99")).version() == "v1"


def test_splits_that_know_different_facts_share_the_key_without_a_failure() -> None:
    """The key is read after the first split's condition and known already after the second's."""
    half = Split((("v2", 5_000),))
    rules = compiled(
        Rule("eu", FactTest(Fact("region"), "exact", "eu"), split=half),
        Rule("bob", FactTest(Fact("user"), "exact", "bob"), split=half),
        Rule("nobody", FactTest(Fact("header", "a"), "exact", "1"), split=half),
        sticky=(StickyKey(Fact("header", "b")), StickyKey(Fact("cookie", "c")), StickyKey(Fact("user"))),
    )
    with patch.object(CompiledRelease, "_rescued", side_effect=AssertionError("the fast path failed")):
        for facts in (
            RequestFacts(region="eu", user="bob"),
            RequestFacts(user="bob"),
            RequestFacts(user="alice", headers={"a": "1"}),
            RequestFacts(headers={"a": "1", "b": "2"}),
            RequestFacts(headers={"a": "1"}, cookies={"c": "3"}),
        ):
            assert rules.decide(facts).decisions["checkout"].reason == "split"


@pytest.mark.parametrize(
    "text", ["'); import os; ('", '"""', "\\", "\n", "{0}", "%s", "f", "UNREAD", "\x00", "é\ud800"]
)
def test_names_and_texts_of_a_document_stay_data(text: str) -> None:
    rules = compiled(
        Rule(text, FactTest(Fact("header", text), "exact", text), use=text),
        Rule("second", FactTest(Fact("cookie", text), "contains", text), use="v2"),
        Rule(text, None, split=Split(((text, 5_000),))),
        sticky=(StickyKey(Fact("query", text)),),
    )

    assert rules.decide(RequestFacts(headers={text: text})).version() == text
    assert rules.decide(RequestFacts(cookies={text: f"a{text}b"})).version() == "v2"
    assert rules.decide(RequestFacts(query={text: text})).version() in {"v1", text}
