"""Operators on text."""

from __future__ import annotations

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.facts import decimal
from graymw.core.operators import in_networks, number, remainder


@pytest.mark.parametrize(
    ("text", "expected"),
    [("40", 40), ("-7", -7), ("2.50", 2.5), ("007", 7), ("9" * 18, 10**18 - 1)],
)
def test_plain_decimals_are_numbers(text: str, expected: float) -> None:
    assert number(text) == expected


@pytest.mark.parametrize("text", [None, "", "1e3", "+1", " 1", "1.", ".5", "٤", "0x1", "nan", "1_0", "9" * 19, "1\n"])
def test_anything_else_is_no_number(text: str | None) -> None:
    assert number(text) is None


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_integers_are_numbers_of_themselves(value: int) -> None:
    if len(str(value)) <= 18:
        assert number(str(value)) == value == decimal(str(value))


@given(st.integers(-(2**40), 2**40), st.integers(-(2**20), 2**20).filter(bool))
def test_the_remainder_has_the_sign_of_the_dividend(value: int, divisor: int) -> None:
    assert remainder(value, divisor) == math.fmod(value, divisor)


def test_networks_hold_the_addresses_in_them() -> None:
    contains = in_networks(("10.1.2.3/8", "2001:db8::/32"))

    assert [contains(ip) for ip in ("10.255.0.1", "::ffff:10.0.0.1", "2001:db8::1")] == [True] * 3
    assert [contains(ip) for ip in ("11.0.0.1", "2001:db9::1", "", "10.0.0", "10.0.0.1:80", "\udcff")] == [False] * 6


def test_long_texts_of_a_header_are_not_kept() -> None:
    contains = in_networks(("10.0.0.0/8",))
    tracemalloc.start()
    try:
        assert not any(contains(f"{number}{'z' * 60_000}") for number in range(100))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
