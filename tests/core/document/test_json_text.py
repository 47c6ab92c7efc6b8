"""JSON (RFC 8259) with lines and doubled keys."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.document import json_text
from graymw.core.document.tree import Node, Problems
from graymw.errors import Problem


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, inner in node.value.items()}
    if isinstance(node.value, list):
        return [plain(inner) for inner in node.value]
    return node.value


def read(text: str) -> object:
    problems = Problems()
    node = json_text.read(text, problems)
    assert problems.in_order() == ()
    assert node is not None
    return plain(node)


def faults(text: str) -> tuple[Problem, ...]:
    problems = Problems()
    json_text.read(text, problems)
    return problems.in_order()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(_JSON, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_whatever_the_standard_library_writes_is_read_the_same(value: object, indent: int | None, ascii_: bool) -> None:
    assert read(json.dumps(value, indent=indent, ensure_ascii=ascii_)) == value


@given(st.text(st.sampled_from('{}[],:"\\ \t\n019.-+eEtrufalsn/*#x'), max_size=30))
def test_it_accepts_what_the_standard_library_accepts_and_no_more(text: str) -> None:
    def constant(name: str) -> object:
        raise ValueError(name)

    try:
        value = json.loads(text, parse_constant=constant)
    except ValueError:
        assert faults(text)
    else:
        # Doubled keys are the one thing it is stricter in.
        assert all("stands twice" in problem.message for problem in faults(text))
        if not faults(text):
            assert read(text) == value


def test_tabs_are_white_space() -> None:
    assert read('{\n\t"a":\t[1,\t2]\n}') == {"a": [1, 2]}


def test_numbers_keep_what_was_written() -> None:
    node = json_text.read('{"a": 1.10}', Problems())
    assert node is not None
    assert isinstance(node.value, dict)
    assert node.value["a"].raw == "1.10"


def test_a_doubled_key_is_named_with_both_lines() -> None:
    assert faults('{"a": {\n"b": 1,\n"c": [],\n"b": 2}}') == (
        Problem("a.b", "the key 'b' stands twice, first on line 2", "keep one of the two", 4),
    )


@pytest.mark.parametrize(
    ("text", "line", "message", "mend"),
    [
        ('{\n"a": 1,\n}', 3, "a comma before the end", "remove the comma"),
        ('{"a": [1,\n]}', 2, "a comma before the end", "remove the comma"),
        ("{a: 1}", 1, "a key is not in double quotes", 'write keys as "key"'),
        ('{"a" 1}', 1, "no colon after the key 'a'", "write a colon after the key"),
        ('{"a": 1\n"b": 2}', 2, "'\"' where a comma or the end should be", "write a comma between members"),
        ('{"a": yes}', 1, "'yes' is no value", "write text in double quotes"),
        ('{"a": NaN}', 1, "'NaN' is no value", "write text in double quotes"),
        ('{"a": }', 1, "'}' where a value should be", "write a value or remove the comma"),
        ('{"a": [1', 1, "the text ends too early", "close every bracket"),
        ('{"a": 1} x', 1, "text after the end", "remove what follows the document"),
        ('{"a": ' + "1" * 500 + "}", 1, "a number of too many digits", "write it in quotes"),
        ("[" * 100, 1, "nested deeper than 64 levels", "flatten the document"),
    ],
)
def test_broken_syntax_has_its_line_and_a_mend(text: str, line: int, message: str, mend: str) -> None:
    assert faults(text) == (Problem("", f"not JSON: {message}", mend, line),)


@pytest.mark.parametrize("text", ['{"a": "x', '{"a": "\n"}', '{"a": "\\x"}', '{"a": "\\u12"}'])
def test_a_broken_string_is_a_problem(text: str) -> None:
    (problem,) = faults(text)
    assert problem.mend.startswith("close the quotes")


def test_half_a_surrogate_pair_is_a_problem() -> None:
    assert faults('{"a": "\\ud83d\\ude00"}') == ()
    assert [problem.message for problem in faults('{"a": "\\ud83d"}')] == ["not JSON: half a surrogate pair"]
