"""Explaining says what deciding does, and why."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import NOW, documents, requests

from graymw.core.compiling.compiled import CompiledRelease
from graymw.core.context import Decision, GrayContext
from graymw.core.explaining import Explanation, explain
from graymw.core.facts import RequestFacts
from graymw.core.model import AllOf, Expression, Fact, Not, Release, Rule, RuleDocument, Split, StickyKey
from graymw.core.model import Test as FactTest
from graymw.core.ruleset import RuleSet, compile_rules


def compiled(document: RuleDocument, key: str = "fresh-random-key") -> RuleSet:
    return compile_rules(document, clock=lambda: NOW, entropy=lambda: key)


def one_release(*rules: Rule, sticky: tuple[StickyKey, ...] = (StickyKey(Fact("user")),)) -> RuleSet:
    return compiled(
        RuleDocument((Release("checkout", "v1", seed="checkout", sticky=sticky, rules=rules),), revision="9f3c2a11")
    )


def outcomes(told: Explanation | GrayContext) -> list[tuple[str, str, str, str | None]]:
    found = told.releases if isinstance(told, Explanation) else told.decisions.values()
    return [(each.release, each.version, each.reason, each.rule) for each in found]


@settings(max_examples=100)
@given(
    documents(), st.lists(requests(), min_size=1, max_size=5), st.sampled_from(["fresh-random-key", "other-random-key"])
)
def test_explaining_agrees_with_deciding(document: RuleDocument, several: list[RequestFacts], key: str) -> None:
    ruleset = compiled(document, key)
    for facts in several:
        with patch.object(CompiledRelease, "_rescued", side_effect=AssertionError("the fast path failed")):
            decided = ruleset.decide(facts)
        assert outcomes(explain(ruleset, facts)) == outcomes(decided), facts


inherited_contexts = st.dictionaries(st.sampled_from(["r0", "r1", "elsewhere"]), st.sampled_from(["v1", "v9"])).map(
    lambda versions: GrayContext(
        [Decision(name, version, "inherited", revision="0badcafe") for name, version in versions.items()],
        revision="0badcafe" if versions else None,
    )
)


@settings(max_examples=50)
@given(documents(), requests(), inherited_contexts)
def test_explaining_agrees_with_deciding_what_was_not_inherited(
    document: RuleDocument, facts: RequestFacts, inherited: GrayContext
) -> None:
    ruleset = compiled(document)
    explanation = explain(ruleset, facts, inherited)
    decided = ruleset.decide(facts, inherited)

    assert outcomes(explanation) == outcomes(decided)
    assert explanation.revision == decided.revision


def test_a_rule_tells_the_actual_values_of_what_it_asked() -> None:
    ruleset = one_release(
        Rule("testers", FactTest(Fact("header", "x-beta"), "exact", "true"), use="v2"),
        Rule("everybody", None, use="v3"),
    )

    (told,) = explain(ruleset, RequestFacts(headers={"x-beta": "no"})).releases

    testers, everybody = told.rules
    assert not testers.matched
    assert testers.why == "header:x-beta exact 'true' does not hold (header:x-beta is 'no')"
    assert everybody.decided
    assert everybody.why == "always matches"


def test_a_missing_fact_is_told_as_absent() -> None:
    ruleset = one_release(Rule("testers", FactTest(Fact("region"), "in", ("eu", "uk")), use="v2"))

    (told,) = explain(ruleset, RequestFacts()).releases

    assert told.rules[0].why == "region in ['eu', 'uk'] does not hold (region is absent)"


def test_a_failing_expression_tells_its_error() -> None:
    ruleset = one_release(Rule("even", Expression("uid % 10 == 0"), use="v2"))

    (told,) = explain(ruleset, RequestFacts(user="bob")).releases

    assert told.reason == "default"
    assert told.rules[0].atoms[0].actual == (("user", "bob"),)
    assert "failed" in told.rules[0].why


def test_an_expression_that_misses_a_fact_says_which() -> None:
    ruleset = one_release(Rule("even", Expression("uid % 10 == 0"), use="v2"))

    (told,) = explain(ruleset, RequestFacts()).releases

    assert told.rules[0].why == "uid % 10 == 0 failed: user is absent"


def test_why_picks_the_parts_that_settled_it() -> None:
    ruleset = one_release(
        Rule(
            "r",
            AllOf((FactTest(Fact("user"), "exact", "bob"), Not(FactTest(Fact("device"), "exact", "bot")))),
            use="v2",
        )
    )

    (told,) = explain(ruleset, RequestFacts(user="bob", device="mobile")).releases

    assert told.rules[0].matched
    assert told.rules[0].why == "user exact 'bob' holds (user is 'bob')"


def test_the_bucket_comes_with_seed_key_and_source() -> None:
    ruleset = one_release(Rule("canary", None, split=Split((("v2", 5_000),))))

    (told,) = explain(ruleset, RequestFacts(user="alice")).releases

    assert (told.seed, told.key, told.key_source) == ("checkout", "alice", "user")
    assert told.bucket is not None
    assert told.version == ("v2" if told.bucket < 5_000 else "v1")
    assert [(found.bound, found.version) for found in told.rules[0].ranges] == [(5_000, "v2"), (10_000, "v1")]


def test_without_a_split_a_request_without_key_has_no_bucket() -> None:
    ruleset = one_release(Rule("all", None, use="v2"))

    (told,) = explain(ruleset, RequestFacts()).releases

    assert (told.bucket, told.key, told.key_source) == (None, None, None)


def test_explaining_sets_no_cookie() -> None:
    ruleset = one_release(
        Rule("canary", None, split=Split((("v2", 5_000),))), sticky=(StickyKey(Fact("cookie", "gray_id"), issue=True),)
    )
    facts = RequestFacts()

    (told,) = explain(ruleset, facts).releases

    assert told.key_source == "issued"
    assert facts.issued is None


def test_an_inherited_release_names_no_rules() -> None:
    ruleset = one_release(Rule("all", None, use="v2"))
    inherited = GrayContext([Decision("checkout", "v7", "inherited")], revision="0badcafe")

    explanation = explain(ruleset, RequestFacts(), inherited)

    assert explanation.revision == "0badcafe"
    assert [(r.version, r.reason, r.stable, r.rules) for r in explanation.releases] == [("v7", "inherited", "v1", ())]
