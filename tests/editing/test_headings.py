from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graymw.editing.headings import with_headings

BEFORE = "a: 1\n\n# of b\nb: 2\n"


def test_a_comment_that_was_lost_returns_above_its_line() -> None:
    assert with_headings(BEFORE, "b: 2\n") == "# of b\nb: 2\n"
    assert with_headings(BEFORE, "a: 1\nb: 2\n") == BEFORE
    assert with_headings(BEFORE, "a: 1\n\nb: 2\n") == BEFORE


def test_a_comment_goes_with_its_line() -> None:
    assert with_headings(BEFORE, "a: 1\nb: 3\n") == "a: 1\nb: 3\n"


def test_a_comment_that_stands_elsewhere_now_is_not_doubled() -> None:
    assert with_headings(BEFORE, "# of b\na: 1\nb: 2\n") == "# of b\na: 1\nb: 2\n"


def test_where_several_lines_could_be_meant_nothing_is_put_back() -> None:
    assert with_headings(BEFORE, "b: 2\nc:\n- x\nb: 2\n") == "b: 2\nc:\n- x\nb: 2\n"


def test_a_comment_of_another_depth_is_of_something_else() -> None:
    assert with_headings("a:\n  b: 1\n  # end of a\nc: 2\n", "c: 2\n") == "c: 2\n"


@given(st.lists(st.sampled_from(["", "# x", "  # y", "a: 1", "b:", "  c: 1"])).map("\n".join))
def test_what_lost_nothing_stays_as_it_is(text: str) -> None:
    assert with_headings(text, text) == text
