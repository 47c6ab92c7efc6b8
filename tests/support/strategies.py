"""Hypothesis strategies for rule documents, expressions and requests.

Names and values come from small alphabets, so that rules and requests meet often.
"""

from __future__ import annotations

import json

from hypothesis import strategies as st

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

NAMES = ("x-a", "x-b", "x-c")
VALUES = ("", "a", "b", "ab", "true", "7", "20", "-13", "2.5", "1.2.3", "10.1.2.3", "é", "a\udcff")
VERSIONS = ("v1", "v2", "v3")
NOW = 1_700_000_000.0

values = st.sampled_from(VALUES)
texts = st.sampled_from([value for value in VALUES if value.isprintable()])
maps = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
optional_values = st.none() | values


def requests() -> st.SearchStrategy[RequestFacts]:
    """Requests with any of the facts missing."""
    cookies = st.builds(
        lambda some, gray_id: some | ({} if gray_id is None else {"gray_id": gray_id}),
        maps,
        st.sampled_from([None, "short", "known-visitor-1", "bad!bad!bad!"]),
    )
    return st.builds(
        RequestFacts,
        method=st.sampled_from(["GET", "POST"]),
        path=st.sampled_from(["/", "/a", "/ab/c"]),
        host=st.sampled_from(["", "a", "b.example"]),
        headers=maps,
        cookies=cookies,
        query=maps,
        user=optional_values | st.integers(-50, 50).map(str),
        region=optional_values,
        device=st.sampled_from([None, "mobile", "desktop"]),
        ip=st.sampled_from([None, "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "nonsense"]),
    )


named_facts = st.builds(Fact, st.sampled_from(["header", "cookie", "query"]), st.sampled_from(NAMES))
plain_facts = st.sampled_from(["method", "path", "host", "user", "region", "device", "ip"]).map(Fact)
facts = named_facts | plain_facts

_text_operands = texts | st.sampled_from(["GET", "/a", "mobile", "10.1.2.3"])
_tests = st.one_of(
    st.builds(FactTest, facts, st.sampled_from(["exact", "prefix", "suffix", "contains"]), _text_operands),
    st.builds(FactTest, facts, st.just("in"), st.lists(_text_operands, max_size=4).map(tuple)),
    st.builds(FactTest, facts, st.just("exists"), st.booleans()),
    st.builds(FactTest, facts, st.sampled_from(["gt", "ge", "lt", "le"]), st.integers(-20, 20) | st.just(2.5)),
    st.builds(FactTest, facts, st.just("mod"), st.tuples(st.integers(-7, 7), st.integers(-3, 3))),
    st.builds(FactTest, facts, st.just("regex"), st.sampled_from(["a*b?", ".*", "[0-9]+", "/a.*"])),
    st.builds(FactTest, facts, st.just("semver"), st.sampled_from([">=1.2", "^7", "<3 || 20.x"])),
    st.builds(FactTest, facts, st.just("cidr"), st.sampled_from([("10.0.0.0/8",), ("2001:db8::/32", "::1")])),
    st.builds(FactTest, st.just(Fact("time")), st.sampled_from(["ge", "lt"]), st.sampled_from([NOW - 1, NOW, NOW + 1])),
)

_variables = st.sampled_from(
    ["user", "uid", "region", "device", "ip", "request.method", "request.path", "request.host", "request.useragent"]
)
_entries = st.builds(
    lambda whole, name, index: f"{whole}[{json.dumps(name)}]" if index else f"{whole}.{name.replace('-', '_')}",
    st.sampled_from(["request.headers", "cookies", "query"]),
    st.sampled_from(NAMES),
    st.booleans(),
)
_attributes = st.one_of(_variables, st.just("uid"), _entries)
_strings = st.sampled_from([repr(text) for text in VALUES if text.isprintable()])
_integers = st.integers(-30, 30).map(str)
_constants = _strings | _integers
_comparisons = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
_remainders = st.builds("uid % {}".format, st.sampled_from(["1", "2", "10", "7", "-7", "0"]))


def _joined(operator: str, left: str, right: str) -> str:
    return f"{left} {operator} {right}"


_simple_expressions = st.one_of(
    st.builds(_joined, _comparisons, _attributes, _constants),
    st.builds(_joined, _comparisons, _constants, _attributes),
    st.builds(_joined, _comparisons, _remainders, _integers),
    st.builds(
        _joined,
        st.just("in"),
        _attributes | _remainders,
        st.lists(_constants, max_size=4).map(", ".join).map("[{}]".format),
    ),
    st.builds("{}.{}({})".format, _attributes, st.sampled_from(["startsWith", "endsWith", "contains"]), _strings),
    st.builds("'{}' in {}".format, st.sampled_from(NAMES), st.sampled_from(["request.headers", "cookies", "query"])),
    st.builds(
        "has({}.{})".format, st.sampled_from(["request.headers", "cookies", "query"]), st.sampled_from(["a", "b"])
    ),
    st.sampled_from(["true", "false"]),
)
_library_expressions = st.one_of(
    st.sampled_from(
        [
            "size(query) > 1",
            "user == region",
            "int(user) > 3",
            "query.exists(k, query[k] == 'a')",
            "request.headers.all(h, h.startsWith('x-'))",
            "(user == 'a') == true",
            "uid > 2.5",
            "user.matches('^[a-z]+$')",
            "user == 'a' ? region == 'b' : uid % 2 == 0",
            "request.headers[user] == 'a'",
            "cookies == query",
            "uid + 1 == 8",
        ]
    )
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("!({})".format, inner),
        st.builds("({})".format, inner),
        *(
            st.lists(inner, min_size=2, max_size=4).map(
                lambda parts, operator=operator: "(" + operator.join(parts) + ")"
            )
            for operator in (" && ", " || ")
        ),
        st.lists(inner, min_size=2, max_size=4).map(" && ".join),
        st.lists(inner, min_size=2, max_size=4).map(" || ".join),
    )


simple_expressions = st.recursive(_simple_expressions, _compound, max_leaves=6)
"""Shapes that are meant to run without the library."""
expressions = st.recursive(_simple_expressions | _library_expressions, _compound, max_leaves=5)


def conditions(*, with_expressions: bool = True) -> st.SearchStrategy[Condition]:
    """Conditions of any shape."""
    leaves = _tests | expressions.map(Expression) if with_expressions else _tests
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(tuple).map(AllOf),
            st.lists(inner, max_size=3).map(tuple).map(AnyOf),
            inner.map(Not),
        ),
        max_leaves=5,
    )


