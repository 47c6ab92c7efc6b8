"""A rule document examined: everything at once, in the order of the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graymw.core import document, model
from graymw.core.model import AllOf, Expression, Fact, Rule, Split, StickyKey
from graymw.errors import RulesError

CONTRACT = """
schema: 1
releases:
  checkout:
    services: [orders, payments]   # left out: every service that no other release names
    stable: v1
    fallback: stable               # stable | any | refuse
    sticky: [user, cookie]
    seed: checkout
    enabled: true
    versions:
      payments: {v1: "3.1", v2: "3.2"}
    rules:
      - name: testers
        match: {header: {x-gray-version: "true"}}
        use: v2
      - name: even-uids
        when: uid % 10 == 0        # CEL
        use: v2
      - name: mobile-eu
        match: {region: [eu, uk], device: mobile}
        use: v2
      - name: canary
        split: {v2: 10%, v3: 0.25%}
"""

TEN_FAULTS = """\
# Checkout rollout, autumn
schema: 1
releases:
  checkout:
    services: [orders, payments]
    stable: 1.10
    stiky: [user, cookie]
    fallback: stabel
    versions:
      payments: {v2: 3.20}
    rules:
      - name: testers
        match:
          header: {x-gray-version: true}
        use: v2
      - name: office
        match: {ip: {cidr: 10.1.2.3/8}}
        use: v2
      - name: insiders
        match: {user: {regex: "(alice|bob"}}
        use: v2
      - name: even-uids
        when: uid % 10 = 0
        use: v2
      - name: autumn
        match: {after: "2026-10-01T00:00:00Z", before: "2026-09-01T00:00:00Z"}
        use: v2
      - name: canary
        split: {v2: 80%, v3: 25%}
"""


def test_the_document_of_the_contract_becomes_its_model() -> None:
    examined = document.examine(CONTRACT)
    assert examined.problems == ()
    assert examined.document is not None
    (release,) = examined.document.releases
    assert (release.name, release.stable, release.services) == ("checkout", "v1", ("orders", "payments"))
    assert (release.fallback, release.seed, release.enabled) == ("stable", "checkout", True)
    assert release.sticky == (StickyKey(Fact("user")), StickyKey(Fact("cookie", "gray_id"), issue=True))
    assert release.label("payments", "v2") == "3.2"
    assert release.label("orders", "v2") == "v2"
    assert release.rules == (
        Rule("testers", model.Test(Fact("header", "x-gray-version"), "exact", "true"), "v2"),
        Rule("even-uids", Expression("uid % 10 == 0"), "v2"),
        Rule(
            "mobile-eu",
            AllOf((model.Test(Fact("region"), "in", ("eu", "uk")), model.Test(Fact("device"), "exact", "mobile"))),
            "v2",
        ),
        Rule("canary", None, None, Split((("v2", 1000), ("v3", 25)))),
    )


def test_ten_faults_are_ten_problems_in_the_order_of_the_text() -> None:
    problems = document.examine(TEN_FAULTS).problems
    assert [(problem.line, problem.path) for problem in problems] == [
        (6, "releases.checkout.stable"),
        (7, "releases.checkout.stiky"),
        (8, "releases.checkout.fallback"),
        (10, "releases.checkout.versions.payments.v2"),
        (14, "releases.checkout.rules[0].match.header.x-gray-version"),
        (17, "releases.checkout.rules[1].match.ip.cidr"),
        (20, "releases.checkout.rules[2].match.user.regex"),
        (23, "releases.checkout.rules[3].when"),
        (26, "releases.checkout.rules[4].match.before"),
        (29, "releases.checkout.rules[5].split"),
    ]
    assert [problem.mend for problem in problems] == [
        'write "1.10" in quotes',
        "did you mean sticky?",
        "did you mean stable?",
        'write "3.20" in quotes',
        'write "true" in quotes',
        "write 10.0.0.0/8",
        "write an RE2 pattern: no lookaround, no backreferences",
        "write == to compare",
        "write a later time",
        "lower them to 100% together",
    ]
    assert {problem.severity for problem in problems} == {"error"}
    assert all(problem.message for problem in problems)


def test_a_refused_document_has_no_model() -> None:
    assert document.examine(TEN_FAULTS).document is None


def test_parse_raises_every_problem_and_names_the_origin() -> None:
    with pytest.raises(RulesError, match=r"^rules\.yaml: 10 problem") as raised:
        document.parse(TEN_FAULTS, origin="rules.yaml")
    assert raised.value.problems == document.examine(TEN_FAULTS).problems


def test_a_warning_does_not_refuse() -> None:
    examined = document.examine("releases: {}")
    assert [(problem.severity, problem.message) for problem in examined.problems] == [
        ("warning", "`schema` is missing, 1 is taken")
    ]
    assert examined.document is not None


def test_parse_raises_no_warnings() -> None:
    with pytest.raises(RulesError) as raised:
        document.parse("releases: []")
    assert [problem.path for problem in raised.value.problems] == ["releases"]


def test_problems_of_a_hopeless_document_are_counted_instead_of_listed_without_end() -> None:
    problems = document.examine("".join(f"key{number}: 1\n" for number in range(1000))).problems
    assert len(problems) == 201
    assert problems[-1].message == "801 more problems"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([None, "yaml", "json", "toml"]))
def test_any_bytes_are_examined_without_an_exception(data: bytes, wanted: str | None) -> None:
    examined = document.examine(data, format=wanted)
    assert examined.document is not None or any(problem.severity == "error" for problem in examined.problems)


_PIECES = st.sampled_from(
    [
        "schema: 1\n", "releases:", "stable", "v1", "rules", "split", "10%", "match", "header", "when", "use", "any",
        "not: ", "\n", "\n  ", "\n    ", "\r", "\t", "\x85", "\u2028", "{", "}", "[", "]", ",", ":", ": ", "- ", "? ",
        "=", ".", "# ", '"', "'", '"""', "|\n", ">", "&a ", "*a", "<<: ", "!!str ", "---\n", "...",
        "%YAML 9\n", "[releases.a]\n", "a", "é", "1.10", "1e999", "0x1f", "null", "true",
        "\\u0000", "\\ud800", "2026-01-01T00:00:00Z",
    ]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=40), st.sampled_from([None, "yaml", "json", "toml"]))
def test_any_heap_of_syntax_is_examined_without_an_exception(pieces: list[str], wanted: str | None) -> None:
    examined = document.examine("".join(pieces), format=wanted)
    assert examined.document is not None or examined.problems


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(["name", "match", "when", "use", "split", "header", "user", "any", "not", "after", "mod", "in"])
_RULES = st.dictionaries(_KEYS, _VALUES | st.dictionaries(_KEYS, _VALUES, max_size=3), max_size=4)
_RELEASE_KEYS = st.sampled_from(
    ["services", "stable", "fallback", "min_instances", "sticky", "seed", "enabled", "versions", "rules", "x"]
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_RELEASE_KEYS, _VALUES | st.lists(_RULES, max_size=3), max_size=6))
def test_any_values_under_known_keys_are_examined_without_an_exception(release: dict[str, object]) -> None:
    examined = document.examine({"schema": 1, "releases": {"checkout": release}})
    assert examined.document is not None or examined.problems
