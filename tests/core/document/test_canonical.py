"""Equal documents have equal revisions, everywhere and for ever."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from graymw.core import document, model
from graymw.core.model import AnyOf, Expression, Fact, Not, Release, Rule, RuleDocument

BASE = """
schema: 1
releases:
  checkout:
    services: [orders, payments]
    stable: v1
    sticky: [user, cookie]
    versions: {payments: {v1: "3.1", v2: "3.2"}}
    rules:
      - match: {region: [eu, uk], header: {x-a: 1, x-b: 2}}
        use: v2
      - match: {any: [{user: alice}, {after: 2026-01-01T00:00:00Z}]}
        when: uid % 10 == 0
        use: v2
      - split: {v2: 10%, v3: 0.25%}
  search: {stable: v1, services: [search]}
"""


def revision(text: str) -> str:
    return document.parse(text).revision


def test_the_canonical_text_is_pinned() -> None:
    """Revisions of documents out there must not change with a release of graymw."""
    made = document.parse("schema: 1\nreleases: {a: {stable: v1, rules: [{match: {user: é}, split: {v2: 0.25%}}]}}")
    assert document.canonical_text(made) == (
        '{"releases":{"a":{"enabled":true,"fallback":"stable",'
        '"rules":[["rule-1",["test","user","","exact","\\u00e9"],null,[["v2",25]]]],'
        '"seed":"a","services":null,"stable":"v1",'
        '"sticky":[["user","",false],["cookie","gray_id",true]],"versions":{}}},"schema":1}'
    )
    assert made.revision == document.revision_of(made) == "f6d29971"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("services: [orders, payments]\n    stable: v1", "stable: v1\n    services: [payments, orders]"),
        ("{region: [eu, uk], header: {x-a: 1, x-b: 2}}", "{header: {X-B: '2', x-a: '1'}, region: [uk, eu, uk]}"),
        ('{v1: "3.1", v2: "3.2"}', '{v2: "3.2", v3: v3, v1: "3.1"}'),
        ("[{user: alice}, {after: 2026-01-01T00:00:00Z}]",
         "[{after: 2026-01-01T00:00:00+00:00}, {user: {in: [alice]}}]"),
        ("0.25%", "0.250%"),
        ("10%", "10"),
        ("sticky: [user, cookie]", "seed: checkout"),
        ("sticky: [user, cookie]", "min_instances: 1"),
        ("      - split", "      - name: rule-3\n        split"),
        ("  search: {stable: v1, services: [search]}", "  search: {services: [search], stable: v1, enabled: true}"),
        ("schema: 1", "# a comment\nschema: 1"),
    ],
)  # fmt: skip
def test_what_does_not_matter_does_not_change_the_revision(old: str, new: str) -> None:
    assert old in BASE
    assert revision(BASE.replace(old, new)) == revision(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stable: v1", "stable: v0"),
        ("0.25%", "0.26%"),
        ("{v2: 10%, v3: 0.25%}", "{v3: 0.25%, v2: 10%}"),
        ("[user, cookie]", "[cookie, user]"),
        ("[user, cookie]", "[user, 'cookie:gray_id']"),
        ("sticky: [user, cookie]", "seed: other"),
        ("sticky: [user, cookie]", "min_instances: 2"),
        ("uid % 10 == 0", "uid % 10 == 1"),
        ("any:", "all:"),
        ("services: [orders, payments]", "services: [orders, payments, more]"),
        ("      - split", "      - name: canary\n        split"),
        ('"3.2"', '"3.3"'),
        ("  search: {stable: v1", "  search: {enabled: false, stable: v1"),
    ],
)
def test_what_matters_changes_the_revision(old: str, new: str) -> None:
    assert old in BASE
    assert revision(BASE.replace(old, new)) != revision(BASE)


def test_the_order_of_rules_matters() -> None:
    one, two = "{match: {user: a}, name: a, use: v2}", "{match: {user: b}, name: b, use: v3}"
    text = "{{schema: 1, releases: {{a: {{stable: v1, rules: [{}, {}]}}}}}}"
    assert revision(text.format(one, two)) != revision(text.format(two, one))


def test_the_order_of_releases_does_not() -> None:
    one, two = "a: {stable: v1}", "b: {stable: v1, services: [x]}"
    text = "{{schema: 1, releases: {{{}, {}}}}}"
    assert revision(text.format(one, two)) == revision(text.format(two, one))


@pytest.mark.parametrize("write", [json.dumps, lambda made: yaml.safe_dump(made, sort_keys=False)])
def test_the_format_does_not_matter(write) -> None:  # type: ignore[no-untyped-def]
    made = document.parse(BASE)
    assert document.parse(write(document.mapping_of(made))) == made


def test_a_revision_is_eight_hex_digits() -> None:
    assert len(revision(BASE)) == 8
    assert int(revision(BASE), 16) >= 0


def test_an_expression_inside_any_has_no_document() -> None:
    rule = Rule("x", AnyOf((Expression("true"), Not(Expression("true")))), "v2")
    made = RuleDocument((Release("a", "v1", seed="a", rules=(rule,)),))
    with pytest.raises(ValueError, match="beside `match`"):
        document.mapping_of(made)


_VERSIONS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,6}\Z")
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
_NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6).filter(lambda number: not math.isnan(number))
_MOD = st.integers(1, 50).flatmap(lambda divisor: st.tuples(st.just(divisor), st.integers(1 - divisor, divisor - 1)))
_OPERATORS = st.one_of(
    _TEXT,
    st.lists(_TEXT, min_size=1, max_size=3),
    st.builds(lambda key, value: {key: value}, st.sampled_from(["prefix", "suffix", "contains", "exact"]), _TEXT),
    st.builds(lambda key, value: {key: value}, st.sampled_from(["gt", "ge", "lt", "le"]), _NUMBERS),
    st.builds(lambda value: {"exists": value}, st.booleans()),
    st.builds(lambda value: {"mod": list(value)}, _MOD),
    st.just({"regex": "a+"}),
    st.just({"semver": ">=2.1 <3"}),
    st.just({"cidr": ["10.0.0.0/8", "2001:db8::/32"]}),
)
_TIMES = st.integers(1, 9999).map(lambda year: f"{year:04}-03-04T05:06:07.25Z")
_FACTS = st.one_of(
    st.builds(lambda key, value: {key: value}, st.sampled_from(["user", "region", "path", "method"]), _OPERATORS),
    st.builds(lambda name, value: {"header": {name: value}}, st.sampled_from(["x-a", "X-B", "c"]), _OPERATORS),
    st.dictionaries(_TEXT, _OPERATORS, min_size=1, max_size=3).map(lambda query: {"query": query}),
    st.builds(lambda key, value: {key: value}, st.sampled_from(["after", "before"]), _TIMES),
)  # fmt: skip


def _mixed(parts: list[dict[str, object]]) -> dict[str, object]:
    return {key: value for part in parts for key, value in part.items()}


_MATCHES = st.recursive(
    st.lists(_FACTS, min_size=1, max_size=3).map(_mixed),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        inner.map(lambda part: {"not": part}),
        st.lists(inner, min_size=1, max_size=2).map(_mixed),
    ),
    max_leaves=4,
)  # fmt: skip
_OUTCOMES = st.one_of(
    st.builds(lambda version: {"use": version}, _VERSIONS),
    st.builds(
        lambda names, part: {"split": dict.fromkeys(names, f"{part / 100:.2f}%")},
        st.lists(_VERSIONS.filter(lambda name: name != "v1"), min_size=1, max_size=3, unique=True),
        st.integers(0, 3333),
    ),
)
_RULES = st.builds(
    lambda match, when, outcome: {**match, **when, **outcome},
    _MATCHES.map(lambda match: {"match": match}) | st.just({}),
    st.sampled_from([{}, {"when": "uid % 10 == 0"}, {"when": "region == 'eu'"}]),
    _OUTCOMES,
)
_STICKY = st.lists(
    st.sampled_from(["user", "cookie", "ip", "header:X-A", "cookie:uid", "query:Q"]), unique=True, max_size=4
)
_RELEASES = st.fixed_dictionaries(
    {"stable": st.just("v1"), "rules": st.lists(_RULES, max_size=4)},
    optional={
        "fallback": st.sampled_from(["stable", "any", "refuse"]),
        "min_instances": st.integers(1, 3),
        "sticky": _STICKY,
        "seed": _VERSIONS,
        "enabled": st.booleans(),
        "versions": st.dictionaries(_VERSIONS, st.dictionaries(_VERSIONS, _VERSIONS, max_size=2), max_size=2),
    },
)


def _made(releases: dict[str, dict[str, object]]) -> RuleDocument | None:
    owned = {
        name: {**release, "services": [f"{name}-a", f"{name}-b"]} if index else release
        for index, (name, release) in enumerate(releases.items())
    }
    for release in owned.values():
        if "services" in release:
            release.pop("versions", None)
    return document.examine({"schema": 1, "releases": owned}).document


_DOCUMENTS = st.dictionaries(st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,4}\Z"), _RELEASES, max_size=3).map(_made)


@given(_DOCUMENTS)
def test_the_normal_form_reads_back_as_an_equal_model(made: RuleDocument | None) -> None:
    assume(made is not None)
    assert made is not None
    plain = document.mapping_of(made)
    assert document.parse(plain) == made
    assert document.parse(json.dumps(plain), format="json") == made
    assert document.parse(document.yaml_of(made), format="yaml") == made


@given(_DOCUMENTS, st.randoms())
def test_the_order_of_keys_never_matters(made: RuleDocument | None, random) -> None:  # type: ignore[no-untyped-def]
    assume(made is not None)
    assert made is not None

    def shuffled(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            members = list(value.items())
            if key != "split":
                random.shuffle(members)
            return {name: shuffled(inner, name) for name, inner in members}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    plain = shuffled(document.mapping_of(made))
    assert isinstance(plain, dict)
    again = document.parse(plain)
    assert again.revision == made.revision
    assert document.canonical_text(again) == document.canonical_text(made)


def test_tests_of_one_header_twice_survive_the_way_back() -> None:
    match = "{all: [{header: {x: {ge: 1}}}, {header: {x: {lt: 5}}}]}"
    made = document.parse(f"{{schema: 1, releases: {{a: {{stable: v1, rules: [{{match: {match}, use: v2}}]}}}}}}")
    x = Fact("header", "x")
    assert made.releases[0].rules[0].condition == model.AllOf((model.Test(x, "ge", 1), model.Test(x, "lt", 5)))
    assert document.parse(document.mapping_of(made)) == made