_equalities = st.one_of(
    st.builds(FactTest, facts, st.just("exact"), _text_operands),
    st.builds(FactTest, facts, st.just("in"), st.lists(_text_operands, max_size=3).map(tuple)),
)
_equality_conditions = _equalities | st.lists(_equalities, min_size=1, max_size=2).map(tuple).map(AllOf)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Shares that add up to 100 % at most."""
    left = 10_000
    shares = []
    for version in draw(st.lists(st.sampled_from(["v2", "v3"]), unique=True, max_size=2)):
        share = draw(st.sampled_from([0, 1, 1_000, 5_000, 10_000]).map(lambda share, left=left: min(share, left)))
        left -= share
        shares.append((version, share))
    return Split(tuple(shares))


def rules(condition: st.SearchStrategy[Condition | None]) -> st.SearchStrategy[Rule]:
    """One rule, either kind of action."""
    names = st.sampled_from(["one", "two", "three"])
    return st.builds(Rule, names, condition, use=st.sampled_from(VERSIONS)) | st.builds(
        Rule, names, condition, split=splits()
    )


sticky_keys = st.one_of(
    st.sampled_from(["user", "ip"]).map(Fact).map(StickyKey),
    named_facts.map(StickyKey),
    st.booleans().map(lambda issue: StickyKey(Fact("cookie", "gray_id"), issue)),
)


def releases(name: str) -> st.SearchStrategy[Release]:
    """One release; some with long runs of equality rules, which are looked up in tables."""
    few = st.lists(rules(st.none() | conditions()), max_size=4)
    many = st.lists(rules(_equality_conditions), min_size=8, max_size=30)
    lists = few | many | st.builds(lambda first, middle, last: first + middle + last, few, many, few)
    return st.builds(
        Release,
        name=st.just(name),
        stable=st.just("v1"),
        services=st.just((f"{name}-service",)),
        sticky=st.lists(sticky_keys, max_size=3).map(tuple),
        seed=st.sampled_from([name, "shared", "sécond"]),
        enabled=st.sampled_from([True, True, True, False]),
        rules=lists.map(tuple),
    )


def documents(max_releases: int = 3) -> st.SearchStrategy[RuleDocument]:
    """Whole documents."""
    names = [f"r{number}" for number in range(max_releases)]
    return st.integers(1, max_releases).flatmap(
        lambda count: st.builds(
            RuleDocument, st.tuples(*(releases(name) for name in names[:count])), revision=st.just("9f3c2a11")
        )
    )
