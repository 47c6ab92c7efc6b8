"""What is wrong with an expression, told so that a person can mend it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import expressions

from graymw.core import cel
from graymw.core.cel.evaluating import LibraryError, compile_program


@pytest.mark.parametrize(
    "source",
    [
        "uid % 10 == 0",
        "request.headers['x-a'] == 'b' || cookies.beta == '1'",
        "request.headers.foo == 'a' && query['q'].contains('x')",
        "request.method == 'GET' && request.path.startsWith('/a') && request.host == 'h' && request.url_path != '/'",
        "request.useragent.contains('Firefox') || request.referer == 'x' || request.id == 'y'",
        "user in ['a', 'b'] || region == 'eu' || device == 'mobile' || ip.startsWith('10.')",
        "size(query) > 0 && has(query.a) && 'x-a' in request.headers && has(request.headers)",
        "request.headers.exists(name, name.startsWith('x-'))",
        "query.all(k, query.exists(j, j == k))",
        "[1, 2].map(x, x * 2) == [2, 4] && {'a': 1}.a == 1",
        "timestamp('2026-01-01T00:00:00Z') + duration('1h') > timestamp('2026-01-01T00:00:00Z')",
        "timestamp('2026-01-01T00:00:00Z').getHours() == 0 && type(uid) == int",
        "request.path.matches('^/api/v[0-9]+')",
        "uid == 'a' ? true : false",
        "true // for everybody",
        r"user == 'it\'s' || user == r'\d' || user == '''a'b''' || user == '\u00e9\x41\101\n'",
        "uid in [1, 'a']",
        "dyn(user) == 1",
        "(request).headers['x'] == 'y' && request['path'] == '/'",
    ],
)
def test_good_expressions_have_no_problems(source: str) -> None:
    assert cel.problems(source) == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("usr == 'a'", "unknown name 'usr', did you mean 'user'?"),
        ("Uid == 1", "unknown name 'Uid', did you mean 'uid'?"),
        ("request.header['x'] == 'a'", "unknown attribute 'request.header', did you mean 'headers'?"),
        ("request.query == 'a'", "unknown attribute 'request.query', write query['name']"),
        ("request.time > timestamp(user)", "unknown attribute 'request.time', write after or before in match"),
        ("request == 'a'", "request stands for no single value, name one of its attributes, such as request.path"),
        ("user.startswith('a')", "unknown function 'startswith', did you mean 'startsWith'?"),
        ("startsWith(user, 'a')", "unknown function 'startsWith', write x.startsWith(…)"),
        ("user.int() == 1", "unknown function 'int', write int(x)"),
        ("int(user, 10) == 1", "int() takes one argument, not 2"),
        ("user.contains() == true", ".contains() takes 1 argument(s), not 0"),
        ("uid = 1", "a single = at character 5 is no CEL, write == to compare"),
        ("uid == 1 & true", "a single & at character 10 is no CEL, write &&"),
        ("uid == 1 and true", "unexpected 'and' at character 10, write &&"),
        ("not true", "unexpected 'true' at character 5, expected an operator or the end"),
        ("uid ==", "the expression ends too early, expected a value"),
        ("", "the expression ends too early, expected a value"),
        ("(uid == 1", "the expression ends too early, expected )"),
        ("user == 'a", "the string that begins at character 9 is not closed or holds an unknown escape"),
        ("user == 'a' § true", "'§' at character 13 is no CEL"),
        ("uid == 9223372036854775808", "the number 9223372036854775808 does not fit in 64 bits"),
        ("uid == 18446744073709551616u", "the number 18446744073709551616u does not fit in 64 bits"),
        ("uid > 1e999", "the number 1e999 is too large"),
        (r"user == '\ud800'", "the escape for code point 0xd800 is no Unicode character"),
        ("if == 1", "unexpected 'if' at character 1, the word is reserved"),
        ("!-uid == 1", "! and - cannot follow each other, character 2"),
        ("Foo{a: 1} == 1", "unexpected '{' at character 4, expected an operator or the end"),
        ("cookies[0] == 'a'", "cookies is indexed by text, write cookies['0']"),
        ("has(user)", "has() takes a member such as has(cookies.name); for a name with - write 'x-a' in query"),
        ("query.exists(k)", "exists() takes a variable and a condition, such as query.exists(k, k == 'a')"),
        ("query.exists(uid, true)", "the loop variable 'uid' has a meaning already, choose another name"),
        ("query.exists(__0, true)", "the loop variable '__0' has a meaning already, choose another name"),
        ("uid.matches('(')", "RE2 cannot read the pattern (missing ): ()"),
    ],
)  # fmt: skip
def test_each_fault_is_one_sentence_with_its_mend(source: str, told: str) -> None:
    assert cel.problems(source) == [told]


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("uid", "yields a number or text, not true or false"),
        ("user", "yields text"),
        ("uid % 10", "yields a number"),
        ("size(query)", "yields a number"),
        ("true ? 'a' : 'b'", "yields text"),
        ("user % 10 == 0", "% fails between text and a number"),
        ("'a' % 'b' == 'c'", "% needs whole numbers"),
        ("request.headers['x'] > 5", "use uid for a numeric user id"),
        ("user == 5", "never equal"),
        ("user == null", "ask for presence"),
        ("user && true", "&& joins conditions, but one side is text"),
        ("!user", "! negates a condition, but it stands before text"),
        ("uid in user", "in looks into a list or a map"),
        ("true == 1", "never equal"),
    ],
)
def test_what_can_never_be_true_or_false_is_told(source: str, part: str) -> None:
    assert any(part in told for told in cel.problems(source))


def test_several_faults_are_told_at_once() -> None:
    assert len(cel.problems("usr == 'a' || request.heads['x'] == 'b' || lower(user) == 'c'")) == 3


@pytest.mark.parametrize(
    "source",
    [
        "(" * 70 + "true" + ")" * 70,
        "!" * 100 + "true",
        "-" * 100 + "1 == 1",
        "[" * 100,
        "true ? true : " * 100 + "true",
        "1" + " + 1" * 100 + " == 101",
        "query" + ".a" * 100 + " == 'a'",
        "string(" * 80 + "uid" + ")" * 80 + " == 'a'",
    ],
)
def test_depth_is_bounded(source: str) -> None:
    (told,) = cel.problems(source)

    assert "nested deeper than 64 levels" in told


def test_length_is_bounded() -> None:
    assert cel.problems("true || " * 600 + "true") == ["the expression is longer than 4096 characters"]


def test_loops_may_be_nested_twice_but_not_more() -> None:
    loop = "query.exists({}, {})"

    assert cel.problems(loop.format("a", loop.format("b", "a == b"))) == []
    assert "nested 2 deep" in cel.problems(loop.format("a", loop.format("b", loop.format("c", "a == b"))))[0]


def test_a_long_chain_is_no_depth() -> None:
    assert cel.problems(" || ".join(["uid == 1"] * 300)) == []


@settings(max_examples=300)
@given(st.text(max_size=60) | st.text(alphabet="uid()[]{}!&|=<>+-*/%.,?:'\" 10xaeE\\", max_size=40))
def test_any_text_is_accepted_or_told(source: str) -> None:
    told = cel.problems(source)

    assert all(problem and "\n" not in problem for problem in told)


@settings(max_examples=300)
@given(expressions)
def test_what_the_parser_reads_the_library_reads(source: str) -> None:
    try:
        compile_program(source, cel.read(source).node)
    except LibraryError as exc:  # pragma: no cover - only where the test fails
        pytest.fail(f"{source}: {exc}")
