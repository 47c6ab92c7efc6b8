from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.settings import values
from graymw.settings.values import FactSource, RefusedError


@pytest.mark.parametrize("written", ["true", "True", "1", "yes", "ON", " on ", True, 1])
def test_words_and_digits_for_true(written: object) -> None:
    assert values.flag(written) is True


@pytest.mark.parametrize("written", ["false", "FALSE", "0", "no", "off", False, 0])
def test_words_and_digits_for_false(written: object) -> None:
    assert values.flag(written) is False


@pytest.mark.parametrize("written", ["maybe", "2", 2, 1.0, None, [], "tru e"])
def test_anything_else_is_neither(written: object) -> None:
    with pytest.raises(RefusedError):
        values.flag(written)


@pytest.mark.parametrize(("written", "read"), [("1.10", "1.10"), ("1e5", "1e5"), (" x ", "x"), (2, "2"), ("", "")])
def test_text_stays_text(written: object, read: str) -> None:
    assert values.text(written) == read


@pytest.mark.parametrize("typed", [1.1, True, False])
def test_what_a_file_format_typed_is_refused_with_the_mend_to_quote_it(typed: object) -> None:
    with pytest.raises(RefusedError) as refused:
        values.text(typed)
    assert "quotes" in refused.value.faults[0].mend


@pytest.mark.parametrize("label", ["v1", "1.10", "2024-01_x", "a" * 64])
def test_version_labels(label: str) -> None:
    assert values.label(label) == label


@pytest.mark.parametrize("label", ["", "-v1", ".1", "v 1", "v1+x", "a" * 65, "v1\n2", "vé", "v/1"])
def test_what_is_no_version_label(label: str) -> None:
    with pytest.raises(RefusedError):
        values.label(label)


@pytest.mark.parametrize(
    ("written", "read"), [("10%", "10%"), ("0.25%", "0.25%"), ("100%", "100%"), ("0%", "0%"), (" 7.5 % ", "7.5%")]
)
def test_shares(written: str, read: str) -> None:
    assert values.share(written) == read


@pytest.mark.parametrize("written", ["10", "0.1", 10, 0.1, "0.125%", "101%", "100.01%", "-1%", "%", "", "١٠%x"])
def test_what_is_no_share(written: object) -> None:
    with pytest.raises(RefusedError):
        values.share(written)


@given(st.integers(0, 10_000))
def test_every_step_of_a_hundredth_percent_is_a_share(steps: int) -> None:
    written = f"{steps // 100}.{steps % 100:02}%"
    assert values.share(written) == written


def test_sources_of_a_fact_in_their_order() -> None:
    assert values.sources()("header:X-User, cookie:uid ,query:u") == (
        FactSource("header", "x-user"),
        FactSource("cookie", "uid"),
        FactSource("query", "u"),
    )


def test_sources_of_a_fact_as_a_list() -> None:
    assert values.sources()(["header:x-user"]) == (FactSource("header", "x-user"),)


def test_a_fact_may_have_no_source() -> None:
    assert values.sources()([]) == ()


def test_only_the_device_comes_from_the_user_agent() -> None:
    assert values.sources(user_agent=True)("user-agent") == (FactSource("user-agent"),)
    with pytest.raises(RefusedError):
        values.sources()("user-agent")


@pytest.mark.parametrize("written", ["x-user", "header:", "header:a b", "cookie:a;b", "query:", "body:x", "header", 3])
def test_what_is_no_source_of_a_fact(written: object) -> None:
    with pytest.raises(RefusedError):
        values.sources()(written)


def test_a_fact_source_reads_as_it_is_written() -> None:
    assert str(FactSource("header", "x-user")) == "header:x-user"
    assert str(FactSource("user-agent")) == "user-agent"


@pytest.mark.parametrize(
    "written",
    [".internal .Example.com", ".internal,.example.com", "internal, *.example.com", [".internal", "EXAMPLE.com"]],
)
def test_suffixes_in_every_way_of_writing_them(written: object) -> None:
    assert values.suffixes(written) == (".internal", ".example.com")


@pytest.mark.parametrize("written", ["http://x", "a..b", ".", "*", {"a": 1}, "x:80"])
def test_what_is_no_suffix(written: object) -> None:
    with pytest.raises(RefusedError):
        values.suffixes(written)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("stdout", "stdout"),
        (" STDERR ", "stderr"),
        ("logs/a.jsonl", "logs/a.jsonl"),
        ("off", ""),
        (False, ""),
        ("", ""),
    ],
)
def test_where_lines_go(written: object, read: str) -> None:
    assert values.sink(written) == read


@pytest.mark.parametrize("written", ["true", True, "on", 1.5, "a\nb", []])
def test_what_names_no_place_for_lines(written: object) -> None:
    with pytest.raises(RefusedError):
        values.sink(written)


def test_secrets_for_rotation() -> None:
    assert values.secrets("new, old") == (b"new", b"old")
    assert values.secrets(["with,comma"]) == (b"with,comma",)


def test_a_refused_secret_is_not_told() -> None:
    with pytest.raises(RefusedError) as refused:
        values.secrets(["hunter2", 4711])
    assert "hunter2" not in str(refused.value)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize(("written", "read"), [("300", 300), (1, 1), (" 60 ", 60)])
def test_seconds(written: object, read: int) -> None:
    assert values.seconds(written) == read


@pytest.mark.parametrize("written", ["0", 0, -1, "5m", 1.5, True, "²", "9" * 11])
def test_what_is_no_number_of_seconds(written: object) -> None:
    with pytest.raises(RefusedError):
        values.seconds(written)


@pytest.mark.parametrize(
    ("written", "read"),
    [("0.05", 0.05), (0.05, 0.05), ("5%", 0.05), ("5 %", 0.05), (1, 1.0), ("0", 0.0), ("100%", 1.0), (" 1 ", 1.0)],
)
def test_ratios(written: object, read: float) -> None:
    assert values.ratio(written) == read


@pytest.mark.parametrize("written", ["5", 1.01, -0.1, "101%", "nan", "often", "%", True, None, [0.5]])
def test_what_is_no_ratio(written: object) -> None:
    with pytest.raises(RefusedError, match="is no share of traces"):
        values.ratio(written)


@pytest.mark.parametrize(
    "reader",
    [
        values.text, values.flag, values.seconds, values.label, values.name, values.share, values.trust,
        values.secrets, values.suffixes, values.sink, values.ratio, values.sources(), values.sources(user_agent=True),
    ],
)  # fmt: skip
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    )
)
def test_no_value_makes_a_reader_fail_otherwise_than_by_refusing(
    reader: Callable[[object], object], value: object
) -> None:
    with contextlib.suppress(RefusedError):
        reader(value)
