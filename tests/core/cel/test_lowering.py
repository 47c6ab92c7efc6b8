"""Native code for simple expressions: the library's results, without the library."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import expressions, requests, simple_expressions

from graymw.core import cel
from graymw.core.cel.evaluating import EvaluationError, compile_program
from graymw.core.cel.lowering import lower
from graymw.core.compiling.writing import predicate
from graymw.core.facts import RequestFacts


def native(source: str, facts: RequestFacts) -> bool | str | None:
    """True, False, ``error``, or None where the shape is left to the library."""
    errors: list[None] = []
    logic = lower(cel.read(source).node, lambda: errors.append(None))
    if logic is None:
        return None
    holds = bool(predicate(logic, lambda: 0.0)(facts))
    if errors:
        assert not holds
        assert len(errors) == 1
        return "error"
    return holds


def in_library(source: str, facts: RequestFacts) -> bool | str:
    try:
        return compile_program(source, cel.read(source).node).evaluate(facts)
    except EvaluationError:
        return "error"


@settings(max_examples=300)
@given(simple_expressions | expressions, st.lists(requests(), min_size=3, max_size=6))
def test_native_code_and_library_agree_on_truth_falsity_and_error(source: str, several: list[RequestFacts]) -> None:
    for facts in several:
        result = native(source, facts)
        if result is not None:
            assert result == in_library(source, facts), (source, facts)


@pytest.mark.parametrize(
    "source",
    [
        "uid % 10 == 0",
        "user == 'x'",
        "request.headers['x'] == 'y'",
        "user in ['a', 'b']",
        "uid in [1, 2, 'admin']",
        "uid % 100 in [0, 1]",
        "request.path.startsWith('/api/')",
        "!(request.host.endsWith('.example') || cookies.beta == '1')",
        "uid >= 1000 && uid < 2000",
        "0 == uid % 2",
        "'x-beta' in request.headers && query['q'].contains('a')",
        "has(cookies.beta) || true",
    ],
)
def test_the_common_shapes_are_lowered(source: str) -> None:
    assert native(source, RequestFacts()) is not None


@pytest.mark.parametrize(
    "source",
    [
        "uid % 0 == 1",
        "uid % -3 == 1",
        "user == region",
        "size(user) > 1",
        "uid > 2.5",
        "uid == 1u",
        "user.matches('a')",
    ],
)
def test_uncertain_shapes_are_left_to_the_library(source: str) -> None:
    assert native(source, RequestFacts(user="7")) is None


@pytest.mark.parametrize(
    ("source", "user", "expected"),
    [
        ("uid == 40", "40", True),
        ("uid == 40", "bob", False),
        ("uid == '40'", "40", False),
        ("uid == 'bob'", "bob", True),
        ("uid != 'bob'", "40", True),
        ("uid < 10", "bob", "error"),
        ("uid < 10", "-9", True),
        ("uid % 7 == -2", "-9", True),
        ("uid % 10 == 0", None, "error"),
        ("uid % 10 == 0 || true", None, True),
        ("uid % 10 == 0 && false", None, False),
        ("!(uid % 10 == 0)", None, "error"),
        ("user == '40'", "40", True),
        ("uid == 40", "0040", True),
        ("uid == 40", "4" * 19, False),
    ],
)
def test_user_ids_are_numbers_where_they_are_plain_decimals(
    source: str, user: str | None, expected: bool | str
) -> None:
    facts = RequestFacts(user=user)

    assert native(source, facts) == expected
    assert in_library(source, facts) == expected


@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("form", ["{left} {operator} {right}", "{right} {operator} {left}"])
@pytest.mark.parametrize(
    ("left", "right", "users"),
    [("uid", "10", ["9", "10", "11"]), ("uid % 5", "2", ["6", "7", "8", "-7"]), ("user", "'b'", ["a", "b", "ba", "c"])],
)
def test_every_comparison_holds_at_its_bounds(
    operator: str, form: str, left: str, right: str, users: list[str]
) -> None:
    source = form.format(left=left, operator=operator, right=right)
    for user in users:
        facts = RequestFacts(user=user)

        assert native(source, facts) == in_library(source, facts)
        assert native(f"!({source})", facts) == in_library(f"!({source})", facts)


def test_an_expression_with_very_many_operands_is_left_to_the_library() -> None:
    source = " || ".join(f"user == '{number}'" for number in range(150))

    assert native(source, RequestFacts(user="149")) is None
    assert in_library(source, RequestFacts(user="149")) is True


def test_checking_and_running_simple_expressions_loads_no_library() -> None:
    script = """
import sys
from graymw.core import cel
from graymw.core.model import *
from graymw.core.facts import RequestFacts
from graymw.core.ruleset import compile_rules
assert cel.problems("uid % 10 == 0 && request.headers['x'] == 'y'") == []
rule = Rule("r", Expression("uid % 10 == 0"), use="v2")
rules = compile_rules(RuleDocument((Release("r", "v1", rules=(rule,)),)), clock=float, entropy=str)
assert rules.decide(RequestFacts(user="20")).version() == "v2"
assert "cel" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
