"""``match`` mappings and the conditions that become of them."""

# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import pytest

from graymw.core import model
from graymw.core.document import conditions
from graymw.core.document.tree import Cursor, Problems
from graymw.core.document.yaml_text import read
from graymw.core.model import AllOf, AnyOf, Condition, Fact, FactKind, Not
from graymw.errors import Problem


def examine(text: str) -> tuple[Condition | None, tuple[Problem, ...]]:
    problems = Problems()
    node = read(text, problems)
    assert node is not None
    return conditions.match(Cursor(node, "match", problems)), problems.in_order()


def condition(text: str) -> Condition:
    found, problems = examine(text)
    assert problems == ()
    assert found is not None
    return found


def fault(text: str) -> Problem:
    found, problems = examine(text)
    assert found is None
    (problem,) = problems
    assert problem.severity == "error"
    return problem


def holds(kind: FactKind, operator: model.Operator, operand: model.Operand, name: str = "") -> model.Test:
    return model.Test(Fact(kind, name), operator, operand)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user: alice", holds("user", "exact", "alice")),
        ("user: 42", holds("user", "exact", "42")),
        ("user: [alice, 42, alice]", holds("user", "in", ("alice", "42"))),
        ("user: [alice]", holds("user", "exact", "alice")),
        ("header: {X-Gray: 'true'}", holds("header", "exact", "true", "x-gray")),
        ("header: {x-gray: ''}", holds("header", "exact", "", "x-gray")),
        ("cookie: {Uid: a}", holds("cookie", "exact", "a", "Uid")),
        ("query: {a.b: [x, y]}", holds("query", "in", ("x", "y"), "a.b")),
        ("method: [get, Post]", holds("method", "in", ("GET", "POST"))),
        ("host: Shop.Example", holds("host", "exact", "shop.example")),
        ("host: {suffix: .Example}", holds("host", "suffix", ".example")),
        ("method: {prefix: p}", holds("method", "prefix", "P")),
        ("path: {prefix: /api}", holds("path", "prefix", "/api")),
        ("device: mobile", holds("device", "exact", "mobile")),
        ("region: {in: [eu]}", holds("region", "exact", "eu")),
        ("region: {exact: eu}", holds("region", "exact", "eu")),
        ("ip: 2001:DB8:0:0::7", holds("ip", "exact", "2001:db8::7")),
        ("ip: {cidr: 10.0.0.0/8}", holds("ip", "cidr", ("10.0.0.0/8",))),
        ("ip: {cidr: [10.0.0.0/8, 2001:DB8::/32, 10.0.0.0/8]}", holds("ip", "cidr", ("10.0.0.0/8", "2001:db8::/32"))),
        ("ip: {cidr: 192.0.2.7}", holds("ip", "cidr", ("192.0.2.7/32",))),
        ("user: {contains: '@'}", holds("user", "contains", "@")),
        ("user: {regex: '[a-z]+'}", holds("user", "regex", "[a-z]+")),
        ("user: {exists: false}", holds("user", "exists", False)),
        ("header: {x-n: {gt: 3}}", holds("header", "gt", 3, "x-n")),
        ("header: {x-n: {le: 2.5}}", holds("header", "le", 2.5, "x-n")),
        ("user: {mod: [10, 3]}", holds("user", "mod", (10, 3))),
        ("user: {mod: [10, -3]}", holds("user", "mod", (10, -3))),
        ("header: {x-v: {semver: '>=2.1 <3'}}", holds("header", "semver", ">=2.1 <3", "x-v")),
        ("after: 1970-01-01T00:00:10Z", holds("time", "ge", 10.0)),
        ("before: '1970-01-01T00:00:10Z'", holds("time", "lt", 10.0)),
    ],
)
def test_a_single_test_stays_bare(text: str, expected: Condition) -> None:
    assert condition(text) == expected


def test_several_keys_must_all_hold_in_the_written_order() -> None:
    assert condition("{region: eu, header: {x-b: 1, x-a: 2}, device: bot}") == AllOf(
        (
            holds("region", "exact", "eu"),
            holds("header", "exact", "1", "x-b"),
            holds("header", "exact", "2", "x-a"),
            holds("device", "exact", "bot"),
        )
    )


