"""Percentages, times and texts, each as people write it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.document import scalars
from graymw.core.document.tree import Cursor, Problems
from graymw.core.document.yaml_text import read


def cursor_of(written: str) -> Cursor:
    problems = Problems()
    node = read(f"value: {written}", problems)
    assert node is not None
    member = Cursor(node, "", problems).member("value")
    assert member is not None
    return member


def fault_of(cursor: Cursor) -> tuple[str, str]:
    (problem,) = cursor.problems.in_order()
    return problem.message, problem.mend


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("10%", 1000), ("0.25%", 25), ("0.01%", 1), ("100%", 10_000), ("0%", 0), ("1.0%", 100), ("12.500%", 1250),
        ("10", 1000), ("1", 100), ("0", 0), ("0.0", 0), ("12.5", 1250), ("99.99", 9999), ("100.00", 10_000),
        ('"10"', 1000), ('"10 %"', 1000), ('" 10% "', 1000),
    ],
)  # fmt: skip
def test_shares_have_hundredths_of_a_percent(written: str, parts: int) -> None:
    cursor = cursor_of(written)
    assert scalars.share(cursor) == parts
    assert cursor.problems.in_order() == ()


@pytest.mark.parametrize(
    ("written", "message", "mend"),
    [
        ("0.5", "0.5 could be 0.5% or 50%", "write 0.5% or 50%"),
        ("0.01", "0.01 could be 0.01% or 1%", "write 0.01% or 1%"),
        ("1.0", "1.0 could be 1% or 100%", "write 1% or 100%"),
        ('"0.5"', "0.5 could be 0.5% or 50%", "write 0.5% or 50%"),
        ("0.005%", "0.005% is finer than 0.01%", "write 0% or 0.01%"),
        ("33.333%", "33.333% is finer than 0.01%", "write 33.33% or 33.34%"),
        ("100.01%", "100.01% is more than 100%", "write a share of at most 100%"),
        ("100.001%", "100.001% is more than 100%", "write a share of at most 100%"),
        ("150", "150 is more than 100%", "write a share of at most 100%"),
        ("-1%", "a share must be a percentage, not the text '-1%'", "write it like 10% or 0.25%"),
        ("-1", "a share must be a percentage, not the number -1", "write it like 10% or 0.25%"),
        ("1e1", "a share must be a percentage, not the number 1e1", "write it like 10% or 0.25%"),
        ("true", "a share must be a percentage, not the truth value true", "write it like 10% or 0.25%"),
        ("ten", "a share must be a percentage, not the text 'ten'", "write it like 10% or 0.25%"),
        ("", "a share must be a percentage, not empty", "write it like 10% or 0.25%"),
        ("[10%]", "a share must be a percentage, not a list", "write it like 10% or 0.25%"),
    ],
)
def test_what_is_no_share_is_told_with_what_to_write(written: str, message: str, mend: str) -> None:
    cursor = cursor_of(written)
    assert scalars.share(cursor) is None
    assert fault_of(cursor) == (message, mend)


@given(st.integers(0, 10_000))
def test_a_percentage_reads_back_as_the_same_share(parts: int) -> None:
    assert scalars.share(cursor_of(scalars.percentage(parts))) == parts


@pytest.mark.parametrize(("written", "text"), [("v2", "v2"), ("12", "12"), ('"1.10"', "1.10"), ("-3", "-3")])
def test_text_is_text_and_an_integer_is_its_decimal(written: str, text: str) -> None:
    assert scalars.text(cursor_of(written), "it") == text


@pytest.mark.parametrize(
    ("written", "message", "mend"),
    [
        ("1.10", "it 1.10 is read as the number 1.1, not as text", 'write "1.10" in quotes'),
        ("007", "it 007 is read as the number 7, not as text", 'write "007" in quotes'),
        ("0x10", "it 0x10 is read as the number 16, not as text", 'write "0x10" in quotes'),
        ("1e3", "it 1e3 is read as the number 1000.0, not as text", 'write "1e3" in quotes'),
        ("True", "it is the truth value True, not text", 'write "True" in quotes'),
        ("~", "it has no value", "write one or leave it out"),
        ('""', "it is empty", "write some text or leave it out"),
        ("{}", "it must be text, not a mapping", "write a single value"),
    ],
)
def test_what_is_read_otherwise_than_written_wants_quotes(written: str, message: str, mend: str) -> None:
    cursor = cursor_of(written)
    assert scalars.text(cursor, "it") is None
    assert fault_of(cursor) == (message, mend)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01t01:00:00.5+01:00", 0.5),
        ("2026-01-31 12:00:00-05:30", 1769880600.0),
        ("2026-01-31T12:00:00.123456789Z", 1769860800.123456),
    ],
)
def test_times_follow_rfc_3339(written: str, seconds: float) -> None:
    assert scalars.moment(cursor_of(written), "after") == seconds


@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ("2026-01-31", "write 2026-01-31T00:00:00Z"),
        ("2026-01-31T12:00:00", "add the zone: 2026-01-31T12:00:00Z"),
        ("2026-02-30T12:00:00Z", "write a date and a time that exist"),
        ("2026-01-31T12:00:60Z", "write a date and a time that exist"),
        ("0001-01-01T00:00:00+23:00", "write a date and a time that exist"),
        ("2026-01-31T12:00:00+25:00", "write a date and a time that exist"),
        ("tomorrow", "write it like 2026-01-31T12:00:00Z"),
        ("1769860800", "write it like 2026-01-31T12:00:00Z"),
        ("٢٠٢٦-01-31T12:00:00Z", "write it like 2026-01-31T12:00:00Z"),
    ],
)
def test_what_is_no_time_is_told_with_what_to_write(written: str, mend: str) -> None:
    cursor = cursor_of(written)
    assert scalars.moment(cursor, "after") is None
    assert fault_of(cursor)[1] == mend


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_reads_back_as_the_same_second(moment: datetime) -> None:
    seconds = scalars.moment(cursor_of(moment.isoformat()), "after")
    assert seconds is not None
    assert scalars.moment(cursor_of(scalars.rfc3339(seconds)), "after") == seconds


@pytest.mark.parametrize(("written", "value"), [("3", 3), ("-2.5", -2.5), ("3.0", 3), ("1e3", 1000), ("-0.0", 0)])
def test_numbers_are_whole_where_they_can_be(written: str, value: float) -> None:
    number = scalars.number(cursor_of(written), "it")
    assert number == value
    assert isinstance(number, int) == (value == int(value))


@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ('"5"', "write 5 without quotes"),
        ("five", "write a number"),
        ("true", "write a number"),
        (".inf", "write a smaller number"),
        (".nan", "write a smaller number"),
        ("9223372036854775808", "write a smaller number"),
    ],
)
def test_what_is_no_number_is_told_with_what_to_write(written: str, mend: str) -> None:
    cursor = cursor_of(written)
    assert scalars.number(cursor, "it") is None
    assert fault_of(cursor)[1] == mend


@pytest.mark.parametrize(
    ("written", "mend"),
    [("yes", "write true without quotes"), ('"False"', "write false without quotes"), ("2", "write true or false")],
)
def test_truth_is_true_or_false(written: str, mend: str) -> None:
    cursor = cursor_of(written)
    assert scalars.truth(cursor, "it") is None
    assert fault_of(cursor)[1] == mend


@pytest.mark.parametrize(
    ("fault", "message", "mend"),
    [
        ("unknown name 'uidd', did you mean 'uid'?", "unknown name 'uidd'", "did you mean 'uid'?"),
        ("the pattern is too long", "the pattern is too long", "other"),
    ],
)
def test_a_validators_sentence_is_parted_into_message_and_mend(fault: str, message: str, mend: str) -> None:
    cursor = cursor_of("x")
    scalars.refuse(cursor, fault, "other")
    assert fault_of(cursor) == (message, mend)
