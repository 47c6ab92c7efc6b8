"""Facts are read where evaluation comes to them, and once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from graymw.core.compiling.writing import predicate
from graymw.core.facts import RequestFacts
from graymw.core.logic import Applies, Compare, Logic, Notes, Operand, Present, Remainder, Text, all_of, any_of, negated
from graymw.core.model import Fact


class Counting(Mapping[str, str]):
    """A map that tells what was asked of it."""

    def __init__(self, **values: str) -> None:
        self.values_by_name = values
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def equal(name: str, value: str) -> Logic:
    return Compare(Operand(Fact("header", name)), "==", value)


def asked(logic: Logic, **headers: str) -> tuple[bool, list[str]]:
    seen = Counting(**headers)
    return bool(predicate(logic, lambda: 0.0)(RequestFacts(headers=seen))), seen.asked


def test_what_does_not_matter_any_more_is_not_read() -> None:
    assert asked(all_of([equal("a", "1"), equal("b", "1")]), a="0") == (False, ["a"])
    assert asked(any_of([equal("a", "1"), equal("b", "1")]), a="1") == (True, ["a"])


def test_a_fact_that_several_parts_need_is_read_once() -> None:
    logic = any_of([
        all_of([equal("a", "1"), equal("b", "1")]),
        all_of([equal("c", "1"), equal("b", "2")]),
        all_of([equal("b", "3"), equal("a", "2")]),
    ])  # fmt: skip

    assert asked(logic, a="1", b="2", c="1") == (True, ["a", "b", "c"])
    assert asked(logic, a="2", b="3", c="1") == (True, ["a", "c", "b"])
    assert asked(logic, a="2", b="3", c="2") == (True, ["a", "c", "b"])
    assert asked(negated(logic), a="0", b="0", c="0") == (True, ["a", "c", "b"])


@pytest.mark.parametrize(
    ("logic", "user", "holds"),
    [
        (Remainder(Operand(Fact("user"), "integer"), 7, "==", -2), "-9", True),
        (Remainder(Operand(Fact("user"), "integer"), 7, "==", 5), "-9", False),
        (Remainder(Operand(Fact("user"), "integer"), 7, "!=", 0), "-14", False),
        (Remainder(Operand(Fact("user"), "integer"), 7, "in", frozenset({1, 2})), "9", True),
        (Compare(Operand(Fact("user"), "number"), ">", 2), "2.5", True),
        (Compare(Operand(Fact("user"), "integer"), "not in", frozenset({1})), None, False),
        (Compare(Operand(Fact("user")), "!=", "a"), None, False),
        (Compare(Operand(Fact("user")), "!=", "a"), "b", True),
        (Text(Operand(Fact("user")), "contains", "b"), "abc", True),
        (Text(Operand(Fact("user")), "startswith", "b"), None, False),
        (Applies(Operand(Fact("user")), str.isupper), "A", True),
        (Applies(Operand(Fact("user")), str.isupper), None, False),
        (Present(Operand(Fact("user"), "integer")), "4", True),
        (Present(Operand(Fact("user"), "integer")), "4" * 19, False),
        (Present(Operand(Fact("user"), "integer")), "٤", False),
        (Present(Operand(Fact("user"), "integer")), "-4", True),
        (Notes(lambda: True), None, False),
    ],
)  # fmt: skip
def test_leaves(logic: Logic, user: str | None, holds: bool) -> None:
    facts = RequestFacts(user=user)

    assert bool(predicate(logic, lambda: 0.0)(facts)) is holds
    assert bool(predicate(negated(logic), lambda: 0.0)(facts)) is not holds


def test_generated_code_reaches_no_builtins_but_the_few_it_needs() -> None:
    function = predicate(equal("a", "1"), lambda: 0.0)

    assert set(function.__globals__["__builtins__"]) == {"Exception", "UnicodeEncodeError", "int", "len"}  # type: ignore[attr-defined]