def test_any_all_and_not_nest() -> None:
    a, b, c = (holds("user", "exact", name) for name in "abc")
    assert condition("any: [{user: a}, {user: b, not: {user: c}}]") == AnyOf((a, AllOf((b, Not(c)))))
    assert condition("not: {any: [{user: a}, {user: b}]}") == Not(AnyOf((a, b)))


def test_nested_all_is_dissolved() -> None:
    a, b, c = (holds("user", "exact", name) for name in "abc")
    assert condition("{all: [{user: a}, {all: [{user: b}]}], user: c}") == AllOf((a, b, c))


def test_any_of_one_is_that_one() -> None:
    assert condition("any: [{user: a}]") == holds("user", "exact", "a")


@pytest.mark.parametrize(
    ("text", "path", "message", "mend"),
    [
        ("{}", "match", "the match is empty", "name a fact, or leave it out where the rule is for everyone"),
        ("[user]", "match", "a match must be a mapping, not a list", 'write it like match: {header: {x-gray: "true"}}'),
        ("usr: a", "match.usr", "unknown key 'usr'", "did you mean user?"),
        ("headers: {a: b}", "match.headers", "unknown key 'headers'", "did you mean header?"),
        ("when: uid == 1", "match.when", "unknown key 'when'", "put `when` beside `match`, not into it"),
        ("header: x-gray", "match.header", "`header` must be a mapping, not the text 'x-gray'", 'write it like header: {x-gray: "true"}'),
        ("cookie: {}", "match.cookie", "`cookie` names none", "write cookie: {NAME: VALUE}"),
        ("header: {x gray: 1}", "match.header['x gray']", "'x gray' is no header name", "write letters, digits and hyphens"),
        ("header: {X-A: 1, x-a: 2}", "match.header.x-a", "the header 'x-a' stands twice", "keep one: upper and lower case are the same header"),
        ("query: {'': 1}", "match.query['']", "a query without a name", "write its name"),
        ("header: {x-v: 1.10}", "match.header.x-v", "the header 1.10 is read as the number 1.1, not as text", 'write "1.10" in quotes'),
        ("header: {x-v: true}", "match.header.x-v", "the header is the truth value true, not text", 'write "true" in quotes'),
        ("user:", "match.user", "the user has no value", "write one or leave it out"),
        ("user: ''", "match.user", "the user is empty", "write some text or leave it out"),
        ("user: [a, {b: c}]", "match.user[1]", "the user must be text, not a mapping", "write a single value"),
        ("user: []", "match.user", "the list of values is empty", "write at least one value"),
        ("user: {in: a}", "match.user.in", "`in` must be a list, not the text 'a'", "write it like in: [eu, uk]"),
        ("user: {}", "match.user", "the value is an empty mapping", "write a value, or an operator such as {exists: true}"),
        ("user: {prefx: a}", "match.user.prefx", "unknown key 'prefx'", "did you mean prefix?"),
        ("user: {gt: 1, lt: 5}", "match.user", "gt and lt together on one value", "keep one, or put each into its own item of `all: [...]`"),
        ("user: {gt: '1'}", "match.user.gt", "a comparison needs a number, not the text '1'", "write 1 without quotes"),
        ("user: {exists: 'true'}", "match.user.exists", "`exists` is the text 'true', not a truth value", "write true without quotes"),
        ("user: {prefix: ''}", "match.user.prefix", "the operand is empty", "write some text or leave it out"),
        ("user: {mod: 10}", "match.user.mod", "`mod` must be a list, not the number 10", "write it like mod: [10, 0]"),
        ("user: {mod: [10]}", "match.user.mod", "`mod` has 1 numbers", "write divisor and remainder: mod: [10, 0]"),
        ("user: {mod: [0, 0]}", "match.user.mod[0]", "the divisor is 0", "write a divisor of at least 1"),
        ("user: {mod: [10, 10]}", "match.user.mod[1]", "no remainder by 10 is 10", "write a remainder from 0 to 9"),
        ("user: {mod: [10, 1.5]}", "match.user.mod[1]", "`mod` needs a whole number, not 1.5", "write a number without a fraction"),
        ("ip: 10.0.0.0/8", "match.ip", "'10.0.0.0/8' is a network, not an address", 'write {cidr: "10.0.0.0/8"}'),
        ("ip: 10.0.0", "match.ip", "'10.0.0' is no IP address", "write an address like 192.0.2.7 or 2001:db8::7"),
        ("ip: {cidr: 10.1.2.3/8}", "match.ip.cidr", "the network '10.1.2.3/8' has bits behind its prefix", "write 10.0.0.0/8"),
        ("ip: {cidr: [10.0.0.0/8, x]}", "match.ip.cidr[1]", "'x' is no network", "write it like 10.0.0.0/8 or 2001:db8::/32"),
        ("ip: {cidr: []}", "match.ip.cidr", "the list of networks is empty", "write at least one network"),
        ("host: 'shop.example:8080'", "match.host", "the host 'shop.example:8080' has a port", "write shop.example: hosts are compared without port"),
        ("host: '[2001:db8::1]:80'", "match.host", "the host '[2001:db8::1]:80' has a port", "write [2001:db8::1]: hosts are compared without port"),
        ("any: []", "match.any", "`any` has no conditions", "write at least one or leave it out"),
        ("all: {user: a}", "match.all", "`all` must be a list, not a mapping", "write it like all: [{region: eu}, {device: mobile}]"),
        ("not: {}", "match.not", "the match is empty", "name a fact, or leave it out where the rule is for everyone"),
        ("any: [{user: a}, {usr: b}]", "match.any[1].usr", "unknown key 'usr'", "did you mean user?"),
        ("after: 2026-01-31", "match.after", "after needs an RFC 3339 time, not the text '2026-01-31'", "write 2026-01-31T00:00:00Z"),
    ],
)  # fmt: skip
def test_each_fault_has_its_path_and_mend(text: str, path: str, message: str, mend: str) -> None:
    problem = fault(text)
    assert (problem.path, problem.message, problem.mend) == (path, message, mend)


