"""Version ranges."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.semver import RangeError, compile_range, problem, version_key

ORDERED = [  # semver.org, §11
    "0.0.1-a", "0.0.1", "1.0.0-0", "1.0.0-2", "1.0.0-11", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
    "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "10.0.0",
]  # fmt: skip


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(ORDERED)))
def test_versions_stand_in_the_order_of_semver(lower: str, higher: str) -> None:
    low, high = version_key(lower), version_key(higher)

    assert low is not None
    assert high is not None
    assert low < high
    assert compile_range(f">{lower}")(higher)
    assert compile_range(f"<{higher}")(lower)
    assert not compile_range(f"<={lower}")(higher)


@pytest.mark.parametrize(
    ("expression", "inside", "outside"),
    [
        (">=2.1 <3", ["2.1", "2.1.0", "2.1.0-beta", "2.99.0", "v2.5"], ["2.0.9", "3", "3.0.0-alpha", "x"]),
        (">=2.1.0", ["2.1.0", "3"], ["2.1.0-beta"]),
        (">2.1", ["2.2.0", "2.2.0-beta"], ["2.1.9", "2.1"]),
        ("<=2.1", ["2.1.9", "0"], ["2.2.0-a"]),
        ("<2.1.0", ["2.1.0-beta", "2.0"], ["2.1.0"]),
        ("^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0", "2.0.0-a", "1.2.3-a"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]),
        ("^1", ["1.0.0", "1.9"], ["2.0", "0.9"]),
        ("^0.0", ["0.0.9"], ["0.1.0"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0", "1.2.2"]),
        ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
        ("~1", ["1.9.9"], ["2.0.0"]),
        ("1.x", ["1.0.0", "1.9"], ["2.0.0", "0.9"]),
        ("1.2.*", ["1.2.0"], ["1.3.0"]),
        ("*", ["0.0.1-a", "99.0.0"], ["nonsense", ""]),
        ("1.2 - 2.3", ["1.2.0", "2.3.9"], ["1.1.9", "2.4.0"]),
        ("1.2.3 - 2.3.4", ["1.2.3", "2.3.4"], ["2.3.5"]),
        ("=1.2.3", ["1.2.3", "1.2.3+build.5", "v1.2.3"], ["1.2.4", "1.2.3-a"]),
        ("1.2.3", ["1.2.3"], ["1.2.4"]),
        ("<1 || >=2 <2.5 || ^7", ["0.5", "2.4", "7.7.7"], ["1.0", "2.5", "8"]),
        (">= 2.1 , < 3", ["2.1"], ["3"]),
        (">=1.0.0-beta.2", ["1.0.0-beta.11", "1.0.0"], ["1.0.0-beta.1"]),
    ],
)
def test_ranges(expression: str, inside: list[str], outside: list[str]) -> None:
    contains = compile_range(expression)

    assert [version for version in inside if not contains(version)] == []
    assert [version for version in outside if contains(version)] == []


@pytest.mark.parametrize("value", ["", "1.2.3.4", "01.2.3", "1.2.3-01", "1.2-beta", "-1", "1.2.3-", "१.0.0", "1" * 300])
def test_what_is_no_version_lies_in_no_range(value: str) -> None:
    assert version_key(value) is None
    assert not compile_range("*")(value)


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("", "empty"),
        ("1 ||", "empty"),
        ("newest", "no version bound"),
        (">=2.1<3", "no version bound"),
        (">3 <2", "no version can lie"),
        (">*", "no version can lie"),
        ("1.2-beta", "full version"),
        ("1.2.3-01", "full version"),
        ("a - b", "no range"),
        ("1 " * 600, "longer than"),
    ],
)
def test_a_bad_range_is_told_in_one_sentence(expression: str, part: str) -> None:
    told = problem(expression)

    assert told is not None
    assert part in told
    with pytest.raises(RangeError):
        compile_range(expression)


def test_a_good_range_is_no_problem() -> None:
    assert problem(">=2.1 <3 || ^7.0.0-rc.1") is None


numbers = st.integers(0, 12)
versions = st.builds(
    "{}.{}.{}{}".format, numbers, numbers, numbers, st.sampled_from(["", "-a", "-a.1", "-2", "-rc.10"])
)


@given(versions, versions)
def test_the_comparators_of_one_version_part_all_versions_in_three(one: str, other: str) -> None:
    told = [compile_range(f"{operator}{one}")(other) for operator in ("<", "=", ">")]

    assert sum(told) == 1
    assert compile_range(f"<={one}")(other) is (told[0] or told[1])
    assert compile_range(f">={one}")(other) is (told[1] or told[2])


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_a_problem_and_a_version_or_none(text: str) -> None:
    told = problem(text)

    assert told is None or told
    if told is None:
        assert compile_range(text)(text) in {True, False}
