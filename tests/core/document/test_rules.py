"""The rules of a release."""

# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import pytest

from graymw.core import document, model
from graymw.core.model import AllOf, Expression, Fact, Rule, Split


def rules(text: str) -> tuple[Rule, ...]:
    return document.parse(f"schema: 1\nreleases:\n  a: {{stable: v1, rules: [{text}]}}").releases[0].rules


def faults(text: str) -> list[tuple[str, str, str]]:
    problems = document.examine(f"schema: 1\nreleases:\n  a: {{stable: v1, rules: [{text}]}}").problems
    return [(problem.path.removeprefix("releases.a.rules"), problem.message, problem.mend) for problem in problems]


ALICE = model.Test(Fact("user"), "exact", "alice")


def test_a_rule_without_condition_is_for_everyone() -> None:
    assert rules("{use: v2}") == (Rule("rule-1", None, "v2"),)


def test_rules_are_named_by_their_place() -> None:
    made = rules("{match: {user: a}, use: v2}, {name: mine, match: {user: b}, use: v2}, {use: v2}")
    assert [rule.name for rule in made] == ["rule-1", "mine", "rule-3"]


def test_match_and_when_must_both_hold() -> None:
    device = model.Test(Fact("device"), "exact", "bot")
    assert rules("{match: {user: alice}, when: uid == 1, use: v2}")[0].condition == AllOf(
        (ALICE, Expression("uid == 1"))
    )
    assert rules("{when: uid == 1, match: {user: alice, device: bot}, use: v2}")[0].condition == AllOf(
        (ALICE, device, Expression("uid == 1"))
    )


def test_shares_keep_the_written_order() -> None:
    assert rules("{split: {v3: 0.25%, v2: 10, v0: 0%}}")[0].split == Split((("v3", 25), ("v2", 1000), ("v0", 0)))


def test_shares_may_add_up_to_all() -> None:
    assert rules("{split: {v3: 50%, v2: 50%}}")[0].split == Split((("v3", 5000), ("v2", 5000)))


def test_use_may_name_the_stable_version_to_exempt_someone() -> None:
    assert rules("{match: {user: alice}, use: v1}, {split: {v2: 10%}}")[0].use == "v1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v2", ("[0]", "a rule must be a mapping, not the text 'v2'", "write it like {name: testers, match: {user: [alice]}, use: v2}")),
        ("{user: alice, use: v2}", ("[0].user", "unknown key 'user'", "put `user` under `match`: match: {user: ...}")),
        ("{mach: {user: alice}, use: v2}", ("[0].mach", "unknown key 'mach'", "did you mean match?")),
        ("{use: v2, split: {v2: 1%}}", ("[0]", "both `use` and `split`", "keep one of them")),
        ("{match: {user: alice}}", ("[0]", "neither `use` nor `split`", "add use: VERSION or split: {VERSION: 10%}")),
        ("{use: 2.0}", ("[0].use", "the version 2.0 is read as the number 2.0, not as text", 'write "2.0" in quotes')),
        ("{use: v/2}", ("[0].use", "'v/2' cannot name a version", "use at most 64 letters, digits, dots, hyphens and underscores, a letter or digit first")),
        ("{split: 10%}", ("[0].split", "`split` must be a mapping, not the text '10%'", "write it like split: {v2: 10%}")),
        ("{split: {}}", ("[0].split", "the split is empty", "name a version and its share: split: {v2: 10%}")),
        ("{split: {v1: 90%, v2: 10%}}", ("[0].split.v1", "the split names the stable version v1", "leave it out: the rest stays on stable")),
        ("{split: {v2: 60%, v3: 40.01%}}", ("[0].split", "the shares add up to 100.01%", "lower them to 100% together")),
        ("{split: {v2: 0.001%}}", ("[0].split.v2", "0.001% is finer than 0.01%", "write 0% or 0.01%")),
        ("{split: {v2: 1%, v2: 2%}}", ("[0].split.v2", "the key 'v2' stands twice, first on line 3", "keep one of the two")),
        ("{split: {v 2: 1%}}", ("[0].split['v 2']", "'v 2' cannot name a version", "use at most 64 letters, digits, dots, hyphens and underscores, a letter or digit first")),
        ("{when: '', use: v2}", ("[0].when", "the expression is empty", "write some text or leave it out")),
        ("{when: true, use: v2}", ("[0].when", "the expression is the truth value true, not text", 'write "true" in quotes')),
        ("{when: uid % 10 = 0, use: v2}", ("[0].when", "bad expression: a single = at character 10 is no CEL", "write == to compare")),
        ("{name: '', use: v2}", ("[0].name", "the rule's name is empty", "write some text or leave it out")),
        ('{name: "a\\n", use: v2}', ("[0].name", "the rule's name is too long or not printable", "use at most 128 printable characters")),
    ],
)  # fmt: skip
def test_each_fault_of_a_rule_has_its_path_and_mend(text: str, expected: tuple[str, str, str]) -> None:
    assert faults(text) == [expected]


def test_a_name_is_given_once() -> None:
    assert faults("{name: x, match: {user: a}, use: v2}, {name: x, use: v2}") == [
        ("[1].name", "the name 'x' is taken by releases.a.rules[0]", "give each rule its own name")
    ]


def test_a_name_must_not_be_that_of_a_nameless_rule() -> None:
    assert faults("{name: rule-2, match: {user: a}, use: v2}, {use: v2}") == [
        ("[1]", "the name 'rule-2' is taken by releases.a.rules[0]", "give each rule its own name")
    ]


def test_every_fault_of_a_rule_is_told_at_once() -> None:
    told = faults("{nam: x, match: {usr: a}, when: '1 +', use: v2, split: {v1: 200%}}")
    assert [path for path, _, _ in told] == [
        "[0]",
        "[0].nam",
        "[0].match.usr",
        "[0].when",
        "[0].split.v1",
        "[0].split.v1",
    ]