@pytest.mark.parametrize(("before", "refused"), [("09:59:59", True), ("10:00:00", True), ("10:00:01", False)])
def test_a_period_must_have_a_length(before: str, refused: bool) -> None:
    _, problems = examine(f"{{before: '2026-01-31T{before}Z', after: '2026-01-31T10:00:00Z'}}")
    expected = [("match.before", "write a later time")] if refused else []
    assert [(problem.path, problem.mend) for problem in problems] == expected


def test_a_period_may_be_given_in_parts() -> None:
    problem = fault("{all: [{after: 2026-02-01T00:00:00Z}, {user: a}], any: [{before: 2026-01-01T00:00:00Z}]}")
    assert (problem.path, problem.mend) == ("match", "write a later time")


def test_what_re2_refuses_is_told() -> None:
    problem = fault("user: {regex: '(?=a)b'}")
    assert problem.path == "match.user.regex"
    assert problem.message.startswith("bad regex: ")
    assert "lookaround" in problem.mend


def test_what_is_no_version_range_is_told() -> None:
    problem = fault("user: {semver: 'newest'}")
    assert problem.path == "match.user.semver"
    assert problem.message.startswith("bad version range: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user: {regex: '^admin'}", "append .* or write {prefix: ...}; append $ where the whole is meant"),
        ("device: phone", "use one of mobile, tablet, desktop, bot"),
        ("path: api", "write /api: paths begin with a slash"),
    ],
)
def test_what_is_likely_a_mistake_is_a_warning(text: str, told: str) -> None:
    found, (problem,) = examine(text)
    assert found is not None
    assert (problem.severity, problem.mend) == ("warning", told)


@pytest.mark.parametrize("pattern", ["^admin.*", "^admin$", "admin"])
def test_a_regex_that_means_the_whole_value_is_no_mistake(pattern: str) -> None:
    condition(f"user: {{regex: '{pattern}'}}")


def test_every_fault_of_a_match_is_told_at_once() -> None:
    _, problems = examine("{usr: a, ip: x, header: {x-a: true, x-b: 1.0}, any: [{methd: GET}]}")
    assert [problem.path for problem in problems] == [
        "match.usr",
        "match.ip",
        "match.header.x-a",
        "match.header.x-b",
        "match.any[0].methd",
    ]
