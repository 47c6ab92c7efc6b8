"""Regular expressions: RE2, whole value, linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.patterns import MAX_LENGTH, PatternError, compile_pattern, problem


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("beta", "beta", True),
        ("beta", "beta-1", False),
        ("beta.*", "beta-1", True),
        (".*", "", True),
        ("^/api/v[0-9]+/.*$", "/api/v2/orders", True),
        ("(?i)BETA", "beta", True),
        ("ż.łw", "żółw", True),
        (".", "\n", False),
        ("a|b", "b", True),
    ],
)
def test_a_pattern_matches_the_whole_value(pattern: str, value: str, expected: bool) -> None:
    assert compile_pattern(pattern)(value) is expected


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*a){12}", "([a-z]+)*1"])
def test_patterns_that_explode_elsewhere_run_over_a_long_value(pattern: str) -> None:
    """Backtracking would need more steps than there are atoms; the test ends because RE2 does not backtrack."""
    assert compile_pattern(pattern)("a" * 100_000 + "!") is False


@given(st.text(alphabet="ab", max_size=40))
def test_a_pattern_with_very_many_states_stays_right(value: str) -> None:
    """The automaton of this one is larger than its memory would be if built at once."""
    assert compile_pattern("[ab]*a[ab]{15}")(value) is (len(value) > 15 and value[-16] == "a")


def test_values_that_are_no_text_are_matched_as_bytes() -> None:
    assert compile_pattern("a.*")("a\udcff") is False
    assert compile_pattern("b")("\udcff") is False


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("(", "missing )"),
        ("a(?=b)", "invalid perl operator"),
        (r"(a)\1", "invalid escape"),
        ("a{2000}", "invalid repetition"),
        (r"\pL{900}", "too large"),
        ("x" * (MAX_LENGTH + 1), "longer than"),
        ("\ud800", "no valid Unicode"),
    ],
)
def test_a_bad_pattern_is_told_in_one_sentence(pattern: str, part: str) -> None:
    told = problem(pattern)

    assert told is not None
    assert part in told
    assert "\n" not in told
    with pytest.raises(PatternError):
        compile_pattern(pattern)


def test_a_pattern_may_not_expand_without_bound() -> None:
    told = problem("(?:[a-z]{1,900}|[0-9]{1,900}){1}" * 20)

    assert told is not None
    assert "instructions" in told or "too large" in told


def test_a_good_pattern_is_no_problem() -> None:
    assert problem("^/api/.*$") is None
